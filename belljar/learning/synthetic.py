"""Worlds whose truth is known, to hold scorers against the best that is possible in them.

    structured   the first tool depends on the intent, the last on the intent and on what was called before it; all
                 paths pass through the same two tools, where who knows the last call alone loses the way
    confounded   names and descriptions say the wrong thing: what is called after mail writes the release notes
    regimes      two ways to everything, one good and one bad; at a known moment they change places
    detours      between the calls that matter others are made that do not, so that no beginning is seen often, and what
                 comes next depends on the intent and on a call some way back
    nested       capabilities that call capabilities, which are run by themselves, too
    plain        intents say nothing, and the next tool depends on the last alone: who knows that is as good as can be

A world is a list of ways to do things, each with how often it is taken; each tool has a hidden rate of success, and a
run succeeds if all of its calls do. All of its calls are made also where it fails, so that a path says nothing of its
outcome but by which tools it uses. The truth is then a sum over the ways (Bayes), with no sampling in it: what
`Truth` answers cannot be bettered, and `best` is how often it is right.

Which of the many phrases of an intent is used says nothing more of what is done; some phrases fit anything.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from belljar.learning.estimates import MAX_PATH
from belljar.learning.runs import Run

__all__ = ["WORLDS", "Phase", "Truth", "Way", "World", "world"]

_RUNS = 2000


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do something."""

    purpose: str
    capability: str
    path: tuple[str, ...]
    share: float
    """Of all runs; relative to the other ways."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How things are for a while."""

    ways: tuple[Way, ...]
    rates: Mapping[str, float]
    """Tool -> how likely a call succeeds; one that is not named always does."""
    phrases: Mapping[str, Sequence[str]]
    """Purpose -> how people put it, each as likely as the others."""

    def chance(self, way: Way) -> float:
        """How likely a run of it is to succeed."""
        return prod(self.rates.get(name, 1.0) for name in way.path)


@dataclass(frozen=True, slots=True)
class Truth:
    """A scorer that cannot be bettered while this phase lasts."""

    phase: Phase
    name: str = "truth"
    _asked: dict[str, list[tuple[Way, float]]] = field(default_factory=dict[str, list[tuple[Way, float]]])

    def capabilities(self, intent: str) -> Mapping[str, float]:
        """Of runs with this intent that succeeded: the share of each capability."""
        return _shares((way.capability, weight) for way, weight in self._good(intent))

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        """Of runs with this intent that succeeded and began so: the share of each next tool."""
        before, at = tuple(context), len(context)
        good = self._good(intent)
        return _shares((way.path[at], weight) for way, weight in good if len(way.path) > at and way.path[:at] == before)

    def chance(self, run: Run) -> float:
        """The product of its tools' hidden rates."""
        return prod(self.phase.rates.get(name, 1.0) for name in run.path)

    def best(self, runs: Iterable[Run]) -> dict[str, float]:
        """The Hit@1 to be expected of the best answers to what is asked about these runs; and the Brier score."""
        runs = list(runs)
        good = [run for run in runs if run.success]
        asked = [max(self.capabilities(run.intent).values()) for run in good]
        called = [
            max(self.tools(run.intent, run.path[:i]).values())
            for run in good
            for i in range(min(MAX_PATH, len(run.path)))
        ]
        chances = [self.chance(run) for run in runs]
        brier = [chance * (1 - chance) for chance in chances]
        return {"capabilities": _mean(asked), "tools": _mean(called), "brier": _mean(brier)}

    def _good(self, intent: str) -> list[tuple[Way, float]]:
        """Ways that this may be the intent of, each with how often it is and succeeds."""
        if intent not in self._asked:
            phrases = self.phase.phrases
            found = {purpose: 1 / len(some) for purpose, some in phrases.items() if intent in some}
            ways = [way for way in self.phase.ways if way.purpose in found]
            self._asked[intent] = [(way, way.share * found[way.purpose] * self.phase.chance(way)) for way in ways]
        return self._asked[intent]


@dataclass(frozen=True, slots=True)
class World:
    """Runs, and what is true of them."""

    name: str
    runs: tuple[Run, ...]
    """Oldest first."""
    texts: Mapping[str, str]
    """Capability -> what it is said to be for."""
    phases: tuple[tuple[int, Phase], ...]
    """(row of the first run, how things are from then on), oldest first."""

    @property
    def truth(self) -> Truth:
        """Of the last phase, in which the newest fifth of all runs lies."""
        return Truth(self.phases[-1][1])


