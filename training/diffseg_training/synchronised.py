"""Statistics over the whole batch, however it is spread over processes.

On CUDA torch has its own synchronised batch normalisation; this one is for the rest.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Mean(torch.autograd.Function):
    """Mean over processes, which the gradient goes back through."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        x = x.clone()
        distributed.all_reduce(x)
        return x / distributed.get_world_size()

    @staticmethod
    def backward(_: Any, *grads: Tensor) -> Tensor:
        return cast("Tensor", _Mean.apply(grads[0]))


def mean_over_processes(x: Tensor) -> Tensor:
    """Mean of `x` over processes, differentiable; `x` itself in one process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return x
    return cast("Tensor", _Mean.apply(x))


def sum_over_processes(x: Tensor) -> Tensor:
    """Sum of `x` over processes, differentiable; `x` itself where nothing is learnt.

    What is computed of it has the gradient that one process with the whole batch has,
    once the gradients of all processes are averaged.
    """
    if not torch.is_grad_enabled() or not distributed.is_available():
        return x  # on held-out cases, processes do not go in step
    if not distributed.is_initialized():
        return x
    return mean_over_processes(x) * distributed.get_world_size()


def deviation_over_processes(x: Tensor) -> Tensor:
    """Standard deviation (unbiased) of the elements of `x` in all processes.

    Differentiable, as many elements in each; of those in `x` alone where nothing is
    learnt.
    """
    x = x.float()
    if not torch.is_grad_enabled():
        return x.std()  # on held-out cases, processes do not go in step
    centred = x - mean_over_processes(x.mean())
    count = x.numel() * _processes()
    variance = mean_over_processes(centred.square().mean())
    return (variance * (count / max(1, count - 1))).sqrt()


def _processes() -> int:
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


@torch.no_grad()
def of_all_processes(x: Tensor) -> Tensor:
    """The samples (B, ...) of all processes, equally many in each; no gradient."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return x
    parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class SynchronisedBatchNorm(_BatchNorm):
    """Batch normalisation over the samples of all processes, equally many in each.

    It shares the parameters and statistics of the layer that it stands for.
    """

    def __init__(self, like: _BatchNorm) -> None:
        nn.Module.__init__(self)
        self.num_features, self.eps = like.num_features, like.eps
        self.momentum, self.affine = like.momentum, like.affine
        self.track_running_stats = like.track_running_stats
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(like, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(like, name))
        self.training = like.training

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, *S)."""
        if not self.training and self.track_running_stats:
            return super().forward(input)
        x = input.float()
        axes = (0, *range(2, x.ndim))
        shape = (1, -1, *(1,) * (x.ndim - 2))
        mean = mean_over_processes(x.mean(axes))
        centred = x - mean.view(shape)
        variance = mean_over_processes(centred.square().mean(axes))
        if self.training and self.running_mean is not None:
            self._remember(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        x = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        return x.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1.0 / float(self.num_batches_tracked)
        count *= _processes()
        unbiased = variance * (count / max(1, count - 1))
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(unbiased.to(self.running_var), share)


def synchronise_batch_norm(network: nn.Module, device: str) -> nn.Module:
    """Put synchronised layers in the place of batch normalisation, all through."""
    if device.startswith("cuda"):
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        return cast("nn.Module", convert(network))
    if isinstance(network, _BatchNorm):
        return SynchronisedBatchNorm(network)
    for name, child in list(network.named_children()):
        setattr(network, name, synchronise_batch_norm(child, device))
    return network
