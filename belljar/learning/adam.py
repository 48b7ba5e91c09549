"""Adam with decoupled weight decay, on all parameters as one vector.

PyTorch's own brings its compiler along, which takes seconds to import, and steps through
parameters one at a time. Here they are views of one vector, so that a step is a few operations, its gradient has one
length, and weights are kept and put back with a copy. Kingma & Ba 2015; Loshchilov & Hutter 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Adam"]

_FIRST, _SECOND = 0.9, 0.99
_TINY = 1e-8


class Adam:
    """Moves parameters against their gradient. Takes their storage over: they become views of `weights`."""

    def __init__(self, parameters: Sequence[nn.Parameter], *, decay: float, longest: float) -> None:
        """`decay`: of the weights, a step, times the rate. `longest`: a longer gradient is shortened to it."""
        self.parameters = list(parameters)
        self.decay = decay
        self.longest = longest
        self.weights = torch.cat([each.detach().flatten() for each in self.parameters])
        self.mean, self.square = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.steps = 0
        at = 0
        for each in self.parameters:
            each.data = self.weights[at : at + each.numel()].view_as(each)
            at += each.numel()

    def step(self, loss: Tensor, rate: float) -> bool:
        """One step against the gradient of a loss; False, and nothing moved, if that is not finite."""
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
        gradient = torch.cat([each.flatten() for each in gradients])
        length = float(gradient.square().sum().sqrt())
        if not length < float("inf"):
            return False
        gradient *= min(1.0, self.longest / (length + _TINY))
        self.steps += 1
        self.mean.lerp_(gradient, 1 - _FIRST)
        self.square.lerp_(gradient.square(), 1 - _SECOND)
        mean, square = self.mean / (1 - _FIRST**self.steps), self.square / (1 - _SECOND**self.steps)
        self.weights -= rate * (mean / (square.sqrt() + _TINY) + self.decay * self.weights)
        return True
