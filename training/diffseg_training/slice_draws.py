"""Which slice each example of a run shows, where slices have image-level labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.diffusion import generator
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg_training.augment import example
from diffseg_training.known import UNREVIEWED
from diffseg_training.labelled import LabelledExample, label_set
from diffseg_training.recipe import Recipe
from diffseg_training.sampling import EXAMPLE_KEY, STEP_KEY, Sample


class SliceDraws:
    """The slices of a run by their position in it.

    A slice of which nothing is known, and nothing was reviewed, is never shown. Of the
    share ``recipe.patches.balanced`` of the examples a structure is drawn, then whether
    it is present, evenly, then a slice of which that is said, if there is one.

    Parameters
    ----------
    recipe : Recipe
        Its seed, patch, patches and augmentation are used.
    examples : sequence of LabelledExample

    Raises
    ------
    UserError
        From these labels nothing can be learnt.
    """

    def __init__(self, recipe: Recipe, examples: Sequence[LabelledExample]) -> None:
        self.recipe, self.examples = recipe, examples
        self.labels = label_set(
            examples, "split train", absent=recipe.objective.needs_absent
        )
        states = self.labels.states
        places = [(i, z) for i, one in enumerate(examples) for z in range(one.planes)]
        known = (states != UNKNOWN).any(axis=1)
        known |= np.array([_reviewed(examples[i], z) for i, z in places])
        self._places = np.array(places)[known]
        states = states[known]
        self._having: list[list[NDArray[np.intp]]] = [
            [np.flatnonzero(column == code) for code in (PRESENT, ABSENT)]
            for column in states.T
        ]
        self._order = lru_cache(maxsize=4)(self._shuffled)

    @property
    def structures(self) -> int:
        """How many structures the labels speak of."""
        return len(self.labels.names)

    def sample(self, position: int) -> Sample:
        """The slice at a position in the run, changed at random."""
        recipe = self.recipe
        epoch, place = divmod(position, len(self._places))
        source = generator(recipe.seed, EXAMPLE_KEY, epoch, place)
        index, plane = self._places[self._drawn(epoch, place, source)]
        one = self.examples[index]
        image, states = one.plane(int(plane))
        drawn = None if one.classes is None else one.classes[int(plane)]
        shown = torch.zeros(image.shape[1:], dtype=torch.uint8)
        changed, classes = example(
            image,
            shown if drawn is None else drawn,
            recipe.patch,
            recipe.augmentation,
            source,
        )
        if drawn is None:
            classes = torch.zeros(0, dtype=torch.int64)
        return Sample(one.case, changed, classes, states)

    def noise(self, position: int) -> torch.Generator:
        """Source of the noise and timesteps that the example meets."""
        return generator(self.recipe.seed, STEP_KEY, position)

    def _shuffled(self, epoch: int) -> list[int]:
        key = generator(self.recipe.seed, EXAMPLE_KEY, epoch)
        order: list[int] = torch.randperm(len(self._places), generator=key).tolist()
        return order

    def _drawn(self, epoch: int, place: int, source: torch.Generator) -> int:
        balanced = self.recipe.patches.balanced
        if not balanced or float(torch.rand((), generator=source)) >= balanced:
            return self._order(epoch)[place]
        structure = int(torch.randint(self.structures, (), generator=source))
        state = int(torch.randint(2, (), generator=source))
        having = self._having[structure][state]
        if not len(having):  # where no slice is without it, all have it
            having = self._having[structure][1 - state]
        return int(having[int(torch.randint(len(having), (), generator=source))])


def _reviewed(one: LabelledExample, plane: int) -> bool:
    """Whether a person reviewed any pixel of a slice."""
    return one.classes is not None and bool((one.classes[plane] < UNREVIEWED).any())
