"""A trained model without what trained it: the nodes' final vectors, the query side, the calibration; and its answers.

What a checkpoint must hold follows from its names and three numbers, and anything else - another array, type or shape,
a value that is not finite, a call that means no node - is a ValueError before it answers anything. The attention is not
in it: that has done its work once the vectors are final. NumPy alone: a server that only answers needs no torch.

An embedder is recorded by its name, its dimensions and its vector of one fixed text, because a model asked in the
vectors of another embedder answers nonsense, and no error would tell.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from belljar.learning import archive
from belljar.learning.archive import Array
from belljar.learning.calibration import Platt
from belljar.learning.embedding import Embedder, embed
from belljar.learning.estimates import UNKNOWN
from belljar.learning.examples import CONTEXT, COUNTS, MAX_CALLS, SIGNALS, TINY, signals
from belljar.learning.runs import Run

__all__ = ["FORMAT", "MAX_BYTES", "Checkpoint", "ModelScorer", "embedder_name", "probed"]

FORMAT = 1
MAX_BYTES = 64 << 20
"""Of all arrays: twice what 4000 nodes take whose texts have 4096 dimensions."""
_LARGEST = 60_000.0
_MAX_META = 16 << 20
_PROBE = "belljar: read what it says, write it down and send it on"

# n nodes, d dimensions of a text, w width, h and k hidden.
_SHAPES: Mapping[str, tuple[str | int, ...]] = {
    "texts": ("n", "d"),
    "nodes": ("n", "w"),
    "bias": (2, "n"),
    "chance_health": ("n", 1),
    "counts": ("n", COUNTS),
    "probe": ("d",),
    "text": ("d", "w"),
    "scales": (2,),
    "fits": (2,),
    "want": ("w", "w"),
    "begin": (1, "w"),
    "look": ("w", "w"),
    "recency": (1,),
    "next_linear": ("4w", "w"),
    "next_in": ("4w", "h"),
    "next_bias": ("h",),
    "next_out": ("h", "w"),
    "chance_signals": (SIGNALS, 1),
    "chance_inner": ("3w+", "k"),
    "chance_bias": ("k",),
    "chance_out": ("k", 1),
    "chance_base": (1,),
}

_T = TypeVar("_T")
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that can answer.

    Raises:
        ValueError: something in it does not fit the rest, or is not finite.
    """

    embedder: str
    tools: tuple[str, ...]
    capabilities: tuple[str, ...]
    calls: Mapping[str, int]
    """What a path may say, and the node it means; nodes are tools, then capabilities."""
    calibration: Platt
    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        nodes = len(self.tools) + len(self.capabilities)
        if len({*self.tools}) + len({*self.capabilities}) < nodes:
            raise ValueError("a name comes twice")
        if not all(0 <= node < nodes for node in self.calls.values()):
            raise ValueError("a call means no node")
        if not (0 < self.calibration.slope < _LARGEST and abs(self.calibration.offset) < _LARGEST):
            raise ValueError("a calibration rises, and is finite")
        _check(self.arrays, nodes)

    @property
    def dimensions(self) -> int:
        """Of the vectors of texts it was trained on."""
        return self.arrays["text"].shape[0]

    def to_bytes(self) -> bytes:
        """As `from_bytes` reads it; the same bytes for the same weights."""
        meta = {
            "format": FORMAT,
            "embedder": self.embedder,
            "tools": self.tools,
            "capabilities": self.capabilities,
            "calls": list(self.calls),
            "nodes": list(self.calls.values()),
            "calibration": [self.calibration.slope, self.calibration.offset],
        }
        packed = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        return archive.pack({"meta": packed, **{name: self.arrays[name] for name in _SHAPES}})

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: it is anything else, or was written by another version of this.
        """
        arrays = archive.unpack(data, MAX_BYTES)
        meta = _meta(arrays.pop("meta", np.empty(0, np.uint8)))
        slope, offset = _each(meta, "calibration", float)
        return cls(
            _one(meta, "embedder", str),
            tuple(_each(meta, "tools", str)),
            tuple(_each(meta, "capabilities", str)),
            dict(zip(_each(meta, "calls", str), _each(meta, "nodes", int), strict=True)),
            Platt(slope, offset),
            arrays,
        )


def embedder_name(embedder: Embedder) -> str:
    """What an embedder is known by: its `name` if it has one, else where it is defined."""
    name: object = getattr(embedder, "name", None)
    if isinstance(name, str):
        return name
    kind: Any = embedder if hasattr(embedder, "__qualname__") else type(embedder)
    return f"{kind.__module__}.{kind.__qualname__}"


def probed(embedder: Embedder) -> Floats:
    """Its vector of one fixed text; shape (dimensions,)."""
    return embedder([_PROBE])[0].astype(np.float32)


def _check(arrays: Mapping[str, Array], nodes: int) -> None:
    if set(arrays) != set(_SHAPES):
        raise ValueError("a checkpoint holds other arrays than it must")
    if arrays["text"].ndim != 2 or arrays["next_bias"].ndim != 1 or arrays["chance_bias"].ndim != 1:
        raise ValueError("a checkpoint's arrays have other shapes than they must")
    (dimensions, width), h, k = arrays["text"].shape, arrays["next_bias"].size, arrays["chance_bias"].size
    sizes = {
        "n": nodes,
        "d": dimensions,
        "w": width,
        "4w": 4 * width,
        "3w+": 3 * width + SIGNALS,
        "h": h,
        "k": k,
    }
    for name, shape in _SHAPES.items():
        array = arrays[name]
        wanted = tuple(sizes[side] if isinstance(side, str) else side for side in shape)
        if array.shape != wanted or array.dtype != (np.float16 if name == "texts" else np.float32):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, and must be {wanted}")
        # Not only finite: what is multiplied and added up here must be, too.
        if not np.all(np.abs(array) <= _LARGEST):
            raise ValueError(f"{name} holds what is no number, or too large a one")
    if np.any(arrays["counts"] < 0):
        raise ValueError("counts are not negative")


def _meta(packed: Array) -> dict[str, object]:
    if packed.dtype != np.uint8 or packed.size > _MAX_META:
        raise ValueError("a checkpoint does not say what it is")
    try:
        meta: object = json.loads(packed.tobytes())
    except RecursionError as exc:
        raise ValueError("a checkpoint's names are nested") from exc
    if not isinstance(meta, dict):
        raise ValueError("a checkpoint does not say what it is")
    named = cast("dict[str, object]", meta)
    if named.get("format") != FORMAT:
        raise ValueError(f"a checkpoint of another format than {FORMAT}: train again")
    return named


def _one(meta: Mapping[str, object], key: str, kind: type[_T]) -> _T:
    value = meta.get(key)
    if type(value) is not kind:
        raise ValueError(f"{key} is no {kind.__name__}")
    return value


def _each(meta: Mapping[str, object], key: str, kind: type[_T]) -> list[_T]:
    values = meta.get(key)
    if not isinstance(values, list) or not all(type(value) is kind for value in cast("list[object]", values)):
        raise ValueError(f"{key} is no list of {kind.__name__}")
    return cast("list[_T]", values)


class ModelScorer:
    """Answers from a checkpoint; a `Scorer`. Scores are probabilities, softmax over all that it knows."""

    name = "shgat"

    def __init__(self, checkpoint: Checkpoint, embedder: Embedder = embed) -> None:
        """Raises ValueError if the checkpoint was trained with another embedder."""
        own, asked = checkpoint.arrays["probe"], probed(embedder)
        if (
            checkpoint.embedder != embedder_name(embedder)
            or own.shape != asked.shape
            or not np.allclose(own, asked, atol=1e-3)
        ):
            raise ValueError(f"trained with another embedder, {checkpoint.embedder}: train again")
        self._embedder = embedder
        self._is = checkpoint
        self._w: Mapping[str, Floats] = {name: array.astype(np.float32) for name, array in checkpoint.arrays.items()}
        self._counts = checkpoint.arrays["counts"].astype(np.float64)
        self._tools = len(checkpoint.tools)
        self._place = {name: self._tools + i for i, name in enumerate(checkpoint.capabilities)}
        nodes = np.array(list(checkpoint.calls.values()), np.int64)
        # Two names may mean one node, which then counts once.
        self._call_nodes, self._node_of_call = np.unique(nodes, return_inverse=True)

    def capabilities(self, intent: str) -> Mapping[str, float]:
        """See `Scorer`; empty if it knows none."""
        scores = self._capability_scores(self._embedder([intent])[0])
        return dict(zip(self._is.capabilities, map(float, _softmax(scores)), strict=True))

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        """See `Scorer`; empty if it knows none."""
        if not self._is.calls:
            return {}
        likely = _softmax(self._call_scores(self._embedder([intent])[0], context))[self._node_of_call]
        return dict(zip(self._is.calls, map(float, likely), strict=True))

    def chance(self, run: Run) -> float:
        """See `Scorer`; 0.5 for a run of which it knows neither the capability nor any call."""
        capability = self._place.get(run.capability, -1)
        path = [self._is.calls.get(call, -1) for call in run.path]
        if capability < 0 and max(path, default=-1) < 0:
            return UNKNOWN
        logit = self._chance_logit(self._embedder([run.intent])[0], capability, path)
        return float(self._is.calibration.chance(np.array(logit, np.float64)))

    # The arithmetic of `shgat.Shgat`, for one question

    def _capability_scores(self, text: Floats) -> Floats:
        w, known = self._w, slice(self._tools, None)
        query = _unit(text @ w["text"] @ w["want"])
        learned = w["scales"][0] * (w["nodes"][known] @ query)
        return learned + w["fits"][0] * (w["texts"][known] @ text) + w["bias"][0, known]

    def _call_scores(self, text: Floats, context: Sequence[str]) -> Floats:
        w, nodes = self._w, self._w["nodes"]
        wanted = _unit(text @ w["text"])
        likely = _softmax(self._capability_scores(text)) @ nodes[self._tools :]
        before = self._before(context)
        last = before[0] if len(before) else w["begin"][0]
        inputs = np.concatenate([wanted, last, self._earlier(wanted, before[1:]), likely])
        query = _unit(inputs @ w["next_linear"] + _silu(inputs @ w["next_in"] + w["next_bias"]) @ w["next_out"])
        scores = w["scales"][1] * (nodes @ query) + w["fits"][1] * (w["texts"] @ text) + w["bias"][1]
        return scores[self._call_nodes]

    def _before(self, context: Sequence[str]) -> Floats:
        """Vectors of the last calls, the last first; of one that was never seen, what its name says."""
        recent = list(context[: -CONTEXT - 1 : -1])
        nodes = [self._is.calls.get(call, -1) for call in recent]
        named = _unit(self._embedder(recent) @ self._w["text"])
        return np.where(np.array(nodes)[:, None] >= 0, self._w["nodes"][nodes], named) if recent else named

    def _earlier(self, wanted: Floats, before: Floats) -> Floats:
        if not len(before):
            return np.zeros_like(wanted)
        age = np.arange(len(before), dtype=np.float32)
        logits = before @ (wanted @ self._w["look"]) - np.logaddexp(0, self._w["recency"]) * age
        return _softmax(logits) @ before

    def _chance_logit(self, text: Floats, capability: int, path: Sequence[int]) -> Floats:
        w = self._w
        told = signals(self._counts, capability, path).astype(np.float32)
        called = [node for node in path[:MAX_CALLS] if node >= 0]
        zero = np.zeros_like(w["begin"][0])
        own = w["nodes"][capability] if capability >= 0 else zero
        mean = w["nodes"][called].mean(axis=0) if called else zero
        inputs = np.concatenate([_unit(text @ w["text"]), own, mean, told])
        hidden = _silu(inputs @ w["chance_inner"] + w["chance_bias"])
        healths = w["chance_health"][[*called, *([capability] if capability >= 0 else [])]].sum(axis=0)
        return (hidden @ w["chance_out"] + told @ w["chance_signals"] + healths + w["chance_base"])[0]


# What NumPy's types do not say is that float32 with float32 stays float32; hence any float.
_Any = NDArray[np.floating[Any]]


def _unit(x: _Any) -> Floats:
    return (x / np.sqrt(np.square(x).sum(-1, keepdims=True) + TINY)).astype(np.float32)


def _silu(x: _Any) -> Floats:
    return (x / (1 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)


def _softmax(scores: _Any) -> Floats:
    raised = np.exp(scores - scores.max(initial=-np.inf))
    return (raised / raised.sum()).astype(np.float32)
