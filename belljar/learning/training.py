"""Training of the model, from runs to a checkpoint.

Batches are drawn by priority and weighed for it (`replay.py`), so that what surprised is seen more often and yet counts
for no more than it is. The newest runs are held back: when the loss on them stops falling, training stops with the best
weights so far, and on them the chance of success is calibrated, because a network that was trained until it fits is
surer than it may be. Every run it was trained on leaves with a new priority, |outcome - predicted|.

Bit for bit the same for the same seed, runs and texts: one thread, deterministic algorithms, generators of its own; and
what is global in PyTorch is put back as it was. A loss that is no number ends training with an error, never in a
checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from belljar.learning.adam import Adam
from belljar.learning.attention import tensor, unit
from belljar.learning.calibration import Platt, fitted
from belljar.learning.chances import Known, settle
from belljar.learning.checkpoint import Checkpoint, embedder_name, probed
from belljar.learning.embedding import Embedder, embed
from belljar.learning.estimates import LEAST_PRIORITY
from belljar.learning.examples import described, examples
from belljar.learning.hypergraph import build
from belljar.learning.replay import PrioritizedReplay, beta_at
from belljar.learning.runs import Run
from belljar.learning.shgat import Questions, Shape, Shgat
from belljar.learning.sumtree import Floats, Ints

__all__ = ["Step", "Trained", "Training", "train"]

# Fewer runs held back than this say nothing; then all are trained on, and nothing is calibrated.
_LEAST_HELD_BACK = 20
_MOST_HELD_BACK = 1500
# A replay may know runs that are not among those given; how often a batch is drawn anew for lack of known ones.
_DRAWS = 8
_LONGEST_GRADIENT = 1.0
_PART = 4096


@dataclass(frozen=True, slots=True)
class Training:
    """How to train."""

    seed: int = 0
    steps: int = 800
    """At most."""
    batch: int = 64
    """Runs of a step."""
    rate: float = 3e-3
    """Learning rate of Adam at its highest; it falls to a tenth in half a cosine."""
    decay: float = 0.7
    """Weight decay, a step, times the rate. Large: intents are many and short, and are soon known by heart."""
    negatives: int = 48
    """Hardest wrong answers that each right one is held against."""
    held_back: float = 0.15
    """Share of the runs, the newest, that decides when to stop and calibrates."""
    look: int = 25
    """Steps from one look at them to the next."""
    patience: int = 8
    """Looks without a better loss before training stops."""
    width: int = 64
    heads: int = 4
    layers: int = 2


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was taken."""

    number: int
    """At last it stays at `of` for a few hundred short ones: those of the head for chances."""
    of: int
    loss: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What training leaves."""

    checkpoint: Checkpoint
    losses: tuple[float, ...]
    """Of each step."""
    rows: Ints
    """Runs it was trained on, each once."""
    priorities: Floats
    """And how much is left to learn from each, in [LEAST_PRIORITY, 1]."""


def nothing(_step: Step) -> None:
    """Takes no notice of a step."""


def train(
    runs: Sequence[Run],
    texts: Mapping[str, str],
    *,
    training: Training = Training(),
    replay: PrioritizedReplay | None = None,
    embedder: Embedder = embed,
    stepped: Callable[[Step], None] = nothing,
) -> Trained:
    """Train a model on these runs, oldest first, and say what is left to learn.

    Args:
        runs: real ones, oldest first, their rows ascending.
        texts: what a capability says it is for.
        training: how.
        replay: what to draw from; the runs' own priorities if there is none. It is given the new priorities.
        embedder: turns texts into vectors.
        stepped: called after each step; what it raises ends training.

    Raises:
        ValueError: there are no runs, or none of them is in the replay.
        FloatingPointError: the loss is no number any more.
    """
    if not runs:
        raise ValueError("no runs to learn from")
    with _alone():
        return Trainer(runs, texts, training, embedder, replay).run(stepped)


@contextmanager
def _alone() -> Generator[None]:
    """One thread and deterministic algorithms, and afterwards whatever there was before."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(1)
    # The same as use_deterministic_algorithms(True), which takes two seconds to import a compiler nobody asked for.
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)


