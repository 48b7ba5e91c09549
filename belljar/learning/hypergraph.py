"""Who calls whom: tools are vertices, a capability is a hyperedge around all it called, and one that ran others lies
around their hyperedges, too (a super-hyperedge).

Built from runs alone, in one pass. A path names a nested run as `capability:NAME`; where a capability of that name has
been seen to run, the two are one node, and where none has, the name is a vertex like any tool's. Nesting may go in
circles, because runs may (a calls b, b calls a): nothing here follows it, and attention passes one message along each
incidence a layer. Only a capability that runs itself is not said to lie around itself.

A hypergraph is held to its most used nodes and incidences, so that a tenant with a million names costs what it costs to
train two thousand; `left_out` counts the rest. Super-hypergraphs: Hamidi, Smarandache, Davneshvar 2022; hypergraph
attention: Bai, Zhang, Torr 2021.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from belljar.learning.runs import Run

__all__ = ["MOST_CAPABILITIES", "MOST_TOOLS", "NESTED", "Hypergraph", "Incidences", "LeftOut", "build"]

MOST_TOOLS = 2000
MOST_CAPABILITIES = 2000
# Eight of each capability's, where there are as many as there may be; attention costs so much for each.
MOST_INCIDENCES = 16_000
# Characters; a longer name is nobody's, and would only fill a checkpoint.
_MAX_NAME = 320
NESTED = "capability:"
"""What the name of a nested run begins with in a path."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Incidences:
    """Which capability lies around which node; three arrays of shape (incidences,), sorted by capability and member."""

    around: Ints
    """Capabilities, by their place among the capabilities."""
    members: Ints
    """Tools by their place among the tools, or capabilities among the capabilities."""
    runs: Floats
    """In how many runs of the capability the member was called."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was seen and is not in a hypergraph, because others are used more."""

    tools: int = 0
    capabilities: int = 0
    incidences: int = 0


@dataclass(frozen=True, slots=True)
class Hypergraph:
    """Nodes are tools, then capabilities, each the most used first; a node is known by its place in that order."""

    tools: tuple[str, ...]
    capabilities: tuple[str, ...]
    calls: Mapping[str, int]
    """What a path may say, and the node it means: every tool, and the `capability:NAME`s that were seen to run."""
    vertices: Incidences
    nested: Incidences
    left_out: LeftOut

    def __len__(self) -> int:
        return len(self.tools) + len(self.capabilities)

    def capability_nodes(self) -> dict[str, int]:
        """Capabilities by name, and their nodes."""
        return {name: len(self.tools) + i for i, name in enumerate(self.capabilities)}

    def node_texts(self, texts: Mapping[str, str]) -> list[str]:
        """What is known of each node in words: its name, and what a capability says it is for."""
        return [*self.tools, *(f"{name} {texts.get(name, '')}" for name in self.capabilities)]


def build(
    runs: Sequence[Run],
    *,
    most_tools: int = MOST_TOOLS,
    most_capabilities: int = MOST_CAPABILITIES,
    most_incidences: int = MOST_INCIDENCES,
) -> Hypergraph:
    """The hypergraph of these runs; empty if there are none."""
    capabilities, capabilities_left = _most_used((run.capability for run in runs), most_capabilities)
    place = {name: i for i, name in enumerate(capabilities)}
    by_action = _by_action(capabilities)
    nested = {call: found for call in _nested_calls(runs) if (found := _resolve(call, place, by_action)) is not None}
    named = (call for run in runs for call in set(run.path) if call not in nested)
    tools, tools_left = _most_used(named, most_tools)
    calls = {name: i for i, name in enumerate(tools)} | {call: len(tools) + at for call, at in sorted(nested.items())}
    around = {name: (i, len(tools) + i) for name, i in place.items()}
    kept, incidences_left = _incidences(runs, around, calls, most_incidences)
    return Hypergraph(
        tools,
        capabilities,
        calls,
        _arrays({pair: n for pair, n in kept.items() if pair[1] < len(tools)}),
        _arrays({(a, b - len(tools)): n for (a, b), n in kept.items() if b >= len(tools)}),
        LeftOut(tools_left, capabilities_left, incidences_left),
    )


def _most_used(names: Iterable[str], most: int) -> tuple[tuple[str, ...], int]:
    """The most used names, and how many others there are."""
    counted = Counter(names)
    ordered = sorted((name for name in counted if len(name) <= _MAX_NAME), key=lambda name: (-counted[name], name))
    return tuple(ordered[:most]), len(counted) - len(ordered[:most])


def _nested_calls(runs: Iterable[Run]) -> set[str]:
    return {call for run in runs for call in run.path if call.startswith(NESTED)}


def _by_action(capabilities: Sequence[str]) -> dict[str, int]:
    """`namespace:action`, and the most used capability that ends so."""
    found = dict[str, int]()
    for i, name in enumerate(capabilities):
        parts = name.split(".")
        found.setdefault(":".join(parts[-2:]), i)
    return found


def _resolve(call: str, place: Mapping[str, int], by_action: Mapping[str, int]) -> int | None:
    """The capability that a path means by `capability:NAME`, by its full name or by `namespace:action`."""
    name = call.removeprefix(NESTED)
    found = place.get(name)
    return by_action.get(name) if found is None else found


def _incidences(
    runs: Iterable[Run], capabilities: Mapping[str, tuple[int, int]], calls: Mapping[str, int], most: int
) -> tuple[dict[tuple[int, int], int], int]:
    """The most used pairs of a capability and a node it called, with their counts, and how many others there are."""
    counted = Counter[tuple[int, int]]()
    for run in runs:
        if run.capability in capabilities:
            around, itself = capabilities[run.capability]
            nodes = {calls[call] for call in run.path if call in calls}
            counted.update((around, node) for node in nodes if node != itself)
    ordered = sorted(counted, key=lambda pair: (-counted[pair], pair))[:most]
    return {pair: counted[pair] for pair in ordered}, len(counted) - len(ordered)


def _arrays(counted: Mapping[tuple[int, int], int]) -> Incidences:
    pairs = np.array(sorted(counted), dtype=np.int64).reshape(-1, 2)
    counts = np.array([counted[pair] for pair in sorted(counted)], dtype=np.float32)
    return Incidences(pairs[:, 0].copy(), pairs[:, 1].copy(), counts)
