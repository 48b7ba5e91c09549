"""Checkpoints: the same answers as the model, and nothing believed of bytes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from belljar.learning import archive
from belljar.learning.calibration import Platt
from belljar.learning.checkpoint import MAX_BYTES, Checkpoint, ModelScorer, embedder_name, probed
from belljar.learning.embedding import DIMENSIONS, embed
from belljar.learning.examples import CONTEXT, signals
from belljar.learning.training import Trainer, train
from tests.learning.small_worlds import SMALL, forked, run

HISTORY = [
    *forked(60),
    run(61, "o.p.all.in", "weather and photos", ("capability:work:i", "hub:open", "capability:o.p.work.i")),
]
Arrays = dict[str, archive.Array]


@pytest.fixture(scope="module")
def blob() -> bytes:
    return train(HISTORY, {"o.p.work.i": "overdue invoices"}, training=SMALL).checkpoint.to_bytes()


def test_a_round_trip_is_exact(blob: bytes) -> None:
    """Every array, name and number; and the bytes are the same again."""
    checkpoint = Checkpoint.from_bytes(blob)
    assert checkpoint.to_bytes() == blob
    assert checkpoint.capabilities[-1] == "o.p.all.in"
    assert checkpoint.calls["capability:work:i"] == checkpoint.calls["capability:o.p.work.i"]
    assert (checkpoint.embedder, checkpoint.dimensions) == (embedder_name(embed), DIMENSIONS)


def test_a_scorer_reckons_as_the_model_does() -> None:
    """Both kinds of scores and the chance, for runs of all kinds, to 1e-4 of the module's in PyTorch."""
    trainer = Trainer(HISTORY, {"o.p.work.i": "overdue invoices"}, SMALL, embed)
    with torch.no_grad():
        moved = torch.randn(trainer.adam.weights.shape, generator=torch.Generator().manual_seed(1))
        trainer.adam.weights += 0.05 * moved
    model, graph = trainer.model, trainer.graph
    scorer = ModelScorer(trainer.checkpoint(Platt(1.3, -0.2)))
    questions = [("photos from the holiday", ()), ("", ("hub:open",)), *((r.intent, r.path[:3]) for r in HISTORY[-5:])]
    questions.append(("tests", ("hub:open", "do:a", "capability:work:i", "hub:check", *["hub:open"] * CONTEXT)))
    with torch.no_grad():
        nodes = model.nodes()
        now = model.leanings(torch.from_numpy(trainer.examples.times[-1:]))
        for intent, path in questions:
            context = [graph.calls[call] for call in path][::-1][:CONTEXT]
            asked = model.ask(torch.from_numpy(embed([intent]).copy()), nodes, now)
            padded = torch.tensor([context + [-1] * (CONTEXT - len(context))])
            of_calls = model.call_scores(asked, padded, nodes).softmax(1)[0]
            expected = {call: float(of_calls[model.calls.tolist().index(at)]) for call, at in graph.calls.items()}
            assert scorer.tools(intent, path) == pytest.approx(expected, abs=1e-4)
            own = dict(zip(graph.capabilities, asked.capabilities.softmax(1)[0].tolist(), strict=True))
            assert scorer.capabilities(intent) == pytest.approx(own, abs=1e-4)
    last = HISTORY[-1]  # counts of a checkpoint are those after the last run: let that be what the model is told
    path = [graph.calls[call] for call in last.path]
    node = graph.capability_nodes()[last.capability]
    trainer.examples.signals[-1] = signals(trainer.examples.counts.astype(np.float32).astype(float), node, path)
    with torch.no_grad():
        logits = model.chances(trainer.known()).numpy().astype(np.float64)
    assert scorer.chance(last) == pytest.approx(float(Platt(1.3, -0.2).chance(logits[-1:])[0]), abs=1e-4)


def test_knowing_nothing_is_said() -> None:
    """A checkpoint without nodes is one: no scores, and one half."""
    some = train(HISTORY[:3], {}, training=SMALL).checkpoint
    shape = {"texts": (0, DIMENSIONS), "nodes": (0, 16), "bias": (2, 0), "chance_health": (0, 1), "counts": (0, 4)}
    arrays = {
        name: array if name not in shape else array.reshape(-1)[:0].reshape(shape[name])
        for name, array in some.arrays.items()
    }
    scorer = ModelScorer(Checkpoint(some.embedder, (), (), {}, Platt(), arrays))
    assert scorer.capabilities("anything") == scorer.tools("anything", ("s:x",)) == {}
    assert scorer.chance(HISTORY[0]) == 0.5


def rewritten(blob: bytes, change: Callable[[Arrays, Any], object]) -> bytes:
    """A checkpoint with something changed in its arrays or its JSON."""
    arrays = {name: array.copy() for name, array in archive.unpack(blob, MAX_BYTES).items()}
    meta = json.loads(arrays["meta"].tobytes())
    change(arrays, meta)
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    return archive.pack(arrays)


def put(name: str, value: object) -> Callable[[Arrays, Any], object]:
    return lambda arrays, _: arrays[name].reshape(-1).__setitem__(0, value)


