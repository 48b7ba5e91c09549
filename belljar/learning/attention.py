"""Multi-head attention along incidences: the part of the model that passes messages, in PyTorch.

Incidences are lists of pairs, not a matrix of who might be incident with whom, so that a layer costs what there is: a
softmax runs over the pairs of one node, however many it has, and a node without any is left as it is. Velickovic et al.
2018; hyperedges: Bai, Zhang, Torr 2021. Everything sums in a fixed order, and so comes out bit for bit the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from belljar.learning.examples import TINY
from belljar.learning.hypergraph import Incidences

__all__ = ["Along", "Attention", "Layer", "Parameters", "tensor", "unit"]


class Parameters:
    """Makes parameters from a generator of its own: the global one is nobody's to move."""

    def __init__(self, generator: torch.Generator, dtype: torch.dtype) -> None:
        self.generator = generator
        self.dtype = dtype

    def __call__(self, rows: int, columns: int, *, scale: float = 1.0) -> nn.Parameter:
        """Normal, with a variance of scale^2 / rows."""
        drawn = torch.randn(rows, columns, generator=self.generator, dtype=self.dtype)
        return nn.Parameter(drawn * (scale / max(1, rows) ** 0.5))

    def full(self, value: float, size: int) -> nn.Parameter:
        """The same value everywhere."""
        return nn.Parameter(torch.full((size,), value, dtype=self.dtype))


@dataclass(frozen=True, slots=True)
class Along:
    """Incidences, as tensors; `prior` is the log of how many runs."""

    around: Tensor
    members: Tensor
    prior: Tensor

    @classmethod
    def of(cls, incidences: Incidences, dtype: torch.dtype) -> Along:
        """These incidences."""
        return cls(tensor(incidences.around), tensor(incidences.members), tensor(incidences.runs).to(dtype).log())


class Attention(nn.Module):
    """Some nodes look at those they are incident with, and add what they see to what they are."""

    def __init__(self, width: int, heads: int, make: Parameters) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (make(width, width) for _ in range(3))
        self.out = make(width, width)

    def forward(self, of: Tensor, on: Tensor, at: Tensor, to: Tensor, prior: Tensor) -> Tensor:
        """`of` after looking.

        Args:
            of: those who look; shape (m, w).
            on: those who are looked at; shape (k, w).
            at: for each incidence who looks; shape (i,).
            to: and at whom; shape (i,).
            prior: log of its weight before anything is learned; shape (i,).
        """
        heads, size = self.heads, of.shape[1] // self.heads
        query = (of @ self.query).view(-1, heads, size)[at]
        key = (on @ self.key).view(-1, heads, size)[to]
        value = (on @ self.value).view(-1, heads, size)[to]
        logits = (query * key).sum(2) / size**0.5 + prior[:, None]
        share = _softmax_by(logits, at, len(of))
        seen = torch.zeros(len(of), heads, size, dtype=of.dtype).index_add(0, at, share[:, :, None] * value)
        return of + seen.flatten(1) @ self.out


class Layer(nn.Module):
    """One round of telling: up from tools, up and down the nesting, down to tools."""

    def __init__(self, width: int, heads: int, make: Parameters) -> None:
        super().__init__()
        self.to_edges, self.up, self.down, self.to_vertices = (Attention(width, heads, make) for _ in range(4))

    def forward(self, v: Tensor, e: Tensor, vertices: Along, nested: Along) -> tuple[Tensor, Tensor]:
        e = self.to_edges(e, v, vertices.around, vertices.members, vertices.prior)
        e = self.up(e, e, nested.around, nested.members, nested.prior)
        e = self.down(e, e, nested.members, nested.around, nested.prior)
        return self.to_vertices(v, e, vertices.members, vertices.around, vertices.prior), e


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1 in the same directions; one of zeros stays one."""
    return x * (x.square().sum(-1, keepdim=True) + TINY).rsqrt()


def _softmax_by(logits: Tensor, group: Tensor, groups: int) -> Tensor:
    """Softmax over those of the same group, head by head; shape of `logits`, (i, heads)."""
    spread = group[:, None].expand_as(logits)
    floor = torch.full((groups, logits.shape[1]), -torch.inf, dtype=logits.dtype)
    highest = floor.scatter_reduce(0, spread, logits.detach(), "amax")
    raised = (logits - highest[group]).exp()
    total = torch.zeros_like(floor).index_add(0, group, raised)
    return raised / total[group]


def tensor(array: NDArray[Any]) -> Tensor:
    """An array as a tensor of the same type, sharing its memory where it may be written to."""
    return torch.from_numpy(np.require(array, requirements="W"))  # pyright: ignore[reportUnknownMemberType]
