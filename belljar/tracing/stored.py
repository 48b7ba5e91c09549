"""Traces that a server has, read back.

An answer is as foreign as what a capability prints. Its frame is checked here - lists of objects, objects below
objects - and whoever shows what stands in it escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from belljar import show
from belljar.cloud import TOTAL_S, Cloud, Role
from belljar.config import TracingConfig
from belljar.errors import ValidationError
from belljar.limits import MIB

__all__ = ["MAX_LISTED", "StoredTraces"]

MAX_LISTED = 1000
"""Traces in one list."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE = 200
_PATH = "/api/traces"
_ROLE = Role(
    name="server",
    server="traces",
    without_scope="does not let this key read; use one that `belljar server key create --scope read` made",
    # A server keeps its trees to 8 MiB of traces, each of 256 KiB at most.
    max_bytes=32 * MIB,
    # What a trace may have, 64 levels of a value among them, below 16 levels of children.
    max_depth=128,
    max_containers=1 << 20,
)

_Object = dict[str, Any]


class StoredTraces:
    """One server's traces, as far as the key may read them.

    Args:
        config: says where it is and which key is for it; its URL was checked when it was made.
        total_s: how long one question may take.

    Raises:
        ConfigError: no server is configured.
    """

    def __init__(self, config: TracingConfig, *, total_s: float = TOTAL_S) -> None:
        self._cloud = Cloud(config, _ROLE, total_s=total_s)

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
            page = await self._page(asked if cursor is None else {**asked, "cursor": cursor})
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
        status, body = await self._cloud.ask("GET", f"{_PATH}/{trace_id}")
        if status == 404:
            where = self._cloud.origin
            raise ValidationError(
                f"{where} has no trace {trace_id} for this key; `belljar traces status` shows what was not sent"
            )
        tree = self._parsed(status, body)
        if tree.get("traceId") != trace_id:
            raise self._cloud.untrue("it is not the trace that was asked for")
        self._check_children(tree)
        return tree

    async def suggestions(self, query: Mapping[str, str]) -> _Object:
        """What GET /api/suggest answers: {suggestions, path, abstained, model}; each one has a `name` of either kind.

        Raises:
            BelljarError: as `newest`.
        """
        answer = self._parsed(*await self._cloud.ask("GET", "/api/suggest", query=query))
        answer.setdefault("path", [])
        if not isinstance(answer.get("model"), str):
            raise self._cloud.untrue("it does not say by whom")
        told = {key: [self._suggestion(each) for each in self._objects(answer, key)] for key in ("suggestions", "path")}
        return {**answer, **told, "abstained": not told["suggestions"] and not told["path"]}

    async def learning(self) -> _Object:
        """What GET /api/learning answers: {model, reason, uses, checkpoint, evaluation, learner ...}.

        Raises:
            BelljarError: as `newest`.
        """
        answer = self._parsed(*await self._cloud.ask("GET", "/api/learning"))
        uses, learner, trained = answer.get("uses"), answer.get("learner"), answer.get("checkpoint")
        if not isinstance(uses, dict) or not isinstance(learner, dict) or not isinstance(trained, dict | None):
            raise self._cloud.untrue("it says nothing of a learner")
        numbers = [cast("_Object", learner).get(key) for key in ("replay", "newTraces", "trainsAfter")]
        numbers += [cast("_Object", trained).get(key) for key in ("version", "traces", "seconds")] if trained else []
        words = [answer.get("model"), answer.get("reason"), cast("_Object", learner).get("state")]
        words += [cast("_Object", learner).get("why"), cast("_Object", trained).get("trainedAt") if trained else ""]
        if not all(type(number) in (int, float) for number in numbers) or not all(isinstance(w, str) for w in words):
            raise self._cloud.untrue("it says nothing of a learner")
        return answer

    def _suggestion(self, said: _Object) -> _Object:
        name = said.get("capabilityId", said.get("tool"))
        interval, evidence = said.get("interval"), said.get("evidence")
        numbers: list[Any] = [said.get("score"), said.get("successRate"), said.get("n")]
        numbers += cast("list[Any]", interval) if isinstance(interval, list) else [None]
        if len(numbers) != 5 or not all(type(number) in (int, float) for number in numbers):
            raise self._cloud.untrue("a suggestion without its numbers")
        traces = cast("list[Any]", evidence) if isinstance(evidence, list) else [None]
        if not isinstance(name, str) or not all(isinstance(trace, str) for trace in traces):
            raise self._cloud.untrue("a suggestion without its name or evidence")
        return {**said, "name": name}

    # the answer

    async def _page(self, query: Mapping[str, str]) -> _Object:
        return self._parsed(*await self._cloud.ask("GET", _PATH, query=query))

    def _parsed(self, status: int, body: bytes) -> _Object:
        if status != 200:
            raise self._cloud.refused(status, body)
        return self._cloud.parsed(body)

    def _objects(self, holder: _Object, key: str) -> list[_Object]:
        said = holder.get(key)
        if not isinstance(said, list) or not all(isinstance(each, dict) for each in cast("list[Any]", said)):
            raise self._cloud.untrue(f"{key} is no list of objects")
        return cast("list[_Object]", said)

    def _check_children(self, tree: _Object) -> None:
        for child in self._objects(tree, "children"):
            self._check_children(child)