CHANGES: list[Callable[[Arrays, Any], object]] = [
    put("nodes", np.nan),
    put("text", np.inf),
    put("texts", -np.inf),
    put("scales", 1e30),
    put("counts", -1),
    lambda arrays, _: arrays.pop("look"),
    lambda arrays, _: arrays.update(extra=np.zeros(1, np.float32)),
    lambda arrays, _: arrays.update(nodes=arrays["nodes"][:-1]),
    lambda arrays, _: arrays.update(want=arrays["want"].astype(np.float16)),
    lambda arrays, _: arrays.update(text=arrays["text"][0]),
    lambda arrays, _: arrays.update(text=arrays["text"][:, :-1]),
    lambda arrays, _: arrays.update(probe=np.zeros(3, np.float32)),
    lambda _, meta: meta.update(format=2),
    lambda _, meta: meta.update(format="1"),
    lambda _, meta: meta.pop("tools"),
    lambda _, meta: meta["tools"].__setitem__(0, 7),
    lambda _, meta: meta["tools"].__setitem__(0, meta["tools"][1]),
    lambda _, meta: meta.update(tools="hub:open"),
    lambda _, meta: meta["capabilities"].append("another"),
    lambda _, meta: meta["nodes"].__setitem__(0, 10_000),
    lambda _, meta: meta["nodes"].__setitem__(0, -1),
    lambda _, meta: meta["nodes"].__setitem__(0, True),
    lambda _, meta: meta["nodes"].pop(),
    lambda _, meta: meta.update(calibration=[float("nan"), 0.0]),
    lambda _, meta: meta.update(calibration=[-1.0, 0.0]),
    lambda _, meta: meta.update(calibration=[1.0]),
    lambda _, meta: meta.update(embedder=None),
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_what_does_not_fit_is_refused(blob: bytes, change: Callable[[Arrays, Any], object]) -> None:
    """Numbers that are none, arrays or names missing, added, of another type or shape: ValueError, and no answer."""
    assert Checkpoint.from_bytes(rewritten(blob, lambda *_: None)).to_bytes() == blob
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract
        Checkpoint.from_bytes(rewritten(blob, change))


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as some:
        for name, data in entries:
            some.writestr(name, data)
    return out.getvalue()


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=pickled)
    return out.getvalue()


PLAIN = npy(np.zeros(3, np.float32))
HUGE = PLAIN.replace(b"(3,)", b"(3" + b"0" * 12 + b",)").replace(b" " * 12 + b"\n", b"\n")


BYTES = [
    b"",
    b"PK",
    b"\x80\x04K\x01.",
    zipped(("nodes.npy", b"")),
    zipped(("nodes.npy", PLAIN[:-1])),
    zipped(("nodes.npy", PLAIN + b"\0")),
    zipped(("nodes.npy", HUGE)),
    zipped(("nodes.npy", PLAIN.replace(b"'<f4'", b"'<f8'"))),
    zipped(("nodes.npy", PLAIN.replace(b"(3,)", b"-3  "))),
    zipped(("nodes.npy", PLAIN.replace(b"{'descr'", b"{[[[[[("))),
    zipped(("nodes.npy", npy(np.array([{}], object), pickled=True))),
    zipped(("nodes.npy", PLAIN), ("other", b"x")),
    zipped(("nodes.npy", PLAIN), method=zipfile.ZIP_LZMA),
    zipped(*((f"a{i}.npy", PLAIN) for i in range(65))),
    zipped(("meta.npy", npy(np.frombuffer(b"[" * 100_000, np.uint8)))),
    zipped(("meta.npy", npy(np.frombuffer(b"[]", np.uint8)))),
    zipped(("meta.npy", npy(np.frombuffer(b"\xff", np.uint8)))),
]


@pytest.mark.parametrize("data", BYTES, ids=range(len(BYTES)))
def test_bytes_of_anybody_are_refused(data: bytes) -> None:
    """Empty, cut short, too long, pickled, packed in another way, nested, claiming a terabyte: ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract
        Checkpoint.from_bytes(data)


def test_an_array_may_not_come_twice() -> None:
    """Else what was checked might be another than what is read."""
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zipped(("nodes.npy", PLAIN), ("nodes.npy", PLAIN))
    with pytest.raises(ValueError, match="each once"):
        archive.unpack(data, MAX_BYTES)


def test_a_bomb_is_not_unpacked() -> None:
    """128 MiB of zeros in 130 KB: refused by what it declares; where it declares little, no more than that is read."""
    bomb = zipped(("nodes.npy", bytes(128 << 20)))
    assert len(bomb) < 200_000
    with pytest.raises(ValueError, match="unpacks to more"):
        Checkpoint.from_bytes(bomb)
    entry = bomb.rindex(b"PK\x01\x02")  # the directory's size of it, uncompressed
    liar = bomb[: entry + 24] + (64).to_bytes(4, "little") + bomb[entry + 28 :]
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract
        Checkpoint.from_bytes(liar)


@pytest.mark.parametrize("seed", range(3))
def test_no_broken_byte_raises_anything_else(blob: bytes, seed: int) -> None:
    """A hundred checkpoints with a byte changed: each is refused with ValueError, or is one."""
    rng = np.random.default_rng(seed)
    small = rewritten(blob, lambda *_: None)
    for at in rng.integers(len(small), size=33):
        changed = bytearray(small)
        changed[at] ^= int(rng.integers(1, 256))
        try:
            Checkpoint.from_bytes(bytes(changed))
        except ValueError:
            pass


def test_an_embedder_is_known_by_name_and_by_what_it_says() -> None:
    """A function by where it is, an object by its `name`; and one fixed text in its vectors."""
    assert embedder_name(embed) == "belljar.learning.embedding.embed"
    assert probed(embed).shape == (DIMENSIONS,)
    assert np.linalg.norm(probed(embed)) == pytest.approx(1.0, abs=1e-5)
