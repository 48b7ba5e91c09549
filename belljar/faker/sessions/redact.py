"""A session that may be shown to others: both passes of the sanitizer over all that is foreign in it.

Personal values become pseudonyms under this user's key, so that equal ones stay equal: a call whose argument came out
of an earlier answer still holds the value that stands there, and the session can be served as before. Secrets become
`[REDACTED]`, all alike. Long texts are cut, as in a trace. What the host wrote - ids, times, digests, counts - stays.

Schemas are looked at word by word and not as a whole: a rule that sees `password` beside `token` in `required` is right
about values and wrong about names, and a schema must go on to describe its arguments. What a property *is* by default
or for example is looked at under the property's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from belljar.faker.calls import Tool
from belljar.faker.sessions.document import Recorded
from belljar.faker.sessions.model import Event, ServedTool
from belljar.tracing.outbound import Outbound

__all__ = ["Redactor"]

_VALUES = ("default", "const", "enum", "examples", "example")
_MAX_DEPTH = 64


class Redactor:
    """Masks sessions, and arguments in the same way. `outbound` has both passes, and a key for pseudonyms."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._texts = dict[str, str]()

    def recorded(self, recorded: Recorded) -> Recorded:
        """The session as it may be shown."""
        session, events, tools = recorded
        return (
            replace(
                session,
                instruction=self._text(session.instruction),
                command=[self._text(word) for word in session.command],
                error=self._text(session.error),
                redacted=True,
            ),
            [self._event(event) for event in events],
            [ServedTool(self._text(each.server), self._tool(each.tool)) for each in tools],
        )

    def arguments(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """Arguments of a call, masked as those of the session were."""
        return self._object(dict(args))

    def _event(self, event: Event) -> Event:
        return replace(
            event,
            server=self._text(event.server),
            tool=self._text(event.tool),
            arguments=self.arguments(event.arguments),
            response=self._object(dict(event.response)),
            error=None if event.error is None else self._object(dict(event.error)),
            detail=None if event.detail is None else self._text(event.detail),
            reason=self._text(event.reason),
            key="",
        )

    def _tool(self, tool: Tool) -> Tool:
        return Tool(self._text(tool.name), self._schema(dict(tool.listed), 0))

    def _schema(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if depth > _MAX_DEPTH:
            return self._outbound.value(value)
        if isinstance(value, list):
            return [self._schema(item, depth + 1) for item in cast("list[Any]", value)]
        if not isinstance(value, dict):
            return value
        found = dict[str, Any]()
        for name, item in cast("dict[str, Any]", value).items():
            found[self._text(name)] = self._schema(self._property(name, item), depth + 1)
        return found

    def _property(self, name: str, schema: Any) -> Any:
        """A property with what it may be by default masked by its name."""
        if not isinstance(schema, dict):
            return schema
        found = dict(cast("dict[str, Any]", schema))
        for place in _VALUES:
            if place in found:
                masked = self._outbound.value({name: found[place]})
                found[place] = next(iter(masked.values())) if isinstance(masked, dict) else masked  # pyright: ignore[reportUnknownArgumentType]
        return found

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        """An object stays one: where it could not be looked at, nothing of it is left."""
        masked = self._outbound.value(value)
        return cast("dict[str, Any]", masked) if isinstance(masked, dict) else {}

    def _text(self, text: str) -> str:
        if text not in self._texts:
            self._texts[text] = self._outbound.text(text) if text else ""
        return self._texts[text]
