"""Which case, which slice and which part of it each example of a run shows.

Everything follows from the seed and the example's position in the run, so that
examples can be made ahead, in any order, by any thread or process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import generator
from diffseg.errors import UserError
from diffseg_training.augment import example
from diffseg_training.recipe import Recipe
from diffseg_training.training_set import AnyExample, Places

# Random keys of one run never meet those of another use of the same seed.
STEP_KEY, EXAMPLE_KEY, VALIDATION_KEY, CHANCE_KEY = 1, 2, 3, 4


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A changed example: `image` (C, *patch) float32, `classes` (*patch) int64.

    With image-level labels (K,) int64, states of `diffseg.domain.slice_labels`, there
    are no classes, an empty tensor, unless persons drew some.
    """

    case: str
    image: Tensor
    classes: Tensor
    labels: Tensor | None = None


class Draws:
    """The examples of a run by their position in it.

    Parameters
    ----------
    recipe : Recipe
        Its seed, patch, patches and augmentation are used.
    examples : sequence of Example or StoredExample

    Raises
    ------
    UserError
        There is no example, or none of any class where classes are asked for.
    """

    def __init__(self, recipe: Recipe, examples: Sequence[AnyExample]) -> None:
        if not examples:
            raise UserError(
                "there is no case to learn from: give cases the split train"
            )
        self.recipe, self.examples = recipe, examples
        share = recipe.patches
        asked = share.balanced or share.foreground
        self._places: list[Places] = [one.places if asked else {} for one in examples]
        self._having: Mapping[int, NDArray[np.int64]] = {
            index: np.flatnonzero([index in places for places in self._places])
            for index in sorted({c for places in self._places for c in places})
        }
        if asked and not self._having:
            raise UserError(
                "no mask of the split train holds a class: balanced and foreground "
                "patches need one"
            )
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def sample(self, position: int) -> Sample:
        """The example at a position in the run, cut and changed at random."""
        recipe = self.recipe
        epoch, place = divmod(position, len(self.examples) * recipe.patches.per_case)
        source = generator(recipe.seed, EXAMPLE_KEY, epoch, place)
        index, wanted = self._case(epoch, place, source)
        one = self.examples[index]
        voxel = self._voxel(index, wanted, source)
        if one.dims == 3 or voxel is None:
            image, classes = one.arrays(source)
        else:
            image, classes = one.plane(voxel[0])
            voxel = voxel[1:]
        image, classes = example(
            image, classes, recipe.patch, recipe.augmentation, source, voxel
        )
        return Sample(one.case, image, classes)

    @property
    def structures(self) -> int:
        """How many structures image-level labels speak of: there are none."""
        return 0

    def noise(self, position: int) -> torch.Generator:
        """Source of the noise and timesteps that the example meets."""
        return generator(self.recipe.seed, STEP_KEY, position)

    def _shuffled(self, epoch: int) -> list[int]:
        count = len(self.examples) * self.recipe.patches.per_case
        key = generator(self.recipe.seed, EXAMPLE_KEY, epoch)
        order: list[int] = torch.randperm(count, generator=key).tolist()
        return order

    def _case(
        self, epoch: int, place: int, source: torch.Generator
    ) -> tuple[int, int | None]:
        """Index of the case, and the class for which it was drawn."""
        balanced = self.recipe.patches.balanced
        if balanced and float(torch.rand((), generator=source)) < balanced:
            wanted = _one_of(sorted(self._having), source)
            return _one_of(self._having[wanted], source), wanted
        return self._order(epoch)[place] % len(self.examples), None

    def _voxel(
        self, index: int, wanted: int | None, source: torch.Generator
    ) -> list[int] | None:
        """A voxel (z, y, x) that the patch is to show, or None for any."""
        places, share = self._places[index], self.recipe.patches.foreground
        if not share or float(torch.rand((), generator=source)) >= share or not places:
            return None
        if wanted is None:
            wanted = _one_of(sorted(places), source)
        voxels = places[wanted]
        at = int(torch.randint(len(voxels), (), generator=source))
        return [int(value) for value in voxels[at]]


def _one_of(choices: Sequence[int] | NDArray[np.int64], source: torch.Generator) -> int:
    return int(choices[int(torch.randint(len(choices), (), generator=source))])
