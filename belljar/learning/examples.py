"""Runs as arrays: what a model is shown of each, and nothing that came after it.

Besides nodes and texts it holds, for every run, how its capability and its calls had done *until then*, from counts
that forget: two pairs of successes and failures a node, one of the last fifty runs or so and one of the last ten. A
network of weights alone knows what was true on average; these know what is true now, and the head that foretells
success is told both. The same function makes them for training and for answering, so that the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from belljar.learning.embedding import Embedder
from belljar.learning.estimates import DECAY
from belljar.learning.hypergraph import Hypergraph
from belljar.learning.runs import Run

__all__ = [
    "CONTEXT",
    "COUNTS",
    "MAX_CALLS",
    "SIGNALS",
    "STANDING",
    "TINY",
    "Examples",
    "described",
    "examples",
    "observe",
    "signals",
]

MAX_CALLS = 12
"""Calls of a run that are foretold; a run of a thousand calls says no more than one of twelve."""
CONTEXT = 6
"""Calls that are looked back on, the last first."""
COUNTS = 4
"""Decayed successes and failures of a node, over a long while and over a short one."""
SIGNALS = 10
"""What `signals` says of a run."""
TINY = 1e-6
"""Added to squared lengths: small enough that any vector gets length 1, and one of zeros stays as it is."""

STANDING = 3
"""What `times` says of a node."""

# Moments at which it is noted how all nodes stand. A run is told of the last one before it, a sixty-fourth ago at most.
_MOMENTS = 64
# Of how much a node was used, with each run of anything.
_USED = np.array([0.995])
_KEEP = np.array([DECAY, DECAY, 0.85, 0.85])
_OUTCOME = {True: np.array([1.0, 0.0, 1.0, 0.0]), False: np.array([0.0, 1.0, 0.0, 1.0])}
_PRIOR = 2.0
# Texts that are turned into vectors at once: these are wide, and are kept in half precision.
_PART = 1024

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Halves = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Examples:
    """n runs, oldest first. Nodes are places in a `Hypergraph`, and -1 is none."""

    rows: Ints
    """Shape (n,)."""
    intents: Ints
    """Place of the intent in `texts`; shape (n,)."""
    capabilities: Ints
    """Node of the capability; shape (n,)."""
    calls: Ints
    """Nodes called, in order; shape (n, MAX_CALLS)."""
    contexts: Ints
    """Nodes called before each call, the last first; shape (n, MAX_CALLS, CONTEXT)."""
    lasts: Ints
    """Which of `calls` was the last one; -1 if that one is not among them; shape (n,)."""
    signals: Floats
    """Shape (n, SIGNALS)."""
    success: Floats
    """1 or 0; shape (n,)."""
    moments: Ints
    """Which of `times` was the last before the run; shape (n,)."""
    texts: Halves
    """Vectors of the intents, each intent once; shape (intents, dimensions)."""
    counts: Doubles
    """What is known of each node after the last run; shape (nodes, COUNTS)."""
    times: Floats
    """How each node did and how much it was used until some moments, the last of them now; see `_standing`. Shape
    (moments, nodes, STANDING)."""

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, chosen: Ints) -> Self:
        """Only these of the runs."""
        of_runs = {each.name: getattr(self, each.name)[chosen] for each in fields(self)[:9]}
        return replace(self, **of_runs)


def examples(runs: Sequence[Run], graph: Hypergraph, embedder: Embedder) -> Examples:
    """These runs, oldest first, as a model of this hypergraph sees them."""
    capability_nodes = graph.capability_nodes()
    intents = {text: i for i, text in enumerate(dict.fromkeys(run.intent for run in runs))}
    nodes = [capability_nodes.get(run.capability, -1) for run in runs]
    paths = [[graph.calls.get(call, -1) for call in run.path] for run in runs]
    counts, used = np.zeros((len(graph), COUNTS)), np.zeros((len(graph), len(_USED)))
    told = np.zeros((len(runs), SIGNALS), np.float32)
    moments = np.arange(len(runs)) * min(_MOMENTS, len(runs)) // len(runs)
    times = list[Floats]()
    for i, run in enumerate(runs):
        if moments[i] == len(times):
            times.append(_standing(counts, used))
        told[i] = signals(counts, nodes[i], paths[i])
        observe(counts, nodes[i], paths[i], run.success)
        used *= _USED
        used[[node for node in {nodes[i], *paths[i]} if node >= 0]] += run.success
    times.append(_standing(counts, used))
    calls = np.full((len(runs), MAX_CALLS), -1, np.int64)
    contexts = np.full((len(runs), MAX_CALLS, CONTEXT), -1, np.int64)
    for i, path in enumerate(paths):
        for j, node in enumerate(path[:MAX_CALLS]):
            calls[i, j], contexts[i, j] = node, _context_of(path[:j])
    return Examples(
        np.array([run.row for run in runs], np.int64),
        np.array([intents[run.intent] for run in runs], np.int64),
        np.array(nodes, np.int64),
        calls,
        contexts,
        np.array([len(path) - 1 if len(path) <= MAX_CALLS else -1 for path in paths], np.int64),
        told,
        np.array([run.success for run in runs], np.float32),
        moments,
        _vectors(list(intents), embedder),
        counts,
        np.stack(times),
    )


def _context_of(path: Sequence[int]) -> Ints:
    """The last calls of a path, the last first, -1 where there are no more; shape (CONTEXT,)."""
    context = np.full(CONTEXT, -1, np.int64)
    recent = path[::-1][:CONTEXT]
    context[: len(recent)] = recent
    return context


def observe(counts: Doubles, capability: int, path: Sequence[int], success: bool) -> None:
    """One more run of this capability and these calls; `counts` is changed in place, each node once."""
    nodes = [node for node in {capability, *path} if node >= 0]
    counts[nodes] = counts[nodes] * _KEEP + _OUTCOME[success]


def signals(counts: Doubles, capability: int, path: Sequence[int]) -> Doubles:
    """What the counts say of such a run; shape (SIGNALS,), each about 0 where nothing is known.

    Of the capability and of its calls: log odds over the long while and the short one; of the calls also how likely it
    is that all succeed, and the weakest of them; and how much evidence there is.
    """
    own, own_n = _log_odds(counts[[capability]] if capability >= 0 else counts[:0])
    called = sorted({node for node in path if node >= 0})
    theirs, theirs_n = _log_odds(counts[called])
    together = -np.log1p(np.exp(-theirs[: len(called)])).sum(axis=0)
    every = np.concatenate([own.sum(axis=0), theirs.mean(axis=0), theirs.min(axis=0), together / 2])
    return np.concatenate([every, [own_n, theirs_n]])


def _standing(counts: Doubles, used: Doubles) -> Floats:
    """Log odds of success and log of use in runs that succeeded, each long and short; shape (nodes, STANDING)."""
    odds = np.log((counts[:, 0::2] + _PRIOR / 2) / (counts[:, 1::2] + _PRIOR / 2))
    share = np.log((used + 1) / (used.mean() + 1))
    return np.concatenate([odds, share], 1).astype(np.float32)


def _log_odds(counts: Doubles) -> tuple[Doubles, float]:
    """Log odds of success, long and short, shape (nodes or 1, 2), and the log of how much there is of the scarcest."""
    if not len(counts):
        return np.zeros((1, 2)), 0.0
    successes, failures = counts[:, 0::2] + _PRIOR / 2, counts[:, 1::2] + _PRIOR / 2
    return np.log(successes / failures), float(np.log1p(counts[:, :2].sum(axis=1).min())) / 4


def described(texts: Mapping[str, str], graph: Hypergraph, embedder: Embedder) -> Halves:
    """Vectors of what each node says of itself; shape (nodes, dimensions).

    In half precision from the start: a checkpoint then holds exactly what was trained on, in half the room.
    """
    return _vectors(graph.node_texts(texts), embedder)


def _vectors(texts: Sequence[str], embedder: Embedder) -> Halves:
    parts = [embedder(texts[i : i + _PART]).astype(np.float16) for i in range(0, len(texts), _PART)]
    return np.concatenate(parts)
