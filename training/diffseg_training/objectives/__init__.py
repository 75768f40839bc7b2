"""What each method learns: one file a method, found by the method's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule
from diffseg.errors import UserError
from diffseg_training.recipe import Objective


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Training examples: `image` (B, C, *S) float32, `classes` (B, *S) int64."""

    image: Tensor
    classes: Tensor


class Loss(Protocol):
    """One step's loss and its named terms, every random number from `source`."""

    def __call__(
        self,
        network: nn.Module,
        batch: Batch,
        schedule: NoiseSchedule,
        config: Objective,
        source: torch.Generator,
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss to descend and the terms to log."""
        ...


def objective(method: str) -> Loss:
    """Loss of ``diffseg_training.objectives.<method>``; `UserError` if none."""
    name = f"diffseg_training.objectives.{method}"
    if not method.isidentifier() or find_spec(name) is None:
        raise UserError(f"method {method!r} has no objective to train with")
    return cast("Loss", import_module(name).loss)


__all__ = ["Batch", "Loss", "objective"]
