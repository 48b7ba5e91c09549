"""What any server's tools do to a world: make, change, append to, move and delete things; read one, list many.

Who calls a tool that nobody wrote an adapter for gets an answer that agrees with everything it did before. The target's
own answers are preferred for all that is real; the overlay is laid over them; what nobody knows is made up, and then
kept, so that it stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from belljar.faker import results
from belljar.faker._names import words
from belljar.faker.calls import RealError, Tool
from belljar.faker.generate import CannotMakeError
from belljar.faker.generic import merge
from belljar.faker.generic.entities import FILTERS, Thing, Things, chosen, fits
from belljar.faker.generic.identity import as_text, identities_of, identity, scope
from belljar.faker.generic.meaning import Meaning, common_words, meaning, singular
from belljar.faker.generic.newborn import Newborn
from belljar.faker.results import Answer
from belljar.faker.scene import Outcome, Refusal, Scene
from belljar.rpc.world import JsonValue

__all__ = ["GenericModel"]

_QUERIES: Final = ("query", "q", "search", "pattern", "keyword", "keywords", "term", "text", "filter")
_PAGES: Final = ("page", "offset", "cursor", "after", "start", "skip", "page_token", "pageToken", "nextToken")
_CONTENT: Final = ("content", "contents", "text", "body", "value", "data", "message", "markdown")
_NESTED: Final = ("fields", "properties", "updates", "update", "patch", "attributes", "changes", "data", "values")
_SOURCES: Final = (
    "source",
    "from",
    "old",
    "src",
    "old_path",
    "source_path",
    "oldpath",
    "from_path",
    "old_name",
    "sourcepath",
)
_TARGETS: Final = (
    "destination",
    "to",
    "new",
    "dst",
    "dest",
    "target",
    "new_path",
    "destination_path",
    "newpath",
    "to_path",
    "new_name",
    "newname",
)
# Verbs that make the thing they name; others that look so (`label_issue`) change one that is there.
_MAKES: Final = frozenset(
    """
    create new make write put insert upload save store set mkdir register clone fork copy duplicate overwrite replace
    upsert add
    """.split()
)
_STATES: Final[dict[str, dict[str, JsonValue]]] = {
    "close": {"state": "closed", "status": "closed"},
    "reopen": {"state": "open", "status": "open"},
    "archive": {"archived": True},
    "unarchive": {"archived": False},
    "lock": {"locked": True},
    "unlock": {"locked": False},
    "merge": {"state": "closed", "merged": True},
    "complete": {"status": "completed", "completed": True},
    "cancel": {"status": "canceled"},
    "enable": {"enabled": True},
    "disable": {"enabled": False},
    "approve": {"state": "approved"},
    "pause": {"status": "paused"},
    "resume": {"status": "active"},
}
_LISTING: Final = frozenset("list search find query enumerate filter lookup browse discover ls scan".split())
_CLEARING: Final = frozenset("clear purge truncate flush empty wipe reset".split())
_BULK: Final = ("documents", "items", "records", "rows", "entries", "objects", "values")
_FILLED_WITH: Final = 3


class GenericModel:
    """For a server whose tools nobody knows. Remembers shapes of real answers, in memory alone."""

    def __init__(self) -> None:
        self._common: tuple[Mapping[str, Tool], frozenset[str]] = ({}, frozenset())
        self._meanings: dict[str, Meaning] = {}
        self._newborn = Newborn()

    async def answer(self, scene: Scene) -> Outcome:
        """Answer the call."""
        said = self._meaning(scene)
        if scene.verdict.operation == "write":
            return self._write(scene, said)
        try:
            # `pods_get` is named after many, and asks for one where it is given a name.
            of_one = said.verb not in _LISTING and identity(scene.args, said.head) is not None
            if said.action == "list" and not of_one:
                return await self._list(scene, said)
            return await self._get(scene, said)
        except CannotMakeError as exc:
            raise Refusal(f"{scene.call.tool.name} cannot be answered: {exc}") from None

    def _meaning(self, scene: Scene) -> Meaning:
        if self._common[0] is not scene.call.tools:
            self._common = (scene.call.tools, common_words(scene.call.tools))
            self._meanings.clear()
        name = scene.call.tool.name
        if name not in self._meanings:
            self._meanings[name] = meaning(name, self._common[1], writes=scene.verdict.operation == "write")
        return self._meanings[name]

    # ---- writes

    def _write(self, scene: Scene, said: Meaning) -> Outcome:
        things = Things(scene, said.head)
        wanted = next((scene.args[name] for name in FILTERS if isinstance(scene.args.get(name), dict)), None)
        if wanted is not None and said.action in ("update", "delete"):
            return self._write_chosen(scene, said, things, cast("dict[str, JsonValue]", wanted))
        named = _several(scene.args, said)
        done = [self._write_one(scene, said, things, each) for each in named or [dict(scene.args)]]
        return self._written(scene, said, done, many=bool(named))

    def _write_chosen(self, scene: Scene, said: Meaning, things: Things, wanted: dict[str, JsonValue]) -> Outcome:
        """What a filter chooses of all that was made here; what is real is not found that way."""
        given = [scene.args.get(name) for name in ("update", "set", "values")]
        fields = next((cast("dict[str, JsonValue]", each) for each in given if isinstance(each, dict)), None) or {}
        fields = cast("dict[str, JsonValue]", fields.get("$set", fields))
        found = [each for each in things.in_scope(scope(scene.args, None)) if each.get("state") != "gone"]
        found = [each for each in found if chosen(each, wanted)]
        for thing in found:
            gone: Thing = {**thing, "state": "gone"}
            changed: Thing = {**thing, "fields": {**thing.get("fields", {}), **fields}}
            things.put(gone if said.action == "delete" else changed, thing)
        return self._written(scene, said, [{"state": "gone", "ids": {"": str(len(found))}}], many=False)

    def _write_one(self, scene: Scene, said: Meaning, things: Things, args: dict[str, JsonValue]) -> Thing:
        own = identity(args, said.head)
        lies_in = scope({**scene.args, **args}, own[0] if own else None)
        match said.action:
            case "delete" if own is None and (said.many or said.verb in _CLEARING):
                things.clear(lies_in)
                return {"state": "gone", "ids": {}, "scope": lies_in, "fields": {}}
            case "delete":
                return self._delete(things, own, lies_in)
            case "move":
                return self._move(things, args, own, lies_in)
            case "append":
                return self._append(things, args, own, lies_in)
            case "do" if own is not None and "image" in args:  # `pods_run`, `run_container`
                return self._make(scene, said, things, args, own, lies_in)
            case "create" if own is None or said.verb in _MAKES:
                return self._make(scene, said, things, args, own, lies_in)
            case _:
                return self._change(said, things, args, own, lies_in)

    def _make(
        self,
        scene: Scene,
        said: Meaning,
        things: Things,
        args: dict[str, JsonValue],
        own: tuple[str, str] | None,
        lies_in: dict[str, str],
    ) -> Thing:
        there = None if own is None else things.find(own[1], lies_in)
        if own is not None and own[0] in ("title", "code", "email"):
            own = there = None
        ids = {} if own is None else {own[0]: own[1]}
        fields = self._newborn.fields(scene, said.head, things.count(), ids, _flat(args))
        named = {**identities_of(fields, said.head), **ids}
        thing: Thing = {"state": "made", "ids": named, "scope": lies_in, "fields": fields}
        things.put(thing, there)
        return thing

    def _change(
        self,
        said: Meaning,
        things: Things,
        args: dict[str, JsonValue],
        own: tuple[str, str] | None,
        lies_in: dict[str, str],
    ) -> Thing:
        places = {own[0] if own else "", *(name for name in args if "_".join(words(name)) in lies_in)}
        new = {**_STATES.get(said.verb, {}), **{name: each for name, each in _flat(args).items() if name not in places}}
        if own is None:
            return {"state": "changed", "ids": {}, "scope": lies_in, "fields": new}
        there = things.find(own[1], lies_in)
        if there is None:
            thing: Thing = {"state": "changed", "ids": {own[0]: own[1]}, "scope": lies_in, "fields": new}
        elif there.get("state") == "gone":
            raise Refusal(f"{said.head or 'it'} {own[1]} not found")
        else:
            thing = {**there, "fields": {**there.get("fields", {}), **new}}
        things.put(thing, there)
        return thing

    def _delete(self, things: Things, own: tuple[str, str] | None, lies_in: dict[str, str]) -> Thing:
        if own is None:
            return {"state": "gone", "ids": {}, "scope": lies_in, "fields": {}}
        there = things.find(own[1], lies_in)
        if there is not None and there.get("state") == "gone":
            raise Refusal(f"{things.head or 'it'} {own[1]} not found")
        ids = {own[0]: own[1]} if there is None else {**there.get("ids", {})}
        thing: Thing = {"state": "gone", "ids": ids, "scope": lies_in, "fields": {}}
        things.put(thing, there)
        return thing

    def _append(
        self, things: Things, args: dict[str, JsonValue], own: tuple[str, str] | None, lies_in: dict[str, str]
    ) -> Thing:
        name, more = next(((n, args[n]) for n in _CONTENT if isinstance(args.get(n), str)), ("content", ""))
        if own is None:
            return {"state": "changed", "ids": {}, "scope": lies_in, "fields": dict(args)}
        there = things.find(own[1], lies_in)
        if there is None or there.get("state") == "gone":
            state = "changed" if there is None else "made"
            thing: Thing = {"state": state, "ids": {own[0]: own[1]}, "scope": lies_in, "fields": {}}
            if state == "changed":
                thing["appended"] = {name: str(more)}
            else:
                thing["fields"] = {name: str(more)}
        elif isinstance(before := there.get("fields", {}).get(name), str):
            thing = {**there, "fields": {**there.get("fields", {}), name: before + str(more)}}
        else:
            before = there.get("appended", {}).get(name, "")
            thing = {**there, "appended": {**there.get("appended", {}), name: before + str(more)}}
        things.put(thing, there)
        return thing

    def _move(
        self, things: Things, args: dict[str, JsonValue], own: tuple[str, str] | None, lies_in: dict[str, str]
    ) -> Thing:
        plain = {name.replace("-", "_").lower(): as_text(value) for name, value in args.items()}
        source = next((plain[name] for name in _SOURCES if plain.get(name)), own[1] if own else None)
        target = next((plain[name] for name in _TARGETS if plain.get(name)), None)
        if source is None or target is None:
            # Moved to another place, under the name it has: a change of where it lies.
            said = Meaning("update", things.head, "move", many=False)
            return self._change(said, things, args, own, lies_in)
        there = things.find(source, lies_in)
        if there is not None and there.get("state") == "gone":
            raise Refusal(f"{source} not found")
        if there is None or there.get("state") != "made":
            before: Thing = {"state": "gone", "ids": {"": source}, "scope": lies_in, "fields": {}}
            origin = source if there is None else there.get("source", source)
            thing: Thing = {**(there or {}), "state": "moved", "source": origin, "ids": {"": target}, "scope": lies_in}
            things.put(before, there)
            things.put(thing)
            return thing
        ids = {name: target if each == source else each for name, each in there.get("ids", {}).items()}
        fields = {name: target if each == source else each for name, each in there.get("fields", {}).items()}
        thing = {**there, "ids": ids, "fields": fields}
        things.put({"state": "gone", "ids": {"": source}, "scope": lies_in, "fields": {}}, there)
        things.put(thing)
        return thing

    def _written(self, scene: Scene, said: Meaning, done: Sequence[Thing], *, many: bool) -> Outcome:
        """What the tool says of what it did."""
        given_ids = {name: each for thing in done for name, each in scene.args.items() if name in thing.get("ids", {})}
        whole = [
            {**thing.get("ids", {}), **(given_ids if not many else {}), **thing.get("fields", {})} for thing in done
        ]
        shown: JsonValue = whole if many else (whole[0] if whole else {})
        given = {**scene.args, **(whole[0] if whole else {})}
        if many and said.head:
            given |= {f"{said.head}s": whole, said.head: whole[0] if whole else None}
        schema = scene.call.tool.output_schema
        if schema is not None:
            about = f"{scene.call.tool.name} {scene.changes.seen}"
            try:
                value = scene.generator.value(schema, about, given)
            except CannotMakeError as exc:
                raise Refusal(f"{scene.call.tool.name} cannot be answered: {exc}") from None
            return Outcome(results.of_value(value, structured=True), "overlay", synthesized=True)
        names = ", ".join(next(iter(thing.get("ids", {}).values()), "") for thing in done)
        if said.action in ("delete", "move", "do") or not any(thing.get("fields") for thing in done):
            what = {"delete": "deleted", "move": "moved"}.get(said.action, "done")
            return Outcome(
                results.text(f"Successfully {what} {said.head or ''} {names}".replace("  ", " ").strip()), "overlay"
            )
        return Outcome(results.of_value(shown, structured=False), "overlay")

    # ---- reads

    async def _get(self, scene: Scene, said: Meaning) -> Outcome:
        own = identity(scene.args, said.head)
        if own is None:
            return await self._plain(scene, said)
        things = Things(scene, said.head)
        lies_in = scope(scene.args, own[0])
        thing = things.find(own[1], lies_in)
        match None if thing is None else thing.get("state"):
            case "gone":
                return Outcome.failed(f"{said.head.capitalize() or 'It'} {own[1]} not found")
            case "made":
                return self._tell(scene, said, cast("Thing", thing))
            case "changed" if not scene.offline:
                answer = await scene.real()
                self._newborn.learn(scene.call.server, said.head, answer)
                return Outcome(merge.over_thing(answer, cast("Thing", thing), said.head), "overlay")
            case "moved" if scene.may_ask:
                return await self._moved(scene, said, cast("Thing", thing), own)
            case None if not scene.offline:
                answer = await scene.real()
                self._newborn.learn(scene.call.server, said.head, answer)
                return Outcome(answer, "real")
            case _:
                return self._invent(scene, said, things, own, lies_in, thing)

    async def _moved(self, scene: Scene, said: Meaning, thing: Thing, own: tuple[str, str]) -> Outcome:
        source = thing.get("source", own[1])
        answer = await scene.ask(scene.call.tool.name, **{**scene.args, own[0]: source})
        if thing.get("fields") or thing.get("appended"):
            answer = merge.over_thing(answer, thing, said.head)
        return Outcome(answer, "overlay")

    async def _plain(self, scene: Scene, said: Meaning) -> Outcome:
        """A question about nothing in particular."""
        if not scene.offline:
            answer = await scene.real()
            self._newborn.learn(scene.call.server, said.head, answer)
            things = Things(scene, said.head)
            return self._laid_over(scene, said, things, answer)
        return self._made_up(scene)

    def _made_up(self, scene: Scene) -> Outcome:
        schema = scene.call.tool.output_schema
        about = f"{scene.call.tool.name} {_about(scene.args)}"
        if schema is not None:
            value = scene.generator.value(schema, about, scene.args)
            return Outcome(results.of_value(value, structured=True), "synthesized", synthesized=True)
        learned = self._newborn.example_of(scene.call.server, scene.call.tool.name)
        if learned is not None:
            value = scene.generator.like(learned, about, scene.args)
            return Outcome(results.of_value(value, structured=False), "synthesized", synthesized=True)
        return Outcome(results.text(scene.generator.text("text", about)), "synthesized", synthesized=True)

    def _tell(self, scene: Scene, said: Meaning, thing: Thing, source: str = "overlay") -> Outcome:
        """All of a thing that is in the overlay alone."""
        whole = {**scene.args, **thing.get("ids", {}), **thing.get("fields", {})}
        schema = scene.call.tool.output_schema
        if schema is not None:
            given = {**whole, said.head or "item": thing.get("fields", {})}
            value = scene.generator.value(schema, f"{scene.call.tool.name} {_about(thing.get('ids', {}))}", given)
            return Outcome(results.of_value(value, structured=True), "overlay")
        fields = {**thing.get("fields", {})}
        content = [name for name in _CONTENT if isinstance(fields.get(name), str)]
        others = [
            name
            for name in fields
            if name not in content and name not in thing.get("ids", {}) and name not in scene.args
        ]
        if len(content) == 1 and not others:
            return Outcome(results.text(str(fields[content[0]])), "overlay")
        example = self._newborn.example(scene.call.server, said.head)
        if example is not None:
            like = scene.generator.like(example, _about(thing.get("ids", {})), {**thing.get("ids", {}), **fields})
            fields = {**cast("dict[str, JsonValue]", like), **fields}
        return Outcome(results.of_value(fields, structured=False), "overlay")

    def _invent(
        self,
        scene: Scene,
        said: Meaning,
        things: Things,
        own: tuple[str, str],
        lies_in: dict[str, str],
        there: Thing | None,
    ) -> Outcome:
        """A thing that nobody knows, and that exists from now on."""
        ids = {own[0]: own[1]}
        fields = self._newborn.invented(scene, said.head, ids, about=f"{said.head} {own[1]}")
        fields |= {own[0]: scene.args[own[0]], **(there or {}).get("fields", {})}
        thing: Thing = {
            "state": "made",
            "ids": {**identities_of(fields, said.head), **ids},
            "scope": lies_in,
            "fields": fields,
        }
        things.put(thing, there)
        told = self._tell(scene, said, thing)
        return Outcome(told.result, "synthesized", synthesized=True)

    async def _list(self, scene: Scene, said: Meaning) -> Outcome:
        things = Things(scene, said.head)
        if things.cleared(scope(scene.args, None)):
            return self._told_list(scene, said, self._shown(scene, things))
        if not scene.offline:
            try:
                answer = await scene.real()
            except RealError:
                if not list(self._shown(scene, things)):
                    raise
                return self._told_list(scene, said, list(self._shown(scene, things)))
            self._newborn.learn(scene.call.server, said.head, answer)
            return self._laid_over(scene, said, things, answer)
        lies_in = scope(scene.args, None)
        if not things.filled(lies_in):
            self._fill(scene, said, things, lies_in)
        told = self._told_list(scene, said, list(self._shown(scene, things)))
        return Outcome(told.result, "synthesized", synthesized=True)

    def _fill(self, scene: Scene, said: Meaning, things: Things, lies_in: dict[str, str]) -> None:
        wanted = 0 if list(things.in_scope(lies_in)) or "empty" in self._newborn.facts(scene) else _FILLED_WITH
        for n in range(wanted):
            fields = self._newborn.invented(scene, said.head, {}, about=f"{said.head} {_about(lies_in)} {n}")
            things.put({"state": "made", "ids": identities_of(fields, said.head), "scope": lies_in, "fields": fields})
        things.fill(lies_in)

    def _shown(self, scene: Scene, things: Things) -> list[Thing]:
        lies_in, query = scope(scene.args, None), _query(scene.args)
        filters = _filters(scene.args)
        there = [thing for thing in things.in_scope(lies_in) if thing.get("state") in ("made", "moved")]
        return [thing for thing in there if fits(thing, filters, query)]

    def _laid_over(self, scene: Scene, said: Meaning, things: Things, answer: Answer) -> Outcome:
        there = list(things.in_scope(scope(scene.args, None)))
        hidden = [thing for thing in there if thing.get("state") == "gone"]
        filters = _filters(scene.args)
        changed = [thing for thing in there if thing.get("state") == "changed" and thing.get("ids")]
        hidden += [thing for thing in changed if not fits(thing, filters, "")]
        later = any(scene.args.get(name) not in (None, 0, 1, "", "0", "1") for name in _PAGES)
        made = [] if later else self._shown(scene, things)
        if not (hidden or changed or made) or answer.get("isError"):
            return Outcome(answer, "real")
        merged = merge.into_list(answer, said.head, hidden, changed, made, scene.generator)
        return Outcome(merged, "real" if merged == answer else "overlay")

    def _told_list(self, scene: Scene, said: Meaning, things: Sequence[Thing]) -> Outcome:
        whole = [{**thing.get("ids", {}), **thing.get("fields", {})} for thing in things]
        schema = scene.call.tool.output_schema
        if schema is not None:
            return Outcome(
                results.of_value(self._newborn.list_of(scene, schema, whole, said.head), structured=True), "overlay"
            )
        return Outcome(results.of_value(cast("JsonValue", whole), structured=False), "overlay")


def _several(args: Mapping[str, JsonValue], said: Meaning) -> list[dict[str, JsonValue]]:
    """The things a call is about, where it names them in a list."""
    for name, value in args.items():
        plain = singular(name.split("_")[-1].lower())
        items = cast("list[Any]", value) if isinstance(value, list) else []
        in_bulk = said.many or plain == said.head or (not said.head and name in _BULK)
        if items and in_bulk and all(isinstance(item, dict) for item in items):
            return [dict(item) for item in items]
        names = plain in ("id", "path", "name", "key", said.head) or name.lower().startswith(said.head or "\0")
        by_name = said.action == "delete" or (said.many and said.action == "create")
        if names and by_name and items and all(isinstance(item, str | int) for item in items):
            return [{"name" if plain == said.head else plain: item} for item in items]
    return []


def _flat(args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Arguments as fields: what stands in `fields` or `properties` is meant itself."""
    flat: dict[str, JsonValue] = {}
    for name, value in args.items():
        if name in _NESTED and isinstance(value, dict):
            flat.update(cast("dict[str, JsonValue]", value))
        else:
            flat[name] = value
    return flat


def _filters(args: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Arguments that choose by fields; a query in words is none."""
    return {name: value for name, value in args.items() if name not in _QUERIES or not isinstance(value, str)}


def _query(args: Mapping[str, JsonValue]) -> str:
    return next((str(args[name]) for name in _QUERIES if isinstance(args.get(name), str)), "")


def _about(values: Mapping[str, JsonValue]) -> str:
    return " ".join(f"{name}={values[name]}" for name in sorted(values))[:4_000]
