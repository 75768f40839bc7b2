"""Slices of val that weights are scored on, in batches, always the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffseg.domain.slice_labels import UNKNOWN
from diffseg_training.evenly import evenly
from diffseg_training.labelled import LabelledExample, centred
from diffseg_training.recipe import Recipe

_BATCH = 16
_MOST = 200  # slices, where the recipe does not say


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """A batch of labelled slices.

    `image` is (B, C, Y, X) float32, `states` (B, K) int64; `first` is the first one's
    place among all. `classes` (B, Y, X) int64 is what persons drew, marked where nobody
    reviewed; None where examples come without.
    """

    image: Tensor
    states: Tensor
    first: int
    classes: Tensor | None = None


def batches(
    examples: Sequence[LabelledExample], recipe: Recipe, device: torch.device
) -> Iterator[Slices]:
    """At most ``length.validation_cases`` slices of which something is known, evenly.

    Without a number in the recipe, 200.
    """
    places = [
        (example, plane)
        for example in examples
        for plane in np.flatnonzero((example.labels.states != UNKNOWN).any(axis=1))
    ]
    chosen = evenly(places, recipe.length.validation_cases or _MOST)
    for first in range(0, len(chosen), _BATCH):
        some = chosen[first : first + _BATCH]
        shown = [one.plane(int(z)) for one, z in some]
        image = torch.stack([centred(image, recipe.patch) for image, _ in shown])
        states = torch.stack([states for _, states in shown])
        drawn = [
            centred(one.classes[None, int(z)], recipe.patch)[0].long()
            for one, z in some
            if one.classes is not None
        ]
        classes = torch.stack(drawn).to(device) if drawn else None
        yield Slices(image.to(device), states.to(device), first, classes)