def world(name: str, *, seed: int = 0, runs: int = _RUNS) -> World:
    """One of WORLDS, the same for the same seed.

    Raises:
        ValueError: there is no such world.
    """
    if name not in WORLDS:
        raise ValueError(f"there is no such world; there are {', '.join(WORLDS)}")
    rng = random.Random(f"{name} {seed}")  # noqa: S311 - to be the same again, not to be secret
    phases, texts = WORLDS[name](rng)
    starts = [round(share * runs) for share, _ in phases]
    lived = tuple((start, phase) for start, (_, phase) in zip(starts, phases, strict=True))
    return World(name, tuple(_lived(rng, lived, runs)), texts, lived)


def _lived(rng: random.Random, phases: Sequence[tuple[int, Phase]], runs: int) -> Iterator[Run]:
    for row in range(runs):
        phase = next(phase for start, phase in reversed(phases) if row >= start)
        way = rng.choices(phase.ways, [each.share for each in phase.ways])[0]
        intent = rng.choice(phase.phrases[way.purpose])
        yield Run(row, way.capability, intent, way.path, rng.random() < phase.chance(way))


# The worlds

_Made = tuple[list[tuple[float, Phase]], dict[str, str]]
"""(share of the runs before it, phase) and texts."""

_PURPOSES: dict[str, tuple[str, str]] = {
    "notes": ("write/draft/put together", "the release notes/what changed since the last version/a changelog"),
    "invoice": ("send/mail out/issue", "the invoices of this month/bills to our customers/what clients owe us"),
    "backup": ("save/copy away/archive", "the database/all tables/our customer data"),
    "alert": ("tell/page/wake", "whoever is on call/the team about the outage/operations"),
    "report": ("chart/plot/summarize", "sales by region/last quarter's revenue/the numbers"),
    "triage": ("label/sort/go through", "new issues/the bug reports/what came in overnight"),
}
_ANYTHING = ("do the usual", "the same as last time")


def _phrases(purposes: Iterable[str], *, anything: bool = True) -> dict[str, list[str]]:
    """Eighteen ways to put each, some of which share no word, and two that fit anything."""
    forms = ("{} {}", "please {} {} today")
    found = dict[str, list[str]]()
    for purpose in purposes:
        do, what = (words.split("/") for words in _PURPOSES[purpose])
        found[purpose] = [form.format(a, b) for form, a, b in product(forms, do, what)]
        found[purpose] += _ANYTHING if anything else ()
    return found


def _named(purpose: str, action: str) -> str:
    return f"local.default.{purpose}.{action}"


def _structured(rng: random.Random) -> _Made:
    """Two purposes share each first tool; what is last is told apart by the intent, and by a first tool of two."""
    purposes = list(_PURPOSES)
    rng.shuffle(purposes)
    ways, rates = list[Way](), dict[str, float]()
    for i, purpose in enumerate(purposes):
        common, own = f"source{i // 2}:read", f"{purpose}:open"
        for first, last, share in (common, "deliver", 0.6), (own, "deliver", 0.15), (own, "archive", 0.25):
            path = (first, "text:clean", "text:check", f"sink{i}:{last}")
            ways.append(Way(purpose, _named(purpose, "run" if first == common else "careful"), path, share))
        rates |= {f"sink{i}:deliver": rng.uniform(0.7, 0.98), f"{purpose}:open": rng.uniform(0.7, 0.98)}
    texts = {way.capability: f"{_PURPOSES[way.purpose][1].split('/')[0]}" for way in ways}
    return [(0.0, Phase(tuple(ways), rates, _phrases(purposes)))], texts


def _detours(rng: random.Random) -> _Made:
    """Before each call but the first one of five that do not matter is made, or none."""
    aside = [()] * 3 + [(f"aside:look{i}",) for i in range(5)]
    purposes = list(_PURPOSES)[:4]
    rng.shuffle(purposes)
    ways, rates = list[Way](), dict[str, float]()
    for i, purpose in enumerate(purposes):
        for source, share in (("east", 0.65), ("west", 0.35)):
            # Where it was read from decides how it is written down, whatever was looked at meanwhile.
            core = (f"{source}:read", "text:clean", f"{source}{i % 2}:store", f"sink{i}:deliver")
            for some in product(aside, repeat=3):
                first, *rest = core
                path = (first, *(name for detour, name in zip(some, rest, strict=True) for name in (*detour, name)))
                ways.append(Way(purpose, _named(purpose, "run"), path, share))
        rates[f"sink{i}:deliver"] = rng.uniform(0.7, 0.98)
    texts = {way.capability: _PURPOSES[way.purpose][1].split("/")[0] for way in ways}
    return [(0.0, Phase(_merged(ways), rates, _phrases(purposes)))], texts


def _merged(ways: Iterable[Way]) -> tuple[Way, ...]:
    """Ways that are the same are one, taken as often as they together."""
    shares = defaultdict[Way, float](float)
    for way in ways:
        shares[replace(way, share=0.0)] += way.share
    return tuple(replace(way, share=share) for way, share in shares.items())


