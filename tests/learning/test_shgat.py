"""The model itself: gradients, where messages go, and that names of places mean nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from belljar.learning.attention import Attention, Layer, Parameters
from belljar.learning.embedding import embed
from belljar.learning.examples import described, examples
from belljar.learning.hypergraph import Hypergraph, Incidences, build
from belljar.learning.shgat import Questions, Shape, Shgat, info_nce
from tests.learning.small_worlds import run

DOUBLE = torch.float64
# `day` runs `notes`, `week` runs `day`; `mail` stands alone.
HISTORY = [
    run(1, "o.p.git.notes", "notes for a release", ("git:log", "git:tag")),
    run(2, "o.p.day.report", "what happened today", ("cal:list", "capability:git:notes")),
    run(3, "o.p.week.report", "what happened this week", ("capability:day:report", "doc:write")),
    run(4, "o.p.mail.send", "send a letter", ("mail:find", "mail:send")),
    run(5, "o.p.mail.send", "send a letter", ("mail:find",), success=False),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(graph: Hypergraph, texts: np.ndarray, layers: int = 2) -> Shgat:
    shape = Shape(texts.shape[1], width=8, heads=2, layers=layers, hidden=6)
    return Shgat(graph, torch.from_numpy(texts), shape, torch.Generator().manual_seed(1), DOUBLE)


def narrow(graph: Hypergraph) -> np.ndarray:
    """Ten dimensions a text, so that finite differences of all of them are quick."""
    return described({}, graph, embed)[:, :10] + np.float16(0.1)


def questions(graph: Hypergraph) -> Questions:
    some = examples(HISTORY, graph, embed)
    texts = some.texts[some.intents][:, :10].astype(np.float64)
    arrays = (texts, some.capabilities, some.calls, some.contexts, some.lasts, some.signals.astype(np.float64))
    seen = some.success.astype(np.float64), some.times.astype(np.float64), some.moments
    return Questions(*map(torch.from_numpy, (*arrays, *seen)))


@pytest.mark.parametrize("which", ["to_edges", "up", "down", "to_vertices"])
def test_gradients_of_each_direction_are_right(which: str) -> None:
    """Finite differences in double precision, of what looks, what is looked at, and all weights of the attention."""
    attention: Attention = getattr(Layer(4, 2, Parameters(torch.Generator().manual_seed(2), DOUBLE)), which)
    at, to = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([1, 3, 0, 1, 2])
    prior = torch.tensor([0.0, 1.0, 0.5, 0.0, 2.0], dtype=DOUBLE)
    of, on = (
        torch.randn(n, 4, generator=torch.Generator().manual_seed(n), dtype=DOUBLE).requires_grad_() for n in (3, 4)
    )

    def looked(*_weights: Tensor) -> Tensor:
        return attention(of, on, at, to, prior)

    assert torch.autograd.gradcheck(looked, (of, on, *attention.parameters()))


def test_gradients_of_the_whole_loss_are_right() -> None:
    """Through both layers, both questions and the chance, to every parameter: finite differences along random ways."""
    graph = build(HISTORY)
    model, asked = model_of(graph, narrow(graph)), questions(graph)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for each in model.parameters():
            each += 0.1 * torch.randn(each.shape, generator=generator, dtype=DOUBLE)

    def loss(*_weights: Tensor) -> Tensor:
        losses, missed, _ = model.losses(asked, negatives=100)
        return (losses + missed).sum()

    assert torch.autograd.gradcheck(loss, tuple(model.parameters()), fast_mode=True)


def moved(graph: Hypergraph, name: str, layers: int) -> set[str]:
    """Nodes whose vectors change when the text of one does."""
    texts = described({}, graph, embed)
    other = texts.copy()
    names = [*graph.tools, *graph.capabilities]
    other[names.index(name)] = -texts[names.index(name)]
    before, after = (model_of(graph, each, layers).nodes().detach().numpy() for each in (texts, other))
    return {name for name, a, b in zip(names, before, after, strict=True) if not np.array_equal(a, b)}


def test_messages_go_where_calls_go_and_nowhere_else() -> None:
    """A tool's text reaches its capability, those around it, and their tools, as far as layers carry; no stranger."""
    graph = build(HISTORY)
    once = {"git:log", "git:tag", "o.p.git.notes", "o.p.day.report", "cal:list"}
    assert moved(graph, "git:log", 1) == once
    assert moved(graph, "git:log", 2) == once | {"o.p.week.report", "doc:write"}
    assert moved(graph, "doc:write", 1) == {"doc:write", "o.p.week.report", "o.p.day.report", "cal:list"}
    assert moved(graph, "mail:find", 2) == {"mail:find", "mail:send", "o.p.mail.send"}