class Trainer:
    """One training: the model, what it is shown, and what is kept."""

    def __init__(
        self,
        runs: Sequence[Run],
        texts: Mapping[str, str],
        training: Training,
        embedder: Embedder,
        replay: PrioritizedReplay | None = None,
    ) -> None:
        self.training = training
        self.embedder = embedder
        self.graph = build(runs)
        self.texts = described(texts, self.graph, embedder)
        self.examples = examples(runs, self.graph, embedder)
        back = min(int(len(runs) * training.held_back), _MOST_HELD_BACK)
        self.fitted = len(runs) - (back if back >= _LEAST_HELD_BACK else 0)
        self.held_back = np.arange(self.fitted, len(runs))
        self.known_as = self.examples.rows[: self.fitted] if replay is not None else np.arange(1, self.fitted + 1)
        self.replay = _replay_of(runs[: self.fitted]) if replay is None else replay
        self.model = self._model()
        self.adam = Adam(list(self.model.parameters()), decay=training.decay, longest=_LONGEST_GRADIENT)
        self.best, self.kept, self.waited = float("inf"), self.adam.weights.clone(), 0

    def run(self, stepped: Callable[[Step], None]) -> Trained:
        losses = tuple(self._steps(stepped))
        with torch.no_grad():
            self.adam.weights.copy_(self.kept)
        known = self.known()
        chances = self.model.chances = self._model().chances
        steps, began = self.training.steps, time.perf_counter()

        def settled(loss: float) -> None:
            nonlocal began
            stepped(Step(steps, steps, loss, time.perf_counter() - began))
            began = time.perf_counter()

        settle(chances, known, self.fitted, np.random.default_rng(self.training.seed), settled)
        with torch.no_grad():
            logits = chances(known).numpy().astype(np.float64)
        rows, success = self.examples.rows, self.examples.success.astype(np.float64)
        calibration = Platt()
        if len(self.held_back):
            calibration = fitted(logits[self.fitted :], success[self.fitted :])
        left = np.abs(success - calibration.chance(logits))[: self.fitted]
        priorities = np.clip(left, LEAST_PRIORITY, 1.0)
        self.replay.update(self.known_as, priorities)
        return Trained(self.checkpoint(calibration), losses, rows[: self.fitted], priorities)

    def _model(self) -> Shgat:
        training = self.training
        shape = Shape(self.texts.shape[1], training.width, training.heads, training.layers)
        generator = torch.Generator().manual_seed(training.seed)
        return Shgat(self.graph, tensor(self.texts), shape, generator, torch.float32)

    def _steps(self, stepped: Callable[[Step], None]) -> Iterator[float]:
        training = self.training
        rng = np.random.default_rng(training.seed)
        for number in range(1, training.steps + 1):
            began = time.perf_counter()
            loss = self._step(rng, number)
            yield loss
            stepped(Step(number, training.steps, loss, time.perf_counter() - began))
            if (number % training.look == 0 or number == training.steps) and self._is_over():
                break
        if not len(self.held_back):
            self.kept = self.adam.weights.clone()

    def _step(self, rng: np.random.Generator, number: int) -> float:
        """One step, and the loss before it."""
        training = self.training
        drawn, weights, fair = self._draw(rng, beta_at(number - 1, training.steps))
        losses, missed, known = self.model.losses(self._asked(drawn), training.negatives)
        loss = (losses * weights).mean() + (missed * fair).sum()
        rate = training.rate * (0.55 + 0.45 * math.cos(math.pi * (number - 1) / training.steps))
        if not self.adam.step(loss, rate):
            raise FloatingPointError(f"a loss of {loss.item()}, and no finite way down from it: nothing was kept")
        with torch.no_grad():
            left = (known.success - self.model.chances(known).sigmoid()).abs().numpy()
        self.replay.update(self.known_as[drawn], left.astype(np.float64).clip(LEAST_PRIORITY, 1.0))
        return loss.item()

    def _draw(self, rng: np.random.Generator, beta: float) -> tuple[Ints, Tensor, Tensor]:
        """Places of the runs drawn; their importance weights; those of beta 1, which add up to 1."""
        for _ in range(_DRAWS):
            sample = self.replay.sample(self.training.batch, rng, beta=beta)
            at, known = self._places(sample.rows)
            if known.any():
                weights, fair = sample.weights[known], 1 / sample.probabilities[known]
                one, other = (tensor(each.astype(np.float32)) for each in (weights / weights.max(), fair / fair.sum()))
                return at[known], one, other
        raise ValueError("none of these runs is in the replay")

    def _places(self, rows: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Places of rows among the runs that are trained on, and which of them are there at all."""
        at = np.minimum(np.searchsorted(self.known_as, rows), self.fitted - 1)
        return at, self.known_as[at] == rows

    def _asked(self, at: Ints) -> Questions:
        some = self.examples.at(at)
        texts = some.texts[some.intents].astype(np.float32)
        of_calls = (some.capabilities, some.calls, some.contexts, some.lasts)
        arrays = (texts, *of_calls, some.signals, some.success, some.times, some.moments)
        return Questions(*map(tensor, arrays))

    def _is_over(self) -> bool:
        """Whether the runs held back have not been foretold better for a while; keeps the weights if they are now."""
        if not len(self.held_back):
            return False
        loss = self._held_back_loss()
        if loss < self.best:
            self.best, self.kept, self.waited = loss, self.adam.weights.clone(), 0
        else:
            self.waited += 1
        return self.waited >= self.training.patience

    def _held_back_loss(self) -> float:
        with torch.no_grad():
            losses, missed, _ = self.model.losses(self._asked(self.held_back), self.training.negatives)
        return float((losses + missed).mean())

    def known(self) -> Known:
        """What is known of the outcomes of all runs; by parts, because texts are wide."""
        parts = np.array_split(np.arange(len(self.examples)), 1 + len(self.examples) // _PART)
        with torch.no_grad():
            nodes = self.model.nodes()
            asked = map(self._asked, parts)
            found = [self.model.known(unit(of.texts @ self.model.text), of, nodes) for of in asked]
        return Known(*(torch.cat([getattr(each, part.name) for each in found]) for part in fields(Known)))

    def checkpoint(self, calibration: Platt) -> Checkpoint:
        with torch.no_grad():
            nodes = self.model.nodes().numpy()
            bias = self.model.leanings(tensor(self.examples.times[-1:]))[0].numpy()
        named = ((name.replace("chances.", "chance_"), each) for name, each in self.model.named_parameters())
        weights = {name: each.detach().numpy() for name, each in named if "." not in name}
        # What led to the nodes' vectors and to how they stand now.
        del weights["own"], weights["lean"]
        arrays = {
            **weights,
            "bias": bias,
            "texts": self.texts,
            "nodes": nodes,
            "counts": self.examples.counts.astype(np.float32),
            "probe": probed(self.embedder),
        }
        embedder = embedder_name(self.embedder)
        return Checkpoint(embedder, self.graph.tools, self.graph.capabilities, self.graph.calls, calibration, arrays)


def _replay_of(runs: Sequence[Run]) -> PrioritizedReplay:
    """A replay of these runs, known by their places from 1, with the priorities they came with."""
    replay = PrioritizedReplay()
    replay.add(np.arange(1, len(runs) + 1), np.array([run.priority for run in runs], np.float64))
    return replay
