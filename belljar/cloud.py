"""The one server that is configured for traces and capabilities, asked over HTTP; who asks is `registry` and `tracing`.

The key belongs to that server, and there is no other place it could be sent to: redirects are not followed, because
they would carry it elsewhere; proxies, netrc and certificates named by the environment are not looked at. Every
question has one deadline for all of it, so that a server that answers byte by byte holds nobody, and every answer a
bound on its bytes, counted before anything is decoded: no encoding is asked for and none is taken.

What a server says is not believed. Here its frame is checked: JSON, with bounds; what stands in it is checked by
whoever asked, and escaped by whoever shows it. Of an error only a problem document's line for people is repeated.

The syncer sends with a client of its own: it retries, keeps a connection, and its answers are another contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import anyio

from belljar import show
from belljar._version import __version__
from belljar.config import TracingConfig
from belljar.errors import BelljarError, Code, ConfigError, UpstreamError, ValidationError
from belljar.limits import MAX_JSON_DEPTH, MIB
from belljar.rpc import jsontext

if TYPE_CHECKING:
    import httpx2

__all__ = ["TOTAL_S", "Cloud", "Role"]

TOTAL_S = 30.0
"""For one question and its answer."""

_CONNECT_S = 5.0
_MAX_DETAIL = 300


@dataclass(frozen=True, slots=True)
class Role:
    """What the server is to who asks it, in the words of messages, and how much of an answer is taken."""

    name: str
    """`registry`, `server`: "the registry at https://..." """
    server: str
    """`UpstreamError.server`."""
    without_scope: str
    """What is said to a key that may not do this."""
    max_bytes: int
    max_depth: int = MAX_JSON_DEPTH
    max_containers: int = jsontext.MAX_CONTAINERS


class Cloud:
    """The configured server in one role.

    Args:
        config: says where it is and which key is for it; its URL was checked when it was made.
        total_s: how long one question may take.

    Raises:
        ConfigError: no server is configured.
    """

    def __init__(self, config: TracingConfig, role: Role, *, total_s: float = TOTAL_S) -> None:
        if config.cloud_url is None:
            raise ConfigError(
                f"no {role.name} is configured: set BELLJAR_CLOUD_URL, or cloud_url in [tracing] of belljar.toml"
            )
        self.origin = config.cloud_url.rstrip("/")
        self._key = config.api_key
        self._role = role
        self._total_s = total_s

    async def ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """The answer's status and its bytes.

        Raises:
            UpstreamError: it cannot be reached, takes too long, or answers too much.
        """
        import httpx2  # who asks nothing does not pay for it

        url = self.origin + path
        try:
            with anyio.fail_after(self._total_s):
                async with (
                    self._client() as client,
                    client.stream(method, url, params=dict(query) if query else None, content=body) as response,
                ):
                    return response.status_code, await self._body(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise self.failed(f"no answer within {self._total_s:g} s; try again later") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            # The kind alone: a message of the library's may quote headers.
            raise self.failed(f"it cannot be reached ({type(exc).__name__}): is it running, the URL right?") from None

    def parsed(self, body: bytes) -> dict[str, Any]:
        """The JSON object of an answer.

        Raises:
            UpstreamError: it is none.
        """
        try:
            said = self._json(body)
        except jsontext.JsonError as exc:
            raise self.untrue(f"no JSON we take: {exc}") from None
        if not isinstance(said, dict):
            raise self.untrue("it is no object")
        return cast("dict[str, Any]", said)

    def refused(self, status: int, body: bytes) -> BelljarError:
        """What to raise for an answer that is not the one that was hoped for."""
        who, why = f"the {self._role.name} at {self.origin}", f"HTTP {status}{self._detail(body)}"
        if status == 401:
            return ConfigError(f"{who} does not take our key ({why}): set BELLJAR_API_KEY")
        if status == 403:
            return ConfigError(f"{who} {self._role.without_scope} ({why})")
        if status in (400, 409, 413, 422):
            return ValidationError(f"{who} does not take this ({why})")
        if status == 404:
            return self.failed(f"it is no server of ours ({why}): is BELLJAR_CLOUD_URL right?")
        if 300 <= status < 400:
            return self.failed(f"it points elsewhere ({why}), and our key goes nowhere else: correct the URL")
        return self.failed(f"{why}; try again later")

    def untrue(self, what: str) -> UpstreamError:
        """What to raise for an answer that cannot be."""
        return self.failed(f"its answer cannot be used, nothing of it was kept: {what}")

    def failed(self, what: str) -> UpstreamError:
        """What to raise when it did not answer."""
        message = f"the {self._role.name} at {self.origin}: {what}"
        return UpstreamError(message, server=self._role.server, code=Code.UPSTREAM_UNAVAILABLE)

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"belljar/{__version__}",
        }
        return httpx2.AsyncClient(
            headers=headers if self._key is None else {**headers, "x-api-key": self._key},
            timeout=httpx2.Timeout(self._total_s, connect=min(_CONNECT_S, self._total_s)),
            follow_redirects=False,
            trust_env=False,
        )

    async def _body(self, response: httpx2.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self.untrue("it is encoded, which was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._role.max_bytes:
                raise self.untrue(f"it has more than {self._role.max_bytes} bytes")
        return bytes(body)

    def _json(self, body: bytes) -> object:
        role = self._role
        return jsontext.parse(
            body, max_bytes=role.max_bytes, max_depth=role.max_depth, max_containers=role.max_containers
        )

    def _detail(self, body: bytes) -> str:
        """What an error's body says for people, if it is a problem document (RFC 9457)."""
        if len(body) > MIB:
            return ""
        try:
            said = self._json(body)
        except jsontext.JsonError:
            return ""
        fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        detail = fields.get("detail") or fields.get("title")
        return f": {show.text(detail, max_chars=_MAX_DETAIL)}" if isinstance(detail, str) else ""