def test_nesting_in_circles_ends() -> None:
    """a runs b and b runs a: vectors are finite, and each has heard of the other."""
    graph = build([run(1, "o.p.n.a", "", ("s:x", "capability:n:b")), run(2, "o.p.n.b", "", ("capability:n:a",))])
    assert np.isfinite(model_of(graph, described({}, graph, embed)).nodes().detach().numpy()).all()
    assert moved(graph, "s:x", 1) == {"s:x", "o.p.n.a", "o.p.n.b"}


def shuffled(some: Incidences, around: np.ndarray, members: np.ndarray, order: np.ndarray) -> Incidences:
    return Incidences(around[some.around][order], members[some.members][order], some.runs[order])


def test_order_of_nodes_changes_nothing() -> None:
    """The same nodes in another order, with their weights: the same scores, each at its node's new place."""
    graph = build(HISTORY)
    rng = np.random.default_rng(0)
    tools, capabilities = rng.permutation(len(graph.tools)), rng.permutation(len(graph.capabilities))
    old = np.concatenate([tools, len(tools) + capabilities])  # what is at each new place
    new_tools, new_capabilities = np.argsort(tools), np.argsort(capabilities)
    at = np.argsort(old)
    other = Hypergraph(
        tuple(graph.tools[i] for i in tools),
        tuple(graph.capabilities[i] for i in capabilities),
        {call: int(at[node]) for call, node in graph.calls.items()},
        shuffled(graph.vertices, new_capabilities, new_tools, rng.permutation(len(graph.vertices.around))),
        shuffled(graph.nested, new_capabilities, new_capabilities, rng.permutation(len(graph.nested.around))),
        graph.left_out,
    )
    texts = narrow(graph)
    one, two = model_of(graph, texts), model_of(other, texts[old])
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for mine, theirs in ((one.own, two.own), (one.chances.health, two.chances.health)):
            mine.copy_(torch.randn(mine.shape, generator=generator, dtype=DOUBLE))
            theirs.copy_(mine[old])
        losses, missed, _ = one.losses(questions(graph), 3)
        others, other_missed, _ = two.losses(questions(other), 3)
    assert torch.allclose(losses, others, atol=1e-12)
    assert torch.allclose(missed, other_missed, atol=1e-12)


def test_info_nce_pulls_what_succeeded_and_pushes_what_failed() -> None:
    """F46: -log p of a success falls as its score rises, and the loss of a failure rises; only the hardest count."""
    scores = torch.tensor([[1.0, 3.0, -9.0, 2.0]], dtype=DOUBLE, requires_grad=True)
    target = torch.tensor([0])
    slopes = list[torch.Tensor]()
    for outcome in (1.0, 0.0):
        loss = info_nce(scores, target, torch.tensor([outcome], dtype=DOUBLE), 2).sum()
        slopes += torch.autograd.grad(loss, scores)
    pull, push = (slope[0].numpy() for slope in slopes)
    assert pull[0] < 0 < push[0]
    assert pull[1] > pull[3] > 0
    assert pull[2] == push[2] == 0
    exact = info_nce(scores, target, torch.ones(1, dtype=DOUBLE), 3)
    assert torch.allclose(exact, -scores.log_softmax(1)[:, 0])
