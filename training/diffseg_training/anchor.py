"""Holding a network to the weights that it began with (L2-SP)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Anchor:
    """The squared distance of trained weights from where they began, as a loss.

    ``strength / 2 * sum((w - w0) ** 2)``, the penalty L2-SP of Li, Grandvalet and
    Davoine 2018 (equation 2). No module, so that neither the optimiser nor the run's
    state takes the first weights for weights to train.

    Parameters
    ----------
    network : nn.Module
        With the weights that it is to be held to; they are copied.
    strength : float
        The paper's alpha, above 0.
    """

    def __init__(self, network: nn.Module, strength: float) -> None:
        self.strength = strength
        self._first = {
            name: parameter.detach().clone()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        }

    def __call__(self, network: nn.Module) -> Tensor:
        """The penalty of a network's weights as they are now, a scalar."""
        return 0.5 * self.strength * self._squared(network)

    def distance(self, network: nn.Module) -> float:
        """Euclidean distance of the trained weights from the first ones."""
        return math.sqrt(float(self._squared(network).detach()))

    def _squared(self, network: nn.Module) -> Tensor:
        # Without a root: its gradient is infinite where training begins.
        apart = []
        for name, parameter in network.named_parameters():
            first = self._first.get(name)
            if first is None:
                continue
            if first.device != parameter.device:
                first = self._first[name] = first.to(parameter.device)
            apart.append((parameter - first).float().square().sum())
        return torch.stack(apart).sum()
