"""Texts as vectors, without a model: hashed words and character trigrams.

`git:release_notes` and "notes for a release" share words and most trigrams, and so point in much the same direction;
that is all this knows, and it knows it anywhere, offline and the same on every machine. Any embedder with the same
shape can stand in its place. Hashing trick: Weinberger et al. 2009; trigrams as in fastText, Bojanowski et al. 2017.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIMENSIONS", "Embedder", "embed", "words"]

DIMENSIONS = 1024
_WORD = re.compile(r"[^\W_]+")
_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_CHARS = 2000
# Words that say nothing of what is wanted; short on purpose.
_EMPTY = frozenset("a an and as at by for from in into is it me my of on or that the this to what which with".split())
_TRIGRAM_WEIGHT = 0.4

Floats = NDArray[np.float32]


class Embedder(Protocol):
    """Texts to unit vectors: float32, shape (len(texts), dimensions). A text that says nothing is a vector of zeros."""

    def __call__(self, texts: Sequence[str]) -> Floats: ...


def words(text: str) -> list[str]:
    """Lower-case words of a text or a name; `readFile` and `read_file` are two words, and empty ones are left out."""
    parted = _CASE.sub(" ", text[:_MAX_CHARS])
    return [word for word in _WORD.findall(parted.lower()) if word not in _EMPTY]


def embed(texts: Sequence[str]) -> Floats:
    """See `Embedder`. Needs no model and no state."""
    return np.stack([_vector(text[:_MAX_CHARS]) for text in texts]) if texts else np.zeros((0, DIMENSIONS), np.float32)


@lru_cache(maxsize=4096)
def _vector(text: str) -> Floats:
    vector = np.zeros(DIMENSIONS, np.float32)
    for feature, count in Counter(_features(text)).items():
        slot = crc32(feature.encode(errors="replace"))
        weight = _TRIGRAM_WEIGHT if feature[0] == "#" else 1.0
        # One bit for the sign: features that meet in a slot cancel out as often as they add up.
        vector[slot % DIMENSIONS] += weight * count**0.5 * (1.0 if slot >> 31 else -1.0)
    length = float(np.linalg.norm(vector))
    vector = vector / length if length else vector
    vector.setflags(write=False)
    return vector


def _features(text: str) -> Iterator[str]:
    for word in words(text):
        yield word
        framed = f"<{word}>"
        yield from (f"#{framed[i : i + 3]}" for i in range(len(framed) - 2))
