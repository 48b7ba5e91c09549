"""How likely a run is to succeed: the head of the model that is trained on outcomes, in PyTorch.

It sees what the rest has learned - vectors of intent, capability and calls - and what the counts said of them at the
time (`examples.signals`), and adds a number of each node's own. While the rest is trained it is trained along, to know
what surprises and so that vectors tell what fails from what succeeds. Once these are final a fresh one is trained on
them, for as long as it foretells the runs held back ever better, which is not as long as the rest takes: outcomes are
noisy, and a network learns noise by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from belljar.learning.adam import Adam
from belljar.learning.attention import Parameters
from belljar.learning.examples import SIGNALS

__all__ = ["Chances", "Known", "settle"]

_STEPS = 400
_BATCH = 256
_RATE = 3e-3
_DECAY = 0.1
_LOOK = 10
_PATIENCE = 10
# Where nothing is held back to look at.
_BLIND = 60


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of b runs."""

    inputs: Tensor
    """Intent, capability and the mean of its calls as vectors, and signals; shape (b, 3 w + SIGNALS)."""
    nodes: Tensor
    """The capability and the calls, -1 where there is none; shape (b, 1 + MAX_CALLS)."""
    success: Tensor
    """1 or 0; shape (b,)."""

    def at(self, chosen: Tensor | slice) -> Known:
        """Only these of the runs."""
        return Known(*(getattr(self, each.name)[chosen] for each in fields(self)))


class Chances(nn.Module):
    """Log odds of success, not calibrated."""

    def __init__(self, nodes: int, width: int, hidden: int, make: Parameters) -> None:
        super().__init__()
        self.health = make(nodes, 1, scale=0.0)
        self.signals = make(SIGNALS, 1, scale=0.0)
        self.inner, self.bias = make(3 * width + SIGNALS, hidden), make.full(0.0, hidden)
        self.out, self.base = make(hidden, 1, scale=0.0), make.full(0.0, 1)

    def forward(self, known: Known) -> Tensor:
        """Shape (b,)."""
        hidden = functional.silu(known.inputs @ self.inner + self.bias)
        healths = (self.health[known.nodes.clamp(min=0)] * (known.nodes >= 0)[:, :, None]).sum(1)
        return (hidden @ self.out + known.inputs[:, -SIGNALS:] @ self.signals + healths + self.base)[:, 0]

    def missed(self, known: Known) -> Tensor:
        """Cross entropy of each run; shape (b,)."""
        return functional.binary_cross_entropy_with_logits(self(known), known.success, reduction="none")


def settle(
    head: Chances, known: Known, fitted: int, rng: np.random.Generator, stepped: Callable[[float], None]
) -> None:
    """Train a fresh head on the first `fitted` runs, and leave it as it foretold the others best.

    `stepped` is called after each step with the loss before it; what it raises ends training.

    Raises:
        FloatingPointError: the loss is no number any more.
    """
    # From what is true of all alike; else what is kept may be a chance that was passed through on the way there.
    often = (known.success[:fitted].sum() + 1) / (fitted + 2)
    with torch.no_grad():
        head.base.copy_(often.logit())
    adam = Adam(list(head.parameters()), decay=_DECAY, longest=1.0)
    held_back = known.at(slice(fitted, None))
    best, kept, waited = float("inf"), adam.weights.clone(), 0
    for number in range(_STEPS if len(held_back.success) else _BLIND):
        drawn = torch.from_numpy(rng.integers(fitted, size=_BATCH))  # pyright: ignore[reportUnknownMemberType]
        loss = head.missed(known.at(drawn)).mean()
        if not adam.step(loss, _RATE):
            raise FloatingPointError(f"a loss of {loss.item()}, and no finite way down from it: nothing was kept")
        stepped(loss.item())
        if not len(held_back.success):
            kept = adam.weights
        elif number % _LOOK == 0:
            with torch.no_grad():
                later = float(head.missed(held_back).mean())
            waited = 0 if later < best else waited + 1
            if later < best:
                best, kept = later, adam.weights.clone()
            if waited >= _PATIENCE:
                break
    with torch.no_grad():
        adam.weights.copy_(kept)
