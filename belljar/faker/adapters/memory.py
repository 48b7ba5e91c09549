"""The memory server: a graph of entities, relations and observations, as it would be after what was written.

The real graph is asked for whole, once a call, and what was written lies over it: entities by name, relations by their
three words. A search is done here, over both, because only here is known what there is. Nothing else is needed: the
server has one file and no other state.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from belljar.faker import results
from belljar.faker.scene import Model, Outcome, Refusal, Scene
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["TOOLS", "MemoryModel"]

TOOLS: Final = frozenset(
    """
    create_entities create_relations add_observations delete_entities delete_observations delete_relations read_graph
    search_nodes open_nodes
    """.split()
)

Entity = dict[str, Any]
Relation = dict[str, Any]


class MemoryModel:
    """Answers for a memory server; what it does not know goes to `otherwise`."""

    def __init__(self, otherwise: Model) -> None:
        self._otherwise = otherwise

    async def answer(self, scene: Scene) -> Outcome:
        """Answer the call."""
        name = scene.call.tool.name
        if name not in TOOLS:
            return await self._otherwise.answer(scene)
        graph = _Graph(scene)
        if scene.verdict.operation == "read" and not scene.offline and not graph.touched:
            return Outcome(await scene.real(), "real")
        await graph.load()
        tools: Any = graph
        return getattr(tools, name)(scene.args)


class _Graph:
    """The graph as one call sees it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._space = f"memory\n{scene.call.server}"
        self._entities: dict[str, Entity] = {}
        self._relations: dict[str, Relation] = {}

    @property
    def touched(self) -> bool:
        return next(self._scene.changes.items(f"{self._space}\nentity"), None) is not None or (
            next(self._scene.changes.items(f"{self._space}\nrelation"), None) is not None
        )

    async def load(self) -> None:
        """What is real, with what was written over it.

        Raises:
            Refusal: the server does not show its graph.
        """
        real: Mapping[str, Any] = {}
        if self._scene.may_ask:
            answer = await self._scene.ask("read_graph")
            value = results.parsed(answer)
            if answer.get("isError") or not isinstance(value, dict):
                # What cannot be read is not empty: nothing can be said of a graph that nobody has seen.
                raise Refusal(results.said(answer) or "the graph cannot be read")
            real = cast("dict[str, Any]", value)
        for entity in cast("list[Entity]", real.get("entities") or []):
            self._entities.setdefault(str(entity.get("name")), entity)
        for relation in cast("list[Relation]", real.get("relations") or []):
            self._relations.setdefault(_key(relation), relation)
        self._lay_over("entity", self._entities)
        self._lay_over("relation", self._relations)

    def _lay_over(self, kind: str, there: dict[str, dict[str, Any]]) -> None:
        for key, value in self._scene.changes.items(f"{self._space}\n{kind}"):
            cell = cast("dict[str, Any]", value)
            if cell.get("gone"):
                there.pop(key, None)
            else:
                there[key] = cell

    def _put_entity(self, entity: Entity) -> None:
        self._entities[entity["name"]] = entity
        self._scene.set(f"{self._space}\nentity", entity["name"], entity)

    def _drop(self, kind: str, key: str, there: dict[str, dict[str, Any]]) -> None:
        there.pop(key, None)
        self._scene.set(f"{self._space}\n{kind}", key, {"gone": True})

    def _said(self, value: JsonValue, structured: JsonValue) -> Outcome:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        has_schema = self._scene.call.tool.output_schema is not None
        return Outcome(results.text(text, structured=structured if has_schema else None), "overlay")

    # ---- writes

    def create_entities(self, args: Mapping[str, Any]) -> Outcome:
        new: list[Entity] = []
        for given in cast("list[Entity]", args["entities"]):
            entity = {name: given[name] for name in ("name", "entityType", "observations")}
            if entity["name"] not in self._entities:
                self._put_entity(entity)
                new.append(entity)
        return self._said(new, {"entities": new})

    def create_relations(self, args: Mapping[str, Any]) -> Outcome:
        new: list[Relation] = []
        for given in cast("list[Relation]", args["relations"]):
            relation = {name: given[name] for name in ("from", "to", "relationType")}
            if _key(relation) not in self._relations:
                self._relations[_key(relation)] = relation
                self._scene.set(f"{self._space}\nrelation", _key(relation), relation)
                new.append(relation)
        return self._said(new, {"relations": new})

    def add_observations(self, args: Mapping[str, Any]) -> Outcome:
        done: list[JsonValue] = []
        for each in cast("list[dict[str, Any]]", args["observations"]):
            entity = self._entities.get(each["entityName"])
            if entity is None:
                raise Refusal(f"Entity with name {each['entityName']} not found")
            there = cast("list[str]", entity.get("observations") or [])
            added = [text for text in each["contents"] if text not in there]
            self._put_entity({**entity, "observations": [*there, *added]})
            done.append({"entityName": each["entityName"], "addedObservations": added})
        return self._said(done, {"results": done})

    def delete_entities(self, args: Mapping[str, Any]) -> Outcome:
        names = {str(name) for name in args["entityNames"]}
        for name in names:
            self._drop("entity", name, self._entities)
        for key, relation in list(self._relations.items()):
            if relation.get("from") in names or relation.get("to") in names:
                self._drop("relation", key, self._relations)
        return self._done("Entities deleted successfully")

    def delete_observations(self, args: Mapping[str, Any]) -> Outcome:
        for each in cast("list[dict[str, Any]]", args["deletions"]):
            entity = self._entities.get(each["entityName"])
            if entity is not None:
                there = cast("list[str]", entity.get("observations") or [])
                kept = [text for text in there if text not in each["observations"]]
                self._put_entity({**entity, "observations": kept})
        return self._done("Observations deleted successfully")

    def delete_relations(self, args: Mapping[str, Any]) -> Outcome:
        for relation in cast("list[Relation]", args["relations"]):
            self._drop("relation", _key(relation), self._relations)
        return self._done("Relations deleted successfully")

    def _done(self, message: str) -> Outcome:
        return self._said(message, {"success": True, "message": message})

    # ---- reads

    def read_graph(self, _args: Mapping[str, Any]) -> Outcome:
        graph: JsonValue = {"entities": list(self._entities.values()), "relations": list(self._relations.values())}
        return self._said(graph, graph)

    def search_nodes(self, args: Mapping[str, Any]) -> Outcome:
        query = str(args["query"]).lower()
        return self._shown(entity for entity in self._entities.values() if _holds(entity, query))

    def open_nodes(self, args: Mapping[str, Any]) -> Outcome:
        names = {str(name) for name in args["names"]}
        return self._shown(entity for name, entity in self._entities.items() if name in names)

    def _shown(self, entities: Iterable[Entity]) -> Outcome:
        shown = list(entities)
        names = {entity["name"] for entity in shown}
        # A relation is part of an answer if one of its ends is.
        relations = [each for each in self._relations.values() if not names.isdisjoint((each["from"], each["to"]))]
        graph: JsonValue = {"entities": shown, "relations": relations}
        return self._said(graph, graph)


def _key(relation: Mapping[str, Any]) -> str:
    return jsontext.dump([relation.get("from"), relation.get("relationType"), relation.get("to")])


def _holds(entity: Entity, query: str) -> bool:
    observed = cast("list[Any]", entity.get("observations") or [])
    texts = [entity.get("name"), entity.get("entityType"), *observed]
    return any(query in str(text).lower() for text in texts)
