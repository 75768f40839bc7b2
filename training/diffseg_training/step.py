"""What one step computes, as one module: processes that share a batch need that."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from diffseg_training.anchor import Anchor
from diffseg_training.objectives import Batch, Loss


class Step(nn.Module):
    """A network and its loss: gradients are shared where `forward` is called.

    Parameters
    ----------
    network : nn.Module
    loss : Loss
        Where it is a module, its weights are trained along.
    parts : sequence of str
        Beginnings of the names of the network's parameters that are averaged; empty:
        all.
    anchor : Anchor, optional
        Holds the network to the weights that it began with.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        parts: Sequence[str] = (),
        anchor: Anchor | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self._parts = tuple(parts) or ("",)
        self._anchor = anchor

    def forward(
        self,
        image: Tensor,
        classes: Tensor,
        sources: Sequence[torch.Generator],
        known: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Loss and terms of a batch; see `Batch`."""
        batch = Batch(image, classes, sources, known, labels)
        loss, terms = self.loss(self.network, batch)
        if self._anchor is None or not self.training:
            return loss, terms
        pull = self._anchor(self.network)
        told: dict[str, Tensor | float] = {**terms, "anchor": pull.detach()}
        return loss + pull, told

    def trained(self) -> list[nn.Parameter]:
        """Parameters of network and loss that are not frozen."""
        return [p for p in self.parameters() if p.requires_grad]

    def averaged(self) -> list[nn.Parameter]:
        """Parameters of the network that are not frozen, of the parts to average."""
        return [
            parameter
            for name, parameter in self.network.named_parameters()
            if parameter.requires_grad and name.startswith(self._parts)
        ]

    def learnt(self) -> dict[str, Tensor]:
        """The network's state but its frozen parameters, by name."""
        return _but_frozen(self.network)

    def of_loss(self) -> dict[str, Tensor]:
        """The state of the loss's own weights, by name; the network is none of it."""
        if not isinstance(self.loss, nn.Module):
            return {}
        networks = {value.data_ptr() for value in self.network.state_dict().values()}
        return {
            name: value
            for name, value in _but_frozen(self.loss).items()
            if value.data_ptr() not in networks
        }


def _but_frozen(module: nn.Module) -> dict[str, Tensor]:
    # What a module never saves (a non-persistent buffer) is not in its state.
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    return {k: v for k, v in module.state_dict().items() if k not in frozen}


def keep_float32(network: nn.Module, voxels: int) -> None:
    """Let 3D convolutions of at most so many voxels compute in float32.

    On a CPU, gradients in bf16 of small three-dimensional maps are at times NaN.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.forward = types.MethodType(  # type: ignore[method-assign]
                _guarded(type(module).forward, voxels), module
            )


def _guarded(forward: Callable[..., Any], voxels: int) -> Callable[..., Tensor]:
    def guarded(self: nn.Module, x: Tensor) -> Tensor:
        if x[0, 0].numel() > voxels:
            return cast("Tensor", forward(self, x))
        with torch.autocast(x.device.type, enabled=False):
            return cast("Tensor", forward(self, x.float()))

    return guarded
