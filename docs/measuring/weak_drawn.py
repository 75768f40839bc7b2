"""What a model of weak masks draws of slices with the structure, and its Dice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Presence, Request
from diffseg.domain.slice_labels import ABSENT, PRESENT, SliceLabels
from diffseg.metrics import dice
from diffseg.segmenters import load_segmenter
from diffseg.volume import Volume, read_mask
from diffseg_training.dataset import Case, Dataset, read_image

Masks = NDArray[np.bool_]


def probabilities(
    model: Path,
    dataset: Dataset,
    split: str,
    members: int,
    whole: bool,
    refined: bool = True,
) -> Iterator[tuple[Case, NDArray[np.float16], Masks, Masks]]:
    """Yield slices with the structure: what a model says of them, and the reference.

    Without `refined` a model of CLDF leaves its last step, of pixels, away.
    """
    segmenter: Any = load_segmenter(str(model), device="cpu")
    if not refined:
        segmenter.network.refinement_iterations = 0
    name = segmenter.card.labels.names[0]
    hears = "slice_labels" in segmenter.card.capabilities
    for stack in stacks(dataset.split(split), whole):
        shown = [case.labels[name] is Presence.PRESENT for case in stack]
        if not any(shown):
            continue
        images = [read_image(case) for case in stack]
        data = np.concatenate([one.data for one in images], axis=-3)
        volume = Volume.from_array(data)
        request = Request(volume, members=members, steps=6 if hears else None)
        if hears:
            states = np.where(shown, PRESENT, ABSENT).astype(np.uint8)[:, None]
            request = replace(request, slice_labels=SliceLabels((name,), states))
        made = segmenter.propose(request)
        for plane, case in enumerate(stack):
            if shown[plane] and case.mask is not None:
                truth = np.asarray(read_mask(case.mask)[0] > 0)
                likely = made.probability[0, plane].astype(np.float16)
                yield case, likely, made.mask[plane] > 0, truth


def stacks(cases: Sequence[Case], whole: bool) -> Iterator[list[Case]]:
    """Patients' slices in order of their numbers; or each slice by itself."""
    for _, group in groupby(cases, lambda case: case.group):
        stack = sorted(group, key=lambda case: case.case)
        yield from [stack] if whole else ([case] for case in stack)


def dice_of(found: NDArray[Any], wanted: NDArray[Any]) -> float | None:
    """Dice of two masks of a slice."""
    return dice(found.astype(np.uint8), wanted.astype(np.uint8))


def dices_of_model(
    model: Path, dataset: Dataset, split: str, *, members: int = 1, whole: bool
) -> Iterator[dict[str, Any]]:
    """Yield case, group and Dice (`labels`) of each slice with the structure."""
    for case, _, mask, wanted in probabilities(model, dataset, split, members, whole):
        yield {
            "case": case.case,
            "group": case.group,
            "labels": dice_of(mask, wanted),
        }
