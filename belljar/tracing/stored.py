"""Traces that a server has, read back over HTTP.

The server is the one that is configured for traces, with its key, and nothing else is asked: no redirect is followed,
no proxy or certificate of the environment looked at, no encoding taken. Each question has one deadline for all of it,
and each answer a bound on its bytes that is counted before anything is parsed.

An answer is as foreign as what a capability prints. Its frame is checked here - lists of objects, objects below
objects - and whoever shows what stands in it escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import anyio

from belljar import show
from belljar._version import __version__
from belljar.config import TracingConfig
from belljar.errors import BelljarError, Code, ConfigError, UpstreamError, ValidationError
from belljar.limits import MIB
from belljar.rpc import jsontext

if TYPE_CHECKING:
    import httpx2

__all__ = ["MAX_LISTED", "StoredTraces"]

MAX_LISTED = 1000
"""Traces in one list."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE = 200
_CONNECT_S = 5.0
_TOTAL_S = 30.0
# A server keeps its trees to 8 MiB of traces, each of 256 KiB at most.
_MAX_ANSWER_BYTES = 32 * MIB
_MAX_CONTAINERS = 1 << 20
# What a trace may have, 64 levels of a value among them, below 16 levels of children.
_MAX_DEPTH = 128
_MAX_DETAIL = 300

_Object = dict[str, Any]


