"""Belljar runs capability code nobody has vetted in a fresh, sealed box, and shows all that it did.

    import belljar

    run = belljar.run("await mcp.git.git_log(repo_path='.')", servers="mcp.json", allow=["git:*"])
    run.value, run.calls, run.trace

    async with belljar.open(servers="mcp.json", allow=["git:*"]) as jar:    # one jar, many runs
        run = await jar.run(Path("release_notes.py"), {"repo": "."})

Names are looked up when they are used, so that `import belljar` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from belljar._version import __version__

if TYPE_CHECKING:
    from belljar._run import Run, RunError
    from belljar.api import open, run  # noqa: A004 - `belljar.open` reads as `tarfile.open` does
    from belljar.config import Config
    from belljar.errors import BelljarError, Code
    from belljar.jar import Jar, RunOptions
    from belljar.limits import Limits
    from belljar.rpc.policy import Policy

__all__ = [
    "BelljarError",
    "Code",
    "Config",
    "Jar",
    "Limits",
    "Policy",
    "Run",
    "RunError",
    "RunOptions",
    "__version__",
    "open",
    "run",
]

_HOMES = {
    "open": "api",
    "run": "api",
    "Config": "config",
    "BelljarError": "errors",
    "Code": "errors",
    "Jar": "jar",
    "RunOptions": "jar",
    "Limits": "limits",
    "Policy": "rpc.policy",
    "Run": "_run",
    "RunError": "_run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'belljar' has no attribute {name!r}")
    return getattr(import_module(f"belljar.{_HOMES[name]}"), name)
