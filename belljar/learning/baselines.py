"""What a trained model must beat to be used: four scorers that are simple, quick, and hard to be ashamed of.

    popularity   what is run most; the rate at which everything succeeds
    markov1      what most often came after the last call; how runs with that last call end
    semantic     what is called, described and was last run for, in words like those of the intent
    counts       what a server answers without a model: words times estimated success, beginnings of paths

Each is fitted from runs alone, oldest first, and from what capabilities are said to be for. `Counts` is the server's
own arithmetic - `things`, `estimates`, `suggest` - over a memory that is a dict; a test holds the two against each
other. One thing it cannot know: a run does not say whose key sent it, so all evidence is of one key.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from belljar.learning.embedding import Embedder, Floats, embed
from belljar.learning.estimates import MAX_PATH, NOTHING, Evidence, estimate, foreseen, priority_of, td_error
from belljar.learning.runs import Run, Scorer
from belljar.learning.suggest import MAX_CANDIDATES, Candidate, Next, next_tools, rank, wording
from belljar.learning.things import Thing, path_id, shape

__all__ = ["BASELINES", "Counts", "Fit", "Markov1", "Popularity", "Semantic", "as_arrived"]

_Counted = defaultdict[str, float]
# A tool that never came after this one: below all that did, and above none at all.
_ELSEWHERE = 1e-3


@dataclass(frozen=True, slots=True)
class _Rates:
    """How often what succeeded, each thing alike however long ago; drawn towards the rate of all runs."""

    all: Evidence
    each: Mapping[str, Evidence]

    @classmethod
    def of(cls, named: Sequence[tuple[str, bool]]) -> _Rates:
        ran, good = Counter(name for name, _ in named), Counter(name for name, success in named if success)
        each = {name: Evidence(good[name], n - good[name]) for name, n in ran.items()}
        return cls(Evidence(good.total(), ran.total() - good.total()), each)

    def __call__(self, name: str) -> float:
        return self.each.get(name, NOTHING).mean(self.all.mean())


@dataclass(frozen=True, slots=True)
class Popularity:
    """Knows no intent and no path."""

    runs: Mapping[str, float]
    calls: Mapping[str, float]
    rate: float
    name: str = "popularity"

    @classmethod
    def fit(cls, runs: Sequence[Run], texts: Mapping[str, str]) -> Popularity:
        """From those that succeeded; the rate from all."""
        ran, called = _Counted(float), _Counted(float)
        for run in runs:
            if run.success:
                ran[run.capability] += 1
                for name in run.path[:MAX_PATH]:
                    called[name] += 1
        good = sum(run.success for run in runs)
        return cls(dict(ran), dict(called), Evidence(good, len(runs) - good).mean())

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return self.runs

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        return self.calls

    def chance(self, run: Run) -> float:
        return self.rate


@dataclass(frozen=True, slots=True)
class Markov1:
    """Knows the last call alone."""

    popular: Popularity
    after: Mapping[str, Mapping[str, float]]
    """Last tool -> next tool -> share; "" is the beginning."""
    rates: _Rates
    name: str = "markov1"

    @classmethod
    def fit(cls, runs: Sequence[Run], texts: Mapping[str, str]) -> Markov1:
        """From those that succeeded; the rates from all."""
        counted = defaultdict[str, _Counted](lambda: _Counted(float))
        for run in runs:
            path = run.path[:MAX_PATH] if run.success else ()
            for last, name in zip(("", *path), path, strict=False):
                counted[last][name] += 1
        after = {last: _shares(nexts) for last, nexts in counted.items()}
        rates = _Rates.of([(_last(run.path[:MAX_PATH]), run.success) for run in runs])
        return cls(Popularity.fit(runs, texts), after, rates)

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return self.popular.runs

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        elsewhere = {name: _ELSEWHERE * share for name, share in _shares(self.popular.calls).items()}
        return elsewhere | dict(self.after.get(_last(context), {}))

    def chance(self, run: Run) -> float:
        return self.rates(_last(run.path[:MAX_PATH]))


@dataclass(frozen=True, slots=True)
class Semantic:
    """Knows words alone: of an intent, and of what there is to run."""

    names: Sequence[str]
    vectors: Floats
    """Of the capabilities, shape (names, dimensions)."""
    calls: Sequence[str]
    call_vectors: Floats
    rates: _Rates
    embedder: Embedder = embed
    name: str = "semantic"

    @classmethod
    def fit(cls, runs: Sequence[Run], texts: Mapping[str, str], *, embedder: Embedder = embed) -> Semantic:
        """From what was run, well or not."""
        worded = _worded(runs, texts)
        calls = sorted({name for run in runs for name in run.path[:MAX_PATH]})
        rates = _Rates.of([(run.capability, run.success) for run in runs])
        return cls(list(worded), embedder(list(worded.values())), calls, embedder(calls), rates, embedder)

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return self._fits(intent, self.names, self.vectors)

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        return self._fits(intent, self.calls, self.call_vectors)

    def chance(self, run: Run) -> float:
        return self.rates(run.capability)

    def _fits(self, intent: str, names: Sequence[str], vectors: Floats) -> Mapping[str, float]:
        return dict(zip(names, map(float, vectors @ self.embedder([intent])[0]), strict=True))


@dataclass(slots=True)
class _Known:
    evidence: Evidence = NOTHING
    n: int = 0

    @property
    def chance(self) -> float:
        return estimate([self.evidence])


_Memory = defaultdict[Thing, _Known]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server answers from what it counted."""

    known: Mapping[Thing, _Known]
    worded: Mapping[str, str]
    after: Mapping[tuple[str, str], Sequence[Thing]]
    """(kind, parent) -> what came next."""
    candidates: Sequence[Candidate]
    embedder: Embedder = embed
    name: str = "counts"

    @classmethod
    def fit(cls, runs: Sequence[Run], texts: Mapping[str, str], *, embedder: Embedder = embed) -> Counts:
        """From all runs, in their order."""
        known = _Memory(_Known)
        for run in runs:
            _observe(known, run)
        after = defaultdict[tuple[str, str], list[Thing]](list)
        for thing in known:
            if thing.parent is not None:
                after[thing.kind, thing.parent].append(thing)
        worded = _worded(runs, texts)
        used = sorted(worded, key=lambda name: -known[Thing("capability", name)].n)[:MAX_CANDIDATES]
        candidates = [Candidate(name, worded[name], known[Thing("capability", name)].chance) for name in used]
        return cls(dict(known), worded, dict(after), candidates, embedder)

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return {each.name: each.score for each in rank(self.candidates, intent, embedder=self.embedder)}

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        # No beginning is longer than MAX_PATH: nothing is found after one that is.
        after_path = self._nexts("path", path_id(context))
        after_last = self._nexts("pair", context[-1]) if context else []
        return {each.name: each.score for each in next_tools(after_path, after_last)}

    def chance(self, run: Run) -> float:
        return _chance(self.known, run)

    def _nexts(self, kind: str, parent: str) -> list[Next]:
        found = ((thing, self.known[thing]) for thing in self.after.get((kind, parent), ()))
        return [Next(thing.tool or "", seen.n, seen.chance) for thing, seen in found]


