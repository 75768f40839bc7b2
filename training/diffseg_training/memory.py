"""What a step will take of the memory, told before the first one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffseg.diffusion import generator
from diffseg.domain.slice_labels import PRESENT
from diffseg.errors import UserError
from diffseg.segmenters.device import free_memory
from diffseg_training.machines import arithmetic
from diffseg_training.recipe import Recipe
from diffseg_training.step import Step

GB = 1e9
# Gradients in flight and scratch space of kernels, beside what a step remembers.
_IN_FLIGHT = 1.3


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a run takes: its weights, what goes with them, and one step."""

    weights: int
    training: int
    activations: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.weights + self.training + self.activations

    def __str__(self) -> str:
        return (
            f"{self.bytes / GB:.2f} GB (weights {self.weights / GB:.2f}, gradients, "
            f"moments and averages {self.training / GB:.2f}, a step's activations "
            f"{self.activations / GB:.2f})"
        )


def predict(
    step: Step,
    recipe: Recipe,
    channels: int,
    images: int,
    device: str,
    structures: int = 0,
) -> Need:
    """Predict the memory of a run from a small step's activations.

    Two images of about half the patch in each direction go through network and loss;
    what they remember for the gradient grows with the voxels.

    Parameters
    ----------
    step : Step
    recipe : Recipe
    channels : int
        Of the image.
    images : int
        That go through the network at once, in this process.
    device : str
    structures : int
        Of which image-level labels speak; 0: there are classes instead.
    """
    trained = sum(_bytes(p) for p in step.trained())
    weights = sum(_bytes(t) for t in _tensors(step))
    averaged = sum(_bytes(p) for p in step.averaged())
    patch, multiple = recipe.patch, int(getattr(step.network, "multiple", 1))
    small = tuple(max(multiple, n // 2 // multiple * multiple) for n in patch)
    shown = min(2, images)
    with _untouched(step), torch.random.fork_rng(devices=[]):
        try:
            took, part = (
                _remembered(
                    step, recipe, (shown, channels, *small), device, structures
                ),
                small,
            )
        except Exception:  # a network or loss of one fixed size
            took, part = (
                _remembered(
                    step, recipe, (shown, channels, *patch), device, structures
                ),
                patch,
            )
    grown = torch.Size(patch).numel() / torch.Size(part).numel() * images / shown
    # Gradients and two moments of all; an average and the best of what is shipped.
    return Need(weights, 3 * trained + 2 * averaged, int(took * grown * _IN_FLIGHT))


def check(need: Need, recipe: Recipe, device: str) -> None:
    """Refuse a run that does not fit; `UserError` says what to set smaller."""
    free, more = _free(device), need.training + need.activations
    if more > free:
        smaller = "a smaller patch"
        if recipe.optimiser.batch > recipe.optimiser.accumulate:
            smaller = f"a higher optimiser.accumulate, a smaller batch or {smaller}"
        raise UserError(
            f"recipe {recipe.name} needs about {need} where {free / GB:.2f} GB are "
            f"free on {device}: give {smaller}"
        )


def _remembered(
    step: Step,
    recipe: Recipe,
    shape: tuple[int, ...],
    device: str,
    structures: int = 0,
) -> int:
    """Bytes that a step keeps for its gradient, apart from the weights."""
    weights = {t.data_ptr() for t in _tensors(step)}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    image = torch.zeros(shape, device=device)
    classes = torch.zeros((shape[0], *shape[2:]), dtype=torch.int64, device=device)
    labels = None
    if structures:
        classes = classes[:, :0, :0].flatten(1)
        labels = classes.new_full((shape[0], structures), PRESENT)
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(
        arithmetic(recipe.optimiser.precision, device)
    )
    step.train()
    with (
        torch.autocast(device.split(":")[0], dtype=kind, enabled=kind is not None),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        # Kept alive to its end, so that no memory is counted twice or not at all.
        sources = [generator(0, i) for i in range(shape[0])]
        answer = step(image, classes, sources, None, labels)
    del answer
    return sum(kept.values())


@contextlib.contextmanager
def _untouched(step: nn.Module) -> Iterator[None]:
    """Leave no trace in statistics that layers keep of what they saw."""
    before = [(buffer, buffer.detach().clone()) for buffer in step.buffers()]
    mode = step.training
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
        step.train(mode)


def _tensors(module: nn.Module) -> Iterator[Any]:
    yield from module.parameters()
    yield from module.buffers()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _free(device: str) -> int:
    """Memory that can still be had, within what a container may use."""
    free = free_memory(device.split(":")[0])
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        if not device.startswith("cuda"):
            most = int((group / "memory.max").read_text())
            free = min(free, most - int((group / "memory.current").read_text()))
    return free
