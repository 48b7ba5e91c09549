"""The registry of a server: capabilities are fetched from it, published to it, taken back.

What it says is not believed. A code is what its hash says and nothing else; a name must be the one that was asked for.
What it says of schema and permissions is not even read: the code's own metadata says that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from belljar import fqdn
from belljar.cloud import TOTAL_S, Cloud, Role
from belljar.config import TracingConfig
from belljar.errors import ValidationError
from belljar.fqdn import Fqdn
from belljar.limits import MIB
from belljar.registry.capabilities import sha256_of

__all__ = ["Fetched", "Registry", "Submission"]

_PATH = "/api/registry"
_ROLE = Role(
    name="registry",
    server="registry",
    without_scope="does not allow this to our key",
    # A code at its limit, each character escaped, and a schema beside it.
    max_bytes=8 * MIB,
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A capability as a registry gave it, its code found to be what its hash says."""

    fqdn: Fqdn
    """With the full hash."""
    code: str
    origin: str
    withdrawn: bool = False
    """Who published it takes it back: it is given only to who has its hash."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A capability on its way to a registry. It has passed the one way out."""

    fqdn: Fqdn
    """With the full hash."""
    code: str
    schema: Mapping[str, Any] | None
    """JSON Schema of its arguments."""
    permissions: Sequence[str]
    servers: Sequence[str]
    description: str
    dependencies: Sequence[str] = ()


class Registry:
    """One server's registry.

    Args:
        config: says where it is and which key is for it; its URL was checked when it was made.

    Raises:
        ConfigError: no server is configured.
    """

    def __init__(self, config: TracingConfig, *, total_s: float = TOTAL_S) -> None:
        self._cloud = Cloud(config, _ROLE, total_s=total_s)
        self.origin = self._cloud.origin

    async def fetch(self, name: Fqdn) -> Fetched | None:
        """The capability a name means there, or None if there is none.

        Raises:
            UpstreamError: the registry cannot be reached, is not well, or answers something else than was asked for.
            ConfigError: it does not take our key.
        """
        status, body = await self._cloud.ask("GET", f"{_PATH}/{name.exact}")
        if status == 404:
            return None
        if status != 200:
            raise self._cloud.refused(status, body)
        return self._fetched(name, self._cloud.parsed(body))

    async def publish(self, submission: Submission) -> bool:
        """Publish it; whether it is new there.

        Raises:
            UpstreamError: the registry cannot be reached, or is not well.
            ConfigError: it does not take our key, or not for this.
            ValidationError: it does not take this capability; says why.
        """
        said = {
            "fqdn": submission.fqdn.exact,
            "sha256": submission.fqdn.hash,
            "code": submission.code,
            "schema": submission.schema,
            "permissions": list(submission.permissions),
            "servers": list(submission.servers),
            "description": submission.description,
            "dependencies": list(submission.dependencies),
        }
        status, body = await self._cloud.ask("POST", _PATH, body=json.dumps(said).encode())
        if status not in (200, 201):
            raise self._cloud.refused(status, body)
        if self._cloud.parsed(body).get("sha256") != submission.fqdn.hash:
            raise self._cloud.untrue("it says that it took another code than was sent")
        return status == 201

    async def yank(self, name: Fqdn) -> bool:
        """Take a version back; False if there is none, or it was taken back before.

        Raises:
            UpstreamError: the registry cannot be reached, or is not well.
            ConfigError: it does not take our key, or not for this.
        """
        status, body = await self._cloud.ask("DELETE", f"{_PATH}/{name.exact}")
        if status not in (204, 404):
            raise self._cloud.refused(status, body)
        return status == 204

    # the answer

    def _fetched(self, name: Fqdn, said: Mapping[str, Any]) -> Fetched:
        code, sha256, full = said.get("code"), said.get("sha256"), said.get("fqdn")
        if not isinstance(code, str) or not isinstance(sha256, str) or not isinstance(full, str):
            raise self._cloud.untrue("fqdn, sha256 or code is missing")
        try:
            named = fqdn.parse(full)
            actual = named.at(sha256_of(code))
        except ValidationError as exc:
            raise self._cloud.untrue(exc.message) from None
        if named.family != name.family:
            raise self._cloud.untrue(f"it answered {named} to {name}")
        if actual.hash != sha256 or not actual.matches(named) or not actual.matches(name):
            raise self._cloud.untrue(f"its code for {name} is not the one with that hash")
        withdrawn = bool(said.get("yankedAt") or said.get("yanked"))
        return Fetched(actual, code, self.origin, withdrawn)
