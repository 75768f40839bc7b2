"""What is learnt: one file an objective, found by the name in the recipe.

Another package's are found by the entry points of the group ``diffseg.objectives``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.extensions import Kind, find
from diffseg_training.known import weights_of
from diffseg_training.recipe import Recipe

OBJECTIVE = Kind("objective", __name__, "make", "diffseg.objectives")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Training examples.

    Attributes
    ----------
    image : (B, C, *S) float32 Tensor
    classes : (B, *S) int64 Tensor
    sources : sequence of B torch.Generator
        Every random number that a sample meets comes from its own, so that a step
        is the same however its samples are spread over processes.
    known : (B, *S) bool Tensor, optional
        Voxels that a person reviewed; no other is to have a say in the loss, though
        its class may be shown to the network. None: all.
    labels : (B, K) int64 Tensor, optional
        Image-level labels: 0 unknown, 1 present, 2 absent. Where they are given,
        classes are empty, unless persons drew some.
    """

    image: Tensor
    classes: Tensor
    sources: Sequence[torch.Generator]
    known: Tensor | None = None
    labels: Tensor | None = None

    @property
    def weights(self) -> Tensor | None:
        """Weights (B, *S) of the voxels in the loss, mean 1; None where all are 1."""
        return None if self.known is None else weights_of(self.known)


class Loss(Protocol):
    """One step's loss and its named terms.

    It may be a `torch.nn.Module` with weights of its own: they are trained along,
    and kept with the run's state, not with the model.
    """

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss to descend, a mean over samples, and the terms to log."""
        ...


@runtime_checkable
class Scoring(Protocol):
    """A loss that scores weights on held-out examples better than by itself."""

    def scores(
        self, network: nn.Module, examples: Sequence[Any], recipe: Recipe
    ) -> Mapping[str, float]:
        """Scores of an evaluating network; `score` is what is maximised."""
        ...


def make_loss(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of the objective that the recipe names.

    Raises
    ------
    UserError
        There is no such objective, or the network or the sampling does not fit it.
    """
    name = recipe.objective.name
    make = find(OBJECTIVE, name)
    if make is None:
        raise UserError(
            f"objective {name!r} has settings, but neither a file in "
            f"{OBJECTIVE.package} nor an entry point in the group {OBJECTIVE.group}"
        )
    return cast("Loss", make(recipe, network))


__all__ = ["Batch", "Loss", "Scoring", "make_loss"]
