"""Attention on a super-hypergraph, and what is read off it: SHGAT.

A node starts as its text, projected, plus a vector of its own that is learned. Then, layer by layer, tools tell the
capabilities around them what they are, nested capabilities tell those around them, these tell them back, and
capabilities tell their tools. Each of the four is multi-head attention along the incidences, and how often a member was
called is its weight before anything is learned. What comes out is one unit vector a node; to answer needs no more than
those and the query side, which `checkpoint.py` does in NumPy with the same arithmetic.

A query is the projected intent; for the next tool also the last call, the calls before it (attended to by the intent,
the recent ones more), and the capabilities that the intent points to. Scores are query . node, plus how well the texts
fit as they are and how common the node is. Success is foretold from counts (`examples.signals`) and vectors together.

Shapes: n nodes, t of them tools; w width; b questions; d dimensions of a text.
Attention: Velickovic et al. 2018, Bai, Zhang, Torr 2021. InfoNCE: van den Oord et al. 2018; hard negatives: Robinson et
al. 2021; push of what failed: unlikelihood, Welleck et al. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from belljar.learning.attention import Along, Layer, Parameters, unit
from belljar.learning.chances import Chances, Known
from belljar.learning.examples import STANDING
from belljar.learning.hypergraph import Hypergraph

__all__ = ["Asked", "Questions", "Shape", "Shgat", "info_nce"]

# Of a failed run: what it did is pushed down with this weight, where what succeeded is pulled up with 1.
_PUSH = 0.5
# Outcomes are noisy: with a larger part in what the vectors become, they would be learned by heart.
_OUTCOME = 0.3


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model."""

    dimensions: int
    width: int = 64
    heads: int = 4
    layers: int = 2
    hidden: int = 96
    chance_hidden: int = 32


@dataclass(frozen=True, slots=True)
class Questions:
    """A batch of b runs, as tensors; see `Examples`, of which it is a part."""

    texts: Tensor
    """Vectors of the intents; shape (b, d)."""
    capabilities: Tensor
    calls: Tensor
    contexts: Tensor
    lasts: Tensor
    signals: Tensor
    success: Tensor
    times: Tensor
    moments: Tensor


@dataclass(frozen=True, slots=True)
class Asked:
    """What b intents ask for; the same for each call of a run."""

    wanted: Tensor
    """The intent, projected; shape (b, w)."""
    capabilities: Tensor
    """Scores of the capabilities; shape (b, n - t)."""
    calls: Tensor
    """What is the same of the scores of the calls, whatever was called before; shape (b, calls)."""

    def at(self, chosen: Tensor) -> Asked:
        """Only these of the intents, in this order."""
        return Asked(self.wanted[chosen], self.capabilities[chosen], self.calls[chosen])


