"""Gives new things what a server would give them: an id of the right kind, times, a state, the fields of their like."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from belljar.faker import results
from belljar.faker.generate import EPOCH, instruction_facts
from belljar.faker.generic.identity import identities_of, identity, lists_in
from belljar.faker.generic.meaning import singular
from belljar.faker.results import Answer
from belljar.faker.scene import Scene
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["Newborn"]

_MAX_EXAMPLE: Final = 64 * 1024
_MAX_EXAMPLES: Final = 500
_FIRST_NUMBER: Final = 9001
_INVENTED: Final = ("name", "title", "description", "status", "created_at", "updated_at")


class Newborn:
    """Remembers one real thing of each kind, as an example for those that are made."""

    def __init__(self) -> None:
        self._things: dict[tuple[str, str], dict[str, JsonValue]] = {}
        self._answers: dict[tuple[str, str], JsonValue] = {}

    def learn(self, server: str, head: str, answer: Answer) -> None:
        """Look at a real answer, once for each kind."""
        if (server, head) in self._things or len(self._things) > _MAX_EXAMPLES or answer.get("isError"):
            return
        value = results.parsed(answer)
        if value is None or len(jsontext.dump(value)) > _MAX_EXAMPLE:
            return
        thing = _thing_in(value, head)
        if thing is not None:
            self._things[server, head] = thing

    def example(self, server: str, head: str) -> dict[str, JsonValue] | None:
        return self._things.get((server, head))

    def example_of(self, server: str, tool: str) -> JsonValue:
        return self._answers.get((server, tool))

    def facts(self, scene: Scene) -> dict[str, str]:
        return instruction_facts(scene.generator.instruction)

    def fields(
        self, scene: Scene, head: str, nth: int, ids: Mapping[str, str], args: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """All fields of a thing that is made with these arguments."""
        example = self.example(scene.call.server, head)
        named = self._id(scene, head, nth, example, ids)
        if example is None:
            return {**named, **args}
        moment = (EPOCH + timedelta(days=200, seconds=scene.changes.seen)).isoformat().replace("+00:00", "Z")
        times = {
            name: moment
            for name in example
            if name.lower().endswith(("created_at", "updated_at", "createdat", "updatedat"))
        }
        given = {**times, **named, **args}
        like = cast("dict[str, JsonValue]", scene.generator.like(example, f"{head} {nth}", given))
        return {**like, **args}

    def invented(self, scene: Scene, head: str, ids: Mapping[str, str], *, about: str) -> dict[str, JsonValue]:
        """A thing that nobody made."""
        example = self.example(scene.call.server, head)
        nth = scene.generator.random(about).randrange(1, 1000)
        named = {**self._id(scene, head, nth - _FIRST_NUMBER, example, ids), **ids}
        if example is not None:
            return {**cast("dict[str, JsonValue]", scene.generator.like(example, about, named)), **named}
        made = {name: scene.generator.text(name, about) for name in _INVENTED}
        return {**named, **made} if "name" not in named else {**made, **named}

    def _id(
        self, scene: Scene, head: str, nth: int, example: Mapping[str, JsonValue] | None, ids: Mapping[str, str]
    ) -> dict[str, JsonValue]:
        """The id a server would give, under the name and in the kind that its other tools ask for."""
        by_name_alone = set(ids) == {"name"} and not self._asked_by_name(scene, head)
        if ids and not by_name_alone and (example is None or not {"id", "number", "iid"} & set(example)):
            return {}
        name, kind = self._asked_for(scene, head, example)
        number = _FIRST_NUMBER + nth
        source = scene.generator.random("id", head, str(number))
        if kind == "integer":
            value: JsonValue = number
        elif kind == "uuid":
            value = str(uuid.UUID(int=source.getrandbits(128), version=4))
        else:
            value = f"{head.replace(' ', '_') or 'item'}_{source.getrandbits(48):012x}"
        return {name: value}

    def _asked_by_name(self, scene: Scene, head: str) -> bool:
        """Whether another tool finds such a thing by its name."""
        for tool in scene.call.tools.values():
            properties = _object(tool.input_schema.get("properties"))
            own = identity(dict.fromkeys(properties, "1"), head)
            lists = any(name.lower().endswith("names") for name in properties)
            if tool.name != scene.call.tool.name and (lists or (own is not None and own[0].lower().endswith("name"))):
                return True
        return False

    def _asked_for(self, scene: Scene, head: str, example: Mapping[str, JsonValue] | None) -> tuple[str, str]:
        for name, value in (example or {}).items():
            if name in ("number", "id", "iid", "uuid", "key"):
                is_uuid = isinstance(value, str) and len(value) == 36 and value.count("-") == 4
                return name, "integer" if isinstance(value, int) else "uuid" if is_uuid else "string"
        for tool in scene.call.tools.values():
            properties = _object(tool.input_schema.get("properties"))
            own = identity(dict.fromkeys(properties, "1"), head)
            if own is not None and head and head.split()[-1] in own[0].lower():
                schema = _object(properties[own[0]])
                kind, is_uuid = schema.get("type"), schema.get("format") == "uuid"
                short = "number" if own[0].lower().endswith("number") else "id"
                return short, "integer" if kind in ("integer", "number") else "uuid" if is_uuid else "string"
        return "id", "string"

    def list_of(
        self, scene: Scene, schema: Mapping[str, JsonValue], things: Sequence[Mapping[str, JsonValue]], head: str
    ) -> JsonValue:
        """An answer of that schema that lists these things.

        Raises:
            CannotMakeError: the schema breaks a rule, or nothing that fits was found.
        """
        about = f"{scene.call.tool.name} list"
        value = scene.generator.value(schema, about, scene.args)
        properties = _object(schema.get("properties"))
        whole = _object(value)
        for name, each in properties.items():
            items = _object(_object(each).get("items"))
            if not items or not whole:
                continue
            if (
                singular(name.lower()) not in (head, "item", "result", "data", "node", "value", "entry")
                and len(properties) > 1
            ):
                continue
            inner = dict(items)
            for defined in ("$defs", "definitions"):
                if defined in schema:
                    inner[defined] = schema[defined]
            listed = [scene.generator.value(inner, f"{about} {n}", thing) for n, thing in enumerate(things)]
            changed = {**whole, name: listed}
            for count in ("total", "total_count", "count", "totalCount"):
                if isinstance(changed.get(count), int):
                    changed[count] = len(listed)
            return changed if scene.generator.fits(schema, changed) else value
        return value


def _object(value: JsonValue) -> dict[str, JsonValue]:
    return cast("dict[str, JsonValue]", value) if isinstance(value, dict) else {}


def _thing_in(value: JsonValue, head: str) -> dict[str, JsonValue] | None:
    """One thing of an answer: the answer itself, what stands under its kind, or the first of a list."""
    if isinstance(value, dict):
        there = cast("dict[str, JsonValue]", value)
        for name, each in there.items():
            if singular(name.lower()) == head and isinstance(each, dict):
                return cast("dict[str, JsonValue]", each)
        for _, items in lists_in(there, head):
            if items and isinstance(items[0], dict) and identities_of(items[0], head):
                return cast("dict[str, JsonValue]", items[0])
        return there if identities_of(there, head) else None
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return cast("dict[str, JsonValue]", items[0]) if items and isinstance(items[0], dict) else None
