"""Texts as vectors by somebody else's model: what `--embedder MODULE:NAME` names.

`NAME` is an object with `encode(texts)`, as sentence-transformers' have, or a function of texts. It is loaded in the
server, which turns intents into vectors, and in the learner, which trains on them; what it gives is checked each time,
because an array of another shape would be noticed nowhere else. It is the operator's own code and runs unconfined, like
the server itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

import numpy as np

from belljar import show
from belljar.errors import ConfigError
from belljar.learning.embedding import Embedder, Floats, embed

__all__ = ["Foreign", "embedder_of"]

_PROBE = ("what changed in git", "")
_MOST_DIMENSIONS = 4096


class Foreign:
    """An embedder that was loaded by name."""

    def __init__(self, name: str, encode: Callable[[list[str]], Any]) -> None:
        self.name = name
        self._encode = encode
        self.dimensions = 0
        """Known from the first answer on."""

    def __call__(self, texts: Sequence[str]) -> Floats:
        """See `learning.embedding.Embedder`. Raises ValueError: it gave something else."""
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        given = np.asarray(self._encode(list(texts)))
        if given.ndim != 2 or given.shape[0] != len(texts) or given.dtype.kind != "f":
            raise ValueError(f"it gave {given.dtype} of shape {given.shape} for {len(texts)} texts")
        if not 1 <= given.shape[1] <= _MOST_DIMENSIONS or self.dimensions not in (0, given.shape[1]):
            raise ValueError(f"it gave vectors of {given.shape[1]} dimensions")
        if not np.isfinite(given).all():
            raise ValueError("it gave what is no number")
        self.dimensions = given.shape[1]
        vectors = given.astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def embedder_of(name: str | None) -> Embedder:
    """The embedder that is named; without a name ours, which needs no model.

    Raises:
        ConfigError: it cannot be loaded or is none; says which and why.
    """
    if name is None:
        return embed
    shown = f"--embedder {show.text(name, max_chars=200)}"
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigError(f"{shown}: write MODULE:NAME")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as exc:
        raise ConfigError(f"{shown}: {_said(exc)}") from exc
    encode: Any = getattr(found, "encode", found)
    if isinstance(found, type) or not callable(encode):
        raise ConfigError(f"{shown}: it has no `encode` and is no function; name an instance, not a class")
    embedder = Foreign(name, cast("Callable[[list[str]], Any]", encode))
    try:
        embedder(_PROBE)
    except Exception as exc:
        raise ConfigError(f"{shown}: {_said(exc)}") from exc
    return embedder


def _said(exc: Exception) -> str:
    return f"{type(exc).__name__}: {show.text(str(exc), max_chars=300)}"
