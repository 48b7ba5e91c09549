"""Which kind of box a run needs: what its options, its capability and this machine's store of packages come to."""

from __future__ import annotations

from belljar.config import Paths
from belljar.errors import ConfigError
from belljar.sandbox.host import PoolKey
from belljar.sandbox.loader import Capability
from belljar.sandbox.walls import check_waivable
from belljar.sandbox.workfolder import base_for

__all__ = ["box_kind"]


def box_kind(
    backend: str,
    memory: int,
    waive: frozenset[str],
    paths: Paths,
    capability: Capability | None = None,
    *,
    keeps_files: bool = False,
) -> PoolKey:
    """
    Raises:
        ConfigError: a wall to waive that there is none of; files where the backend has none.
        ValidationError: dependencies that are no names and versions.
        BelljarError: APPROVAL_REQUIRED, for dependencies that nobody has approved.
    """
    check_waivable(waive)
    if keeps_files and backend != "process":
        raise ConfigError("a wasm box has no files to keep; use --backend process")
    packages = ""
    if capability is not None and capability.dependencies:
        from belljar.sandbox.packages import ready, requirements_of

        packages = str(ready(paths.cache, paths.data, requirements_of(capability), backend) or "")
    work = str(base_for(paths.cache)) if keeps_files else ""
    return PoolKey(backend, memory, waive, packages, work)