Fit = Callable[[Sequence[Run], Mapping[str, str]], Scorer]
"""Runs, oldest first, and what each capability is said to be for -> a scorer that knows no more than them."""

BASELINES: tuple[Fit, ...] = (Counts.fit, Semantic.fit, Markov1.fit, Popularity.fit)
"""What the server uses stands first: of two that do equally well it is the one."""


def as_arrived(runs: Iterable[Run]) -> Iterator[Run]:
    """With what a server would have foreseen of each when it came, after those before it; and so its priority."""
    known = _Memory(_Known)
    for run in runs:
        predicted = _chance(known, run)
        yield replace(run, foreseen=predicted, priority=priority_of(td_error(run.success, predicted)))
        _observe(known, run)


def _observe(known: _Memory, run: Run) -> None:
    for thing in shape(run.capability, run.path).things:
        seen = known[thing]
        seen.evidence, seen.n = seen.evidence.then(run.success), seen.n + 1


def _chance(known: Mapping[Thing, _Known], run: Run) -> float:
    def of(thing: Thing) -> Sequence[Evidence]:
        return [known[thing].evidence] if thing in known else []

    found = shape(run.capability, run.path)
    return foreseen([(of(beginning), of(tool)) for beginning, tool in found.steps], of(found.capability))


def _worded(runs: Sequence[Run], texts: Mapping[str, str]) -> dict[str, str]:
    """What is known of what each capability is for, of those that were run."""
    last = {run.capability: run.intent for run in runs}
    return {name: wording(name, texts.get(name, ""), intent) for name, intent in last.items()}


def _shares(counted: Mapping[str, float]) -> dict[str, float]:
    total = sum(counted.values())
    return {name: count / total for name, count in counted.items()}


def _last(path: Sequence[str]) -> str:
    return path[-1] if path else ""