def _confounded(rng: random.Random) -> _Made:
    """Each purpose is served by what is named and described after the next one."""
    purposes = list(_PURPOSES)
    rng.shuffle(purposes)
    ways, rates = list[Way](), dict[str, float]()
    for purpose, wrong in zip(purposes, purposes[1:] + purposes[:1], strict=True):
        path = (f"{wrong}:fetch", "core:join", f"{wrong}:finish")
        ways.append(Way(purpose, _named(wrong, wrong), path, rng.uniform(0.5, 1.5)))
        rates[f"{wrong}:finish"] = rng.uniform(0.6, 0.98)
    texts = {_named(purpose, purpose): " ".join(_PURPOSES[purpose]).replace("/", ", ") for purpose in purposes}
    return [(0.0, Phase(tuple(ways), rates, _phrases(purposes)))], texts


def _regimes(rng: random.Random) -> _Made:
    """Which of two servers works changes when three fifths of all runs were made."""
    purposes = list(_PURPOSES)[:4]
    ways = tuple(
        Way(purpose, _named(purpose, f"by_{server}"), (f"{server}:login", f"{server}:{purpose}"), 1.0)
        for purpose, server in product(purposes, ("east", "west"))
    )
    good, bad = rng.uniform(0.9, 0.98), rng.uniform(0.1, 0.3)
    phrases = _phrases(purposes, anything=False)
    before, after = (
        Phase(ways, {f"{server}:{purpose}": rate for server, rate in rates for purpose in purposes}, phrases)
        for rates in ((("east", good), ("west", bad)), (("east", bad), ("west", good)))
    )
    texts = {way.capability: _PURPOSES[way.purpose][1].split("/")[0] for way in ways}
    return [(0.0, before), (0.6, after)], texts


def _nested(rng: random.Random) -> _Made:
    """Parts that others are made of, and that are run by themselves, too; one that fails fails what called it."""
    parts = {"collect": ("db:query", "db:rows"), "render": ("page:fill", "page:print"), "post": ("mail:send",)}
    said = {"collect": ["collect the rows"], "render": ["render a page"], "post": ["post a message"]}
    wholes = {"report": ("collect", "render"), "invoice": ("collect", "render", "post"), "alert": ("collect", "post")}
    rates = {"db:query": 0.97, "page:print": 0.9, "mail:send": rng.uniform(0.6, 0.8)}
    ways = list[Way]()
    for part, path in parts.items():
        ways.append(Way(part, _named("parts", part), path, 0.5))
        rates[f"capability:parts:{part}"] = prod(rates.get(name, 1.0) for name in path)
    for purpose, inner in wholes.items():
        path = tuple(f"capability:parts:{part}" for part in inner)
        ways.append(Way(purpose, _named(purpose, "whole"), (*path, "log:write"), rng.uniform(0.7, 1.3)))
        ways.append(Way(purpose, _named(purpose, "by_hand"), ("db:query", "page:fill", "mail:send"), 0.3))
    texts = {way.capability: " ".join(_PURPOSES.get(way.purpose, (way.purpose, "")))[:40] for way in ways}
    return [(0.0, Phase(tuple(ways), rates, said | _phrases(wholes)))], texts


def _plain(rng: random.Random) -> _Made:
    """A chain of tools; what is wanted, what is run and what is called have nothing to do with each other."""
    tools = [f"box:tool{i}" for i in range(8)]
    steps = {tool: list(zip(rng.sample(tools, 3), (0.6, 0.3, 0.1), strict=True)) for tool in tools}
    paths = [((first,), 0.5 ** (i + 1)) for i, first in enumerate(tools[:3])]
    for _ in range(3):
        paths = [((*path, tool), share * p) for path, share in paths for tool, p in steps[path[-1]]]
    kinds = {_named("box", kind): share for kind, share in zip("abcd", (0.45, 0.3, 0.15, 0.1), strict=True)}
    ways = [Way("anything", name, path, share * of_kind) for name, of_kind in kinds.items() for path, share in paths]
    # Every run has four calls, and every call the same rate: what is foreseen of all is the best of each.
    phrases = [phrase for some in _phrases(_PURPOSES).values() for phrase in some if phrase not in _ANYTHING]
    return [(0.0, Phase(tuple(ways), dict.fromkeys(tools, 0.95), {"anything": phrases}))], dict.fromkeys(kinds, "")


WORLDS: dict[str, Callable[[random.Random], _Made]] = {
    "structured": _structured,
    "detours": _detours,
    "confounded": _confounded,
    "regimes": _regimes,
    "nested": _nested,
    "plain": _plain,
}
"""By name; each gives its phases, and what its capabilities are said to be for."""


def _shares(weighted: Iterable[tuple[str, float]]) -> dict[str, float]:
    found = defaultdict[str, float](float)
    for name, weight in weighted:
        found[name] += weight
    total = sum(found.values())
    return {name: weight / total for name, weight in found.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
