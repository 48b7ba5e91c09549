"""Answers calls out of a session. Pure but for the original timing; asks nobody and makes nothing up.

A call is matched by a hash over method, name and arguments in canonical form: order of keys, `1.0` for `1` and whatever
rides in `_meta` make no difference. Equal calls get their answers first in, first out.

- Lenient: a call may come at any time; when all answers to it were given, the last is given again. One that was never
  recorded is an error.
- Strict: calls must come in the order in which they were made, each once; the first that does not, and any after the
  last, is an error that says what was expected.

In a session whose personal values were replaced by pseudonyms, a call that is not found as it is is looked for with its
own values replaced in the same way.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from belljar import show
from belljar.faker.calls import Call, Real, Reply, Verdict
from belljar.faker.sessions.model import Event, key_of

__all__ = ["MISSED", "MissError", "Replayer"]

MISSED = -32000
"""The JSON-RPC code of a call that was not recorded."""

_MAX_SHOWN = 200

Mask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
_Key = tuple[str, str]


class MissError(Exception):
    """There is no recorded answer for a call. The message says why, fit to be shown."""


@dataclass(slots=True)
class _Answers:
    waiting: deque[Event]
    last: Event


class Replayer:
    """Gives the answers of a session, each once. A `CallWorld`; not to be shared between threads."""

    def __init__(
        self, events: Sequence[Event], *, strict: bool = False, timing: bool = False, mask: Mask | None = None
    ) -> None:
        """`timing`: an answer takes as long as it did. `mask`: how the arguments of a redacted session were made."""
        # By when they were made: answers to calls in flight together may have come in another order.
        self._order = sorted(events, key=lambda event: (event.started_at_ns, event.sequence))
        self._strict = strict
        self._timing = timing
        self._mask = mask
        self._next = 0
        self._by_key = dict[_Key, _Answers]()
        found = defaultdict[_Key, deque[Event]](deque)
        for event in self._order:
            found[event.server, _key(event)].append(event)
        self._by_key = {key: _Answers(waiting, waiting[-1]) for key, waiting in found.items()}

    @property
    def left(self) -> int:
        """How many answers nobody has asked for."""
        if self._strict:
            return len(self._order) - self._next
        return sum(len(each.waiting) for each in self._by_key.values())

    def answer(self, server: str, tool: str, args: Mapping[str, Any]) -> Event:
        """The recorded call that this one is.

        Raises:
            MissError: there is none, or not now.
        """
        return self._strictly(server, tool, args) if self._strict else self._leniently(server, tool, args)

    async def call(self, call: Call, real: Real | None) -> Reply:
        """As `CallWorld.call`; `real` is never asked."""
        try:
            event = self.answer(call.server, call.tool.name, call.args)
        except MissError as exc:
            error = {"code": MISSED, "message": str(exc)}
            return Reply({}, "replay", Verdict("write", "low", "not recorded"), error=error, detail="not recorded")
        if self._timing:
            await anyio.sleep(event.latency_ms / 1e3)
        verdict = Verdict(event.operation, event.risk, event.reason)
        return Reply(event.response, "replay", verdict, detail=f"call {event.sequence}", error=event.error)

    def _leniently(self, server: str, tool: str, args: Mapping[str, Any]) -> Event:
        for key in self._keys(tool, args):
            if (answers := self._by_key.get((server, key))) is not None:
                return answers.waiting.popleft() if answers.waiting else answers.last
        raise MissError(f"no answer was recorded for {_shown(server, tool, args)}")

    def _strictly(self, server: str, tool: str, args: Mapping[str, Any]) -> Event:
        if self._next == len(self._order):
            raise MissError(
                f"all {len(self._order)} recorded calls were made; this is one more: {_shown(server, tool, args)}"
            )
        expected = self._order[self._next]
        if expected.server != server or _key(expected) not in self._keys(tool, args):
            then = _shown(expected.server, expected.tool, expected.arguments)
            raise MissError(f"call {self._next + 1} is {_shown(server, tool, args)}, the recorded one is {then}")
        self._next += 1
        return expected

    def _keys(self, tool: str, args: Mapping[str, Any]) -> list[str]:
        keys = [key_of(tool, args)]
        if self._mask is not None:
            keys.append(key_of(tool, self._mask(args)))
        return keys


def _key(event: Event) -> str:
    return event.key or key_of(event.tool, event.arguments)


def _shown(server: str, tool: str, args: Mapping[str, Any]) -> str:
    return f"{show.name(server)}:{show.name(tool)}({show.value(dict(args), max_chars=_MAX_SHOWN)})"
