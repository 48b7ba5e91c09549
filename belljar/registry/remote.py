"""The registry of a server: capabilities are fetched from it and published to it, over HTTP.

The server is the one that is configured for traces, and the key is the one that belongs to it: there is no other place
either could be sent to. Redirects are not followed, because they would carry the key elsewhere; proxies, netrc and
certificates named by the environment are not looked at. Every request has one deadline for all of it, so that a server
that answers byte by byte holds nobody, and every answer a bound on its bytes, counted before anything is decoded: we
ask for no encoding and take none.

What a server says is not believed. A code is what its hash says and nothing else; a name must be the one that was asked
for. What it says of schema and permissions is not even read: the code's own metadata says that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import anyio

from belljar import fqdn, show
from belljar._version import __version__
from belljar.config import TracingConfig
from belljar.errors import BelljarError, Code, ConfigError, UpstreamError, ValidationError
from belljar.fqdn import Fqdn
from belljar.limits import MIB
from belljar.registry.capabilities import sha256_of
from belljar.rpc import jsontext

if TYPE_CHECKING:
    import httpx2

__all__ = ["Fetched", "Registry", "Submission"]

_CONNECT_S = 5.0
_TOTAL_S = 30.0
# A code at its limit, each character escaped, and a schema beside it.
_MAX_ANSWER_BYTES = 8 * MIB
_MAX_DETAIL = 300


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

    def __init__(self, config: TracingConfig, *, total_s: float = _TOTAL_S) -> None:
        if config.cloud_url is None:
            raise ConfigError("no registry is configured: set BELLJAR_CLOUD_URL, or cloud_url under [tracing]")
        self._url = config.cloud_url.rstrip("/") + "/api/registry"
        self._key = config.api_key
        self._total_s = total_s
        self.origin = config.cloud_url.rstrip("/")

    async def fetch(self, name: Fqdn) -> Fetched | None:
        """The capability a name means there, or None if there is none.

        Raises:
            UpstreamError: the registry cannot be reached, is not well, or answers something else than was asked for.
            ConfigError: it does not take our key.
        """
        status, body = await self._ask("GET", f"{self._url}/{name.exact}")
        if status == 404:
            return None
        if status != 200:
            raise self._refused(status, body)
        return self._fetched(name, self._object(body))

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
        status, body = await self._ask("POST", self._url, json.dumps(said).encode())
        if status not in (200, 201):
            raise self._refused(status, body)
        if self._object(body).get("sha256") != submission.fqdn.hash:
            raise self._untrue("it says that it took another code than was sent")
        return status == 201

    # the answer

    def _fetched(self, name: Fqdn, said: Mapping[str, Any]) -> Fetched:
        code, sha256, full = said.get("code"), said.get("sha256"), said.get("fqdn")
        if not isinstance(code, str) or not isinstance(sha256, str) or not isinstance(full, str):
            raise self._untrue("fqdn, sha256 or code is missing")
        try:
            named = fqdn.parse(full)
            actual = named.at(sha256_of(code))
        except ValidationError as exc:
            raise self._untrue(exc.message) from None
        if named.family != name.family:
            raise self._untrue(f"it answered {named} to {name}")
        if actual.hash != sha256 or not actual.matches(named) or not actual.matches(name):
            raise self._untrue(f"its code for {name} is not the one with that hash")
        withdrawn = bool(said.get("yankedAt") or said.get("yanked"))
        return Fetched(actual, code, self.origin, withdrawn)

    def _object(self, body: bytes) -> Mapping[str, Any]:
        try:
            said = jsontext.parse(body, max_bytes=_MAX_ANSWER_BYTES)
        except jsontext.JsonError as exc:
            raise self._untrue(f"no JSON we take: {exc}") from None
        return cast("dict[str, Any]", said) if isinstance(said, dict) else {}

    def _refused(self, status: int, body: bytes) -> BelljarError:
        why = f"HTTP {status}{_detail(body)}"
        if status == 401:
            return ConfigError(f"the registry at {self.origin} does not take our key ({why}): set BELLJAR_API_KEY")
        if status == 403:
            return ConfigError(f"the registry at {self.origin} does not allow this to our key ({why})")
        if status in (400, 409, 413, 422):
            return ValidationError(f"the registry at {self.origin} does not take this ({why})")
        if 300 <= status < 400:
            return self._failed(f"it points elsewhere ({why}), and our key goes nowhere else: correct the URL")
        return self._failed(why)

    def _untrue(self, what: str) -> UpstreamError:
        return self._failed(f"its answer cannot be used, nothing of it was kept: {what}")

    def _failed(self, what: str) -> UpstreamError:
        message = f"the registry at {self.origin}: {what}"
        return UpstreamError(message, server="registry", code=Code.UPSTREAM_UNAVAILABLE)

    # the wire

    async def _ask(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        import httpx2  # a run that fetches nothing does not pay for it

        try:
            with anyio.fail_after(self._total_s):
                async with self._client() as client, client.stream(method, url, content=body) as response:
                    return response.status_code, await self._body(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise self._failed(f"no answer within {self._total_s:g} s; try again later") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            # The kind alone: a message of the library's may quote headers.
            raise self._failed(f"it cannot be reached ({type(exc).__name__}): is the URL right?") from None

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": f"belljar/{__version__}"}
        if self._key is not None:
            headers["x-api-key"] = self._key
        return httpx2.AsyncClient(
            headers={**headers, "content-type": "application/json"},
            timeout=httpx2.Timeout(self._total_s, connect=min(_CONNECT_S, self._total_s)),
            follow_redirects=False,
            trust_env=False,
        )

    async def _body(self, response: httpx2.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._untrue("it is encoded, which was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _MAX_ANSWER_BYTES:
                raise self._untrue(f"it has more than {_MAX_ANSWER_BYTES} bytes")
        return bytes(body)


def _detail(body: bytes) -> str:
    """What an error's body says for people, if it is a problem document (RFC 9457)."""
    try:
        said = jsontext.parse(body, max_bytes=_MAX_ANSWER_BYTES)
    except jsontext.JsonError:
        return ""
    fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    detail = fields.get("detail") or fields.get("title")
    return f": {show.text(detail, max_chars=_MAX_DETAIL)}" if isinstance(detail, str) else ""
