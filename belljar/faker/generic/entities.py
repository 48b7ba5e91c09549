"""Things as the overlay keeps them: one cell each, with all names it goes by, where it lies, and what became of it.

made      exists in the fake world alone; `fields` is all of it
changed   exists for real; `fields` lie over what the target says, `appended` behind its texts
moved     exists for real under the name `source`
gone      was deleted; whatever the target says of it is not shown
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypedDict, cast

from belljar.faker.scene import Scene
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["FILTERS", "State", "Thing", "Things", "chosen", "fits"]

FILTERS: Final = ("filter", "where", "query", "selector")
"""Arguments that choose things by their fields."""
_MADE_UP: Final = ("id", "uuid", "number")
_ANY: Final = ("all", "any", "*", "")
State = Literal["made", "changed", "moved", "gone"]
# A name may be as long as a path; what is longer is no name.
_MAX_KEY: Final = 4_000


class Thing(TypedDict, total=False):
    """The content of a cell."""

    state: State
    ids: dict[str, str]
    scope: dict[str, str]
    fields: dict[str, JsonValue]
    appended: dict[str, str]
    source: str
    text: str
    """What the target, or the generator, said of it in words."""


class Things:
    """The things of one kind, of one server, as one call sees and changes them."""

    def __init__(self, scene: Scene, head: str) -> None:
        self._scene = scene
        self._prefix = f"generic\n{scene.call.server}\n"
        self.head = head
        self.space = self._prefix + head
        self._marks = f"marks\n{scene.call.server}\n{head}"

    def find(self, name: str, scope: Mapping[str, str]) -> Thing | None:
        """The thing of that name, if the overlay knows it."""
        direct = cast("Thing | None", self._scene.get(self.space, name[:_MAX_KEY]))
        if direct is not None and _lies_in(direct, scope):
            return direct
        return next((thing for _, _, thing in self._all() if self._is(thing, name) and _lies_in(thing, scope)), None)

    def _is(self, thing: Thing, name: str) -> bool:
        return name in thing.get("ids", {}).values()

    def put(self, thing: Thing, was: Thing | None = None) -> None:
        """Keep it, in place of what it was."""
        for space, key, each in self._all() if was is not None else ():
            if each is was or each == was:
                self._scene.set(space, key, thing)
                return
        key = next(iter(thing.get("ids", {}).values()), "")[:_MAX_KEY]
        there = cast("Thing | None", self._scene.get(self.space, key))
        if there is not None and not _lies_in(there, thing.get("scope", {})):
            key = f"{key}\n{jsontext.canonical(thing.get('scope', {})).decode()}"
        self._scene.set(self.space, key, thing)

    def clear(self, scope: Mapping[str, str]) -> None:
        """Nothing of the kind is there any more, real or not."""
        for space, key, thing in list(self._all()):
            if _lies_in(thing, scope):
                self._scene.set(space, key, {**thing, "state": "gone"})
        self._scene.set(f"{self._marks}\ncleared", jsontext.canonical(dict(scope)).decode(), True)

    def cleared(self, scope: Mapping[str, str]) -> bool:
        return self._scene.get(f"{self._marks}\ncleared", jsontext.canonical(dict(scope)).decode()) is not None

    def in_scope(self, scope: Mapping[str, str]) -> Iterator[Thing]:
        for _, _, thing in self._all():
            if _lies_in(thing, scope):
                yield thing

    def count(self) -> int:
        return sum(1 for _ in self._scene.changes.items(self.space))

    def _all(self) -> Iterator[tuple[str, str, Thing]]:
        """Where each lies, and what it is. A tool that does not say of which kind is about all of them."""
        spaces = [self.space] if self.head else self._scene.changes.spaces(self._prefix)
        for space in spaces:
            for key, value in self._scene.changes.items(space):
                yield space, key, cast("Thing", value)

    # whether a list was filled with made-up things already

    def filled(self, scope: Mapping[str, str]) -> bool:
        return self._scene.get(f"{self._marks}\nfilled", jsontext.canonical(dict(scope)).decode()) is not None

    def fill(self, scope: Mapping[str, str]) -> None:
        self._scene.set(f"{self._marks}\nfilled", jsontext.canonical(dict(scope)).decode(), True)


def chosen(thing: Thing, wanted: Mapping[str, JsonValue]) -> bool:
    """Whether a thing has these fields; what is no plain value (an operator of some query language) chooses nothing."""
    has = {**thing.get("ids", {}), **thing.get("fields", {})}
    return all(not isinstance(value, dict) and has.get(name) == value for name, value in wanted.items())


def _lies_in(thing: Thing, scope: Mapping[str, str]) -> bool:
    """Nothing that both say contradicts the other."""
    its = thing.get("scope", {})
    return all(its.get(name, value) == value for name, value in scope.items())


def fits(thing: Thing, args: Mapping[str, JsonValue], query: str) -> bool:
    """Whether a list with these filters shows it."""
    fields = thing.get("fields", {})
    for name, wanted in args.items():
        has = fields.get(name)
        if name in FILTERS and isinstance(wanted, dict):
            if not chosen(thing, cast("dict[str, JsonValue]", wanted)):
                return False
        elif isinstance(wanted, str) and isinstance(has, str) and wanted.lower() not in (has.lower(), *_ANY):
            return False
    if not query or query in ("*", ".*", "%"):
        return True
    # A made-up id holds any letter sooner or later.
    told = {name: each for name, each in {**thing.get("ids", {}), **fields}.items() if name not in _MADE_UP}
    held = jsontext.dump(told).lower()
    wanted_words = [word for word in query.lower().replace("*", " ").split() if ":" not in word]
    return all(word in held for word in wanted_words)
