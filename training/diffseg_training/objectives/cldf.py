"""CLDF is a chain of several objectives; see `diffseg_training.weak.chain`."""

from __future__ import annotations

from torch import nn

from diffseg.errors import UserError
from diffseg_training.objectives import Loss
from diffseg_training.recipe import Recipe


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Refuse: there is no one loss, by a `UserError`."""
    del network
    raise UserError(
        f"recipe {recipe.name} trains a chain, stage by stage: give it to diffseg train"
    )