class StoredTraces:
    """One server's traces, as far as the key may read them.

    Args:
        config: says where it is and which key is for it; its URL was checked when it was made.
        total_s: how long one question may take.

    Raises:
        ConfigError: no server is configured.
    """

    def __init__(self, config: TracingConfig, *, total_s: float = _TOTAL_S) -> None:
        if config.cloud_url is None:
            raise ConfigError(
                "no server is configured: set BELLJAR_CLOUD_URL, or cloud_url in [tracing] of belljar.toml"
            )
        self._origin = config.cloud_url.rstrip("/")
        self._key = config.api_key
        self._total_s = total_s

    async def newest(self, where: Mapping[str, str], limit: int) -> list[_Object]:
        """What stands in a list of each trace, the newest first, `limit` (1 to `MAX_LISTED`) of them at most.

        Args:
            where: filters of GET /api/traces: `capability`, `success`, `since` ...

        Raises:
            ConfigError: the server does not take our key, or not for reading.
            ValidationError: it does not take these filters; says why.
            UpstreamError: it cannot be reached, is not well, or its answer cannot be used.
        """
        found: list[_Object] = []
        cursor: str | None = None
        while len(found) < limit:
            asked = {**where, "limit": str(min(limit - len(found), _PAGE))}
            page = await self._object("/api/traces", asked if cursor is None else {**asked, "cursor": cursor})
            fresh, cursor = self._objects(page, "traces"), page.get("next")
            found += fresh
            if not fresh or not isinstance(cursor, str):
                break
        return found[:limit]

    async def tree(self, trace_id: str) -> _Object:
        """A trace in the wire format, with what the server adds; what it ran below `children`, and so on.

        Raises:
            ValidationError: no trace id, or the server has no such trace that this key may read.
            BelljarError: as `newest`.
        """
        trace_id = trace_id.lower()
        if _UUID.fullmatch(trace_id) is None:
            raise ValidationError(
                f"{show.text(trace_id, max_chars=100)} is no trace id; `belljar traces list` has them"
            )
        status, body = await self._ask(f"/api/traces/{trace_id}", {})
        if status == 404:
            raise ValidationError(
                f"{self._origin} has no trace {trace_id} for this key; `belljar traces status` shows what was not sent"
            )
        tree = self._parsed(status, body)
        if tree.get("traceId") != trace_id:
            raise self._untrue("it is not the trace that was asked for")
        self._check_children(tree)
        return tree

    async def suggestions(self, query: Mapping[str, str]) -> _Object:
        """What GET /api/suggest answers: {suggestions, path, abstained, model}; each one has a `name` of either kind.

        Raises:
            BelljarError: as `newest`.
        """
        answer = await self._object("/api/suggest", query)
        answer.setdefault("path", [])
        told = {key: [self._suggestion(each) for each in self._objects(answer, key)] for key in ("suggestions", "path")}
        return {**answer, **told, "abstained": not told["suggestions"] and not told["path"]}

    def _suggestion(self, said: _Object) -> _Object:
        name, interval, evidence = (
            said.get("capabilityId", said.get("tool")),
            said.get("interval"),
            said.get("evidence"),
        )
        numbers: list[Any] = [said.get("score"), said.get("successRate"), said.get("n")]
        numbers += cast("list[Any]", interval) if isinstance(interval, list) else [None]
        if len(numbers) != 5 or not all(type(number) in (int, float) for number in numbers):
            raise self._untrue("a suggestion without its numbers")
        traces = cast("list[Any]", evidence) if isinstance(evidence, list) else [None]
        if not isinstance(name, str) or not all(isinstance(trace, str) for trace in traces):
            raise self._untrue("a suggestion without its name or evidence")
        return {**said, "name": name}

    # the answer

    async def _object(self, path: str, query: Mapping[str, str]) -> _Object:
        return self._parsed(*await self._ask(path, query))

    def _parsed(self, status: int, body: bytes) -> _Object:
        if status != 200:
            raise self._refused(status, body)
        try:
            said = jsontext.parse(
                body, max_bytes=_MAX_ANSWER_BYTES, max_depth=_MAX_DEPTH, max_containers=_MAX_CONTAINERS
            )
        except jsontext.JsonError as exc:
            raise self._untrue(f"no JSON we take: {exc}") from None
        if not isinstance(said, dict):
            raise self._untrue("it is no object")
        return cast("_Object", said)

    def _objects(self, holder: _Object, key: str) -> list[_Object]:
        said = holder.get(key)
        if not isinstance(said, list) or not all(isinstance(each, dict) for each in cast("list[Any]", said)):
            raise self._untrue(f"{key} is no list of objects")
        return cast("list[_Object]", said)

    def _check_children(self, tree: _Object) -> None:
        for child in self._objects(tree, "children"):
            self._check_children(child)

    def _refused(self, status: int, body: bytes) -> BelljarError:
        why = f"HTTP {status}{_detail(body)}"
        if status == 401:
            return ConfigError(f"the server at {self._origin} does not take our key ({why}): set BELLJAR_API_KEY")
        if status == 403:
            return ConfigError(
                f"the server at {self._origin} does not let this key read ({why}): "
                "use one that `belljar server key create --scope read` made"
            )
        if status in (400, 422):
            return ValidationError(f"the server at {self._origin} does not take this ({why})")
        if status == 404:
            return self._failed(f"it has no traces ({why}): is BELLJAR_CLOUD_URL right?")
        if 300 <= status < 400:
            return self._failed(f"it points elsewhere ({why}), and our key goes nowhere else: correct the URL")
        return self._failed(f"{why}; try again later")

    def _untrue(self, what: str) -> UpstreamError:
        return self._failed(f"its answer cannot be used: {what}")

    def _failed(self, what: str) -> UpstreamError:
        message = f"the server at {self._origin}: {what}"
        return UpstreamError(message, server="traces", code=Code.UPSTREAM_UNAVAILABLE)

    # the wire

    async def _ask(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        import httpx2  # `belljar traces sanitize` and the like do not pay for it

        url = self._origin + path
        try:
            with anyio.fail_after(self._total_s):
                async with self._client() as client, client.stream("GET", url, params=dict(query)) as response:
                    return response.status_code, await self._body(response)
        except (TimeoutError, httpx2.TimeoutException):
            raise self._failed(f"no answer within {self._total_s:g} s; try again later") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            # The kind alone: a message of the library's may quote headers.
            raise self._failed(f"it cannot be reached ({type(exc).__name__}): is it running, the URL right?") from None

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": f"belljar/{__version__}"}
        if self._key is not None:
            headers["x-api-key"] = self._key
        return httpx2.AsyncClient(
            headers=headers,
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
        said = jsontext.parse(body, max_bytes=MIB)
    except jsontext.JsonError:
        return ""
    fields = cast("_Object", said) if isinstance(said, dict) else {}
    detail = fields.get("detail") or fields.get("title")
    return f": {show.text(detail, max_chars=_MAX_DETAIL)}" if isinstance(detail, str) else ""
