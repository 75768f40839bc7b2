"""The masks that a fingerprint is measured on: slices, brought to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion import generator
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.volume import read_mask
from diffseg_training.dataset import Case, Dataset
from diffseg_training.objectives.terms import one_hot
from diffseg_training.training_set import AnyExample, Example

MULTIPLE = 8  # sides of a slice are multiples of it: the network halves them thrice
HELD_OUT = 0.2  # of the patients: they are measured, the others are learned from
_GROUP_KEY, _PLANE_KEY = 11, 12


@dataclass(frozen=True, slots=True)
class Halves:
    """Cases to learn from and cases to measure; the same ones of a single patient."""

    learned: tuple[Case, ...]
    measured: tuple[Case, ...]

    @property
    def apart(self) -> bool:
        """Whether no patient is in both."""
        return self.learned != self.measured


def held_out(cases: Sequence[Case], seed: int) -> Halves:
    """Set a fifth of the patients apart, chosen by the seed.

    Raises
    ------
    UserError
        No case has a mask.
    """
    cases = [case for case in cases if case.mask is not None]
    if not cases:
        raise UserError("no case of this split has a mask: a fingerprint is of masks")
    groups = sorted({case.group for case in cases})
    if len(groups) == 1:
        return Halves(tuple(cases), tuple(cases))
    order = torch.randperm(len(groups), generator=generator(seed, _GROUP_KEY))
    count = max(1, round(HELD_OUT * len(groups)))
    chosen = {groups[int(place)] for place in order[:count]}
    return Halves(
        tuple(case for case in cases if case.group not in chosen),
        tuple(case for case in cases if case.group in chosen),
    )


def iter_masks(
    cases: Sequence[Case], dataset: Dataset, size: Sequence[int]
) -> Work[list[Example]]:
    """Read the masks of cases, every slice resized to (y, x); images are zeros.

    Of each pixel the class that covers most of it.
    """
    examples = []
    values = dataset.labels.values
    lookup = torch.zeros(256, dtype=torch.long)
    lookup[list(values)] = torch.arange(1, len(values) + 1)
    for done, case in enumerate(cases, start=1):
        assert case.mask is not None
        mask = torch.from_numpy(read_mask(case.mask, classes=values)).long()
        classes = resized(lookup[mask], len(values), size)
        image = torch.zeros(1, *classes.shape)
        examples.append(Example(case.case, image, classes.to(torch.uint8), 2, 0))
        yield Progress("read", done, len(cases))
    return examples


def resized(classes: Tensor, count: int, size: Sequence[int]) -> Tensor:
    """Class indices (Z, Y, X) of `count` classes on slices of another size."""
    if tuple(classes.shape[1:]) == tuple(size):
        return classes
    planes = [
        functional.interpolate(
            one_hot(plane[None], count + 1), tuple(size), mode="area"
        ).argmax(1)
        for plane in classes
    ]
    return torch.cat(planes)


def chosen_planes(
    examples: Sequence[Example], most: int, seed: int
) -> list[tuple[int, int]]:
    """At most so many (example, plane) of them, by the seed, in order."""
    every = [(i, z) for i, e in enumerate(examples) for z in range(len(e.classes))]
    if len(every) <= most:
        return every
    order = torch.randperm(len(every), generator=generator(seed, _PLANE_KEY))
    return [every[place] for place in sorted(order[:most].tolist())]


def mask_channels(
    examples: Sequence[AnyExample], planes: Sequence[tuple[int, int]], count: int
) -> Tensor:
    """Masks (N, count, Y, X) in {0, 1} of some planes, a channel a class."""
    classes = torch.stack([examples[i].classes[z].long() for i, z in planes])
    return one_hot(classes, count + 1)[:, 1:]


def mean_mask(examples: Sequence[Example], count: int) -> Tensor:
    """Mean (count, Y, X) over all planes, a channel a class: what is known blindly."""
    planes = sum(len(one.classes) for one in examples)
    total = torch.zeros(count, *examples[0].classes.shape[1:], dtype=torch.float64)
    for one in examples:
        for index in range(count):
            total[index] += (one.classes == index + 1).sum(0)
    return (total / planes).float()