class Shgat(nn.Module):
    """The model of one hypergraph."""

    def __init__(
        self, graph: Hypergraph, texts: Tensor, shape: Shape, generator: torch.Generator, dtype: torch.dtype
    ) -> None:
        """`texts`: vectors of what the nodes say of themselves; shape (n, d)."""
        super().__init__()
        make = Parameters(generator, dtype)
        self.texts = texts.to(dtype)
        self.tools = len(graph.tools)
        self.calls = torch.tensor(sorted(set(graph.calls.values())), dtype=torch.int64)
        self.vertices = Along.of(graph.vertices, dtype)
        self.nested = Along.of(graph.nested, dtype)
        self.layers = nn.ModuleList(Layer(shape.width, shape.heads, make) for _ in range(shape.layers))
        width, hidden, n = shape.width, shape.hidden, len(graph)
        self.text = make(shape.dimensions, width, scale=shape.dimensions**0.5 / width**0.5)
        self.own = make(n, width, scale=0.0)
        self.bias = make(2, n, scale=0.0)  # as a capability, as a call
        self.lean = make(STANDING, 2, scale=0.0)
        self.scales = make.full(8.0, 2)  # of query . node, likewise
        self.fits = make.full(2.0, 2)  # of the texts as they are, likewise
        self.want = make(width, width)
        self.begin = make(1, width)
        self.look, self.recency = make(width, width), make.full(0.5, 1)
        self.next_linear = make(4 * width, width)
        self.next_in, self.next_bias, self.next_out = (
            make(4 * width, hidden),
            make.full(0.0, hidden),
            make(hidden, width),
        )
        self.chances = Chances(n, width, shape.chance_hidden, make)

    def nodes(self) -> Tensor:
        """Vectors of all nodes; shape (n, w), of length 1."""
        x = self.texts @ self.text + self.own
        v, e = x[: self.tools], x[self.tools :]
        for layer in self.layers:
            v, e = layer(v, e, self.vertices, self.nested)
        return unit(torch.cat([v, e]))

    def ask(self, texts: Tensor, nodes: Tensor, leaning: Tensor) -> Asked:
        """What is asked for.

        Args:
            texts: vectors of the intents; shape (b, d).
            nodes: see `nodes`.
            leaning: see `leanings`, of the moment each is asked at; shape (b, 2, n).
        """
        wanted, fits = texts @ self.text, texts @ self.texts.T
        known = slice(self.tools, None)
        learned = self.scales[0] * unit(wanted @ self.want) @ nodes[known].T
        return Asked(
            unit(wanted),
            learned + self.fits[0] * fits[:, known] + leaning[:, 0, known],
            self.fits[1] * fits[:, self.calls] + leaning[:, 1, self.calls],
        )

    def leanings(self, times: Tensor) -> Tensor:
        """How common each node is and how well it did, as capability and as call; shape (moments, 2, n)."""
        return (times @ self.lean).transpose(1, 2) + self.bias

    def call_scores(self, asked: Asked, contexts: Tensor, nodes: Tensor) -> Tensor:
        """How well each of `calls` comes next; shape (b, calls).

        Args:
            asked: see `ask`.
            contexts: nodes called before, the last first, -1 where there are no more; shape (b, CONTEXT).
            nodes: see `nodes`.
        """
        likely = asked.capabilities.softmax(1) @ nodes[self.tools :]
        before = nodes[contexts.clamp(min=0)]
        last = torch.where(contexts[:, :1] >= 0, before[:, 0], self.begin)
        inputs = torch.cat([asked.wanted, last, self._earlier(asked.wanted, before, contexts), likely], 1)
        hidden = functional.silu(inputs @ self.next_in + self.next_bias)
        query = unit(inputs @ self.next_linear + hidden @ self.next_out)
        return self.scales[1] * query @ nodes[self.calls].T + asked.calls

    def _earlier(self, wanted: Tensor, before: Tensor, contexts: Tensor) -> Tensor:
        """The calls before the last one as one vector, zeros if there are none; shape (b, w)."""
        age = torch.arange(contexts.shape[1] - 1, dtype=before.dtype)
        logits = ((wanted @ self.look)[:, None] * before[:, 1:]).sum(2) - functional.softplus(self.recency) * age
        there = contexts[:, 1:] >= 0
        share = logits.masked_fill(~there, -1e9).softmax(1) * there
        return (share[:, :, None] * before[:, 1:]).sum(1)

    def known(self, wanted: Tensor, of: Questions, nodes: Tensor) -> Known:
        """What there is to foretell success from."""
        mentioned = torch.cat([of.capabilities[:, None], of.calls], 1)
        there = (mentioned >= 0).to(nodes.dtype)[:, :, None]
        vectors = nodes[mentioned.clamp(min=0)] * there
        mean = vectors[:, 1:].sum(1) / there[:, 1:].sum(1).clamp(min=1)
        inputs = torch.cat([wanted, vectors[:, 0], mean, of.signals], 1)
        return Known(inputs, mentioned, of.success)

    def losses(self, of: Questions, negatives: int) -> tuple[Tensor, Tensor, Known]:
        """Loss of each run's capability and calls, and of its outcome, shape (b,); and what is known of it."""
        nodes = self.nodes()
        asked = self.ask(of.texts, nodes, self.leanings(of.times)[of.moments])
        loss = _where_known(asked.capabilities, of.capabilities - self.tools, of.success, negatives)
        loss = loss + self._call_losses(asked, of, nodes, negatives)
        known = self.known(asked.wanted, of, nodes)
        return loss, _OUTCOME * self.chances.missed(known), known

    def _call_losses(self, asked: Asked, of: Questions, nodes: Tensor, negatives: int) -> Tensor:
        """Of a run that succeeded, all calls are right; of one that failed, none is, and only the last is blamed."""
        position = torch.arange(of.calls.shape[1])
        told = (of.calls >= 0) & ((of.success[:, None] > 0) | (position == of.lasts[:, None]))
        run, at = told.nonzero(as_tuple=True)
        scores = self.call_scores(asked.at(run), of.contexts[run, at], nodes)
        target = torch.searchsorted(self.calls, of.calls[run, at])
        each = info_nce(scores, target, of.success[run], negatives)
        summed = torch.zeros(len(told), dtype=each.dtype).index_add(0, run, each)
        return summed / told.sum(1).clamp(min=1)


def info_nce(scores: Tensor, target: Tensor, success: Tensor, negatives: int) -> Tensor:
    """-log p of the target among itself and its hardest negatives; of what failed, -log (1 - p), weighted; shape (b,).

    Args:
        scores: of all there are; shape (b, k). The `negatives` highest wrong ones count, which is all of the softmax
            that has any weight.
        target: which one it was; shape (b,).
        success: 1 where it was right, 0 where it failed; shape (b,).
        negatives: how many wrong ones.
    """
    if scores.shape[1] < 2:
        return scores.sum(1) * 0.0
    right = scores.gather(1, target[:, None])
    wrong = scores.scatter(1, target[:, None], -torch.inf).topk(min(negatives, scores.shape[1] - 1), 1).values
    behind = wrong.logsumexp(1) - right[:, 0]
    return success * functional.softplus(behind) + _PUSH * (1 - success) * functional.softplus(-behind)


def _where_known(scores: Tensor, target: Tensor, success: Tensor, negatives: int) -> Tensor:
    """`info_nce`, and 0 for a run whose capability was left out."""
    if not scores.shape[1]:
        return torch.zeros(len(target), dtype=scores.dtype)
    return info_nce(scores, target.clamp(min=0), success, negatives) * (target >= 0)
