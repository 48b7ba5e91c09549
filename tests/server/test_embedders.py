"""Somebody else's embedder: loaded by name, checked, and told apart from others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from belljar.errors import ConfigError
from belljar.learning.embedding import embed
from belljar.server.embedders import embedder_of

_MODULE = '''
import numpy as np

class Model:
    """As sentence-transformers' are."""
    def encode(self, texts):
        return np.array([[len(text), 3.0, 0.0] for text in texts], dtype=np.float64)

model = Model()

def function(texts):
    return np.ones((len(texts), 4), dtype=np.float32)

def flat(texts):
    return np.ones(len(texts))

def whole(texts):
    return np.ones((len(texts), 4), dtype=np.int64)

def infinite(texts):
    return np.full((len(texts), 4), np.inf)

def few(texts):
    return np.ones((1, 4))

def huge(texts):
    return np.ones((len(texts), 100_000))

def raises(texts):
    raise RuntimeError("no \\x1b[31mmodel")

sizes = iter(range(2, 100))

def growing(texts):
    return np.ones((len(texts), next(sizes)))
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"embedder_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_ours_without_a_name() -> None:
    assert embedder_of(None) is embed


@pytest.mark.parametrize(("attribute", "dimensions"), [("model", 3), ("function", 4)])
def test_an_object_or_a_function(module: str, attribute: str, dimensions: int) -> None:
    """Unit vectors of float32, whatever it gives; known by the name it was asked by."""
    embedder = embedder_of(f"{module}:{attribute}")
    vectors = embedder(["four", ""])
    assert (vectors.dtype, vectors.shape) == (np.float32, (2, dimensions))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert embedder([]).shape == (0, dimensions)
    assert embedder.name == f"{module}:{attribute}"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MODULE", "write MODULE:NAME"),
        ("MODULE:", "write MODULE:NAME"),
        ("no_such_module_at_all:x", "ModuleNotFoundError"),
        ("MODULE:nothing", "AttributeError"),
        ("MODULE:Model", "not a class"),
        ("MODULE:np", "no `encode`"),
        ("MODULE:flat", "shape"),
        ("MODULE:whole", "int64"),
        ("MODULE:infinite", "no number"),
        ("MODULE:few", "shape"),
        ("MODULE:huge", "100000 dimensions"),
        ("MODULE:raises", r"no \\x1b\[31mmodel"),
    ],
)
def test_what_is_none(module: str, name: str, said: str) -> None:
    """It is said at the start what is wrong, in one line that no terminal minds."""
    with pytest.raises(ConfigError, match=said) as caught:
        embedder_of(name.replace("MODULE", module))
    assert "\x1b" not in caught.value.message


def test_one_that_changes_its_mind(module: str) -> None:
    """Vectors of another length than before are no vectors."""
    embedder = embedder_of(f"{module}:growing")
    with pytest.raises(ValueError, match="dimensions"):
        embedder(["a"])
