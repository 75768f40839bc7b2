"""Images of balls, their corrections, and jobs of few steps."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain import Label, LabelTable
from diffseg.project import store
from diffseg_training.finetuning.job import FinetuneJob
from diffseg_training.training_set import Example

SHAPE = (16, 18, 16)
TABLE = LabelTable(
    labels=(
        Label(name="front", value=1, color="#112233", code=None),
        Label(name="back", value=2, color="#445566", code=None),
    )
)
TINY = (
    "patch=[16, 16, 16]",
    "length.validations=2",
    "length.log_steps=5",
    "optimiser.precision=fp32",
    "augmentation.elastic=0.0",
    "augmentation.blur=0.0",
    "loading.workers=0",
)
NETWORK = (
    "network.channels=[8, 12]",
    "network.member_channels=[4, 6]",
    "network.embedding=16",
    "localisation=null",
    "preparation.flips=[[]]",
    "preparation.orientation=null",
    "preparation.spacing_mm=null",
    "sampling.members=2",
    "trackers=[]",
)


def ball(seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A bright and a brighter half ball on noise: image and mask (Z, Y, X)."""
    random = np.random.default_rng(seed)
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]] - random.uniform(
        7, 9, (3, 1, 1, 1)
    )
    inside = z**2 + y**2 + x**2 < 26
    mask = np.where(inside, np.where(y < 0, 1, 2), 0).astype(np.uint8)
    image = mask + 0.3 * random.standard_normal(SHAPE)
    return image.astype(np.float32), mask


def example(seed: int) -> Example:
    """A ball as the trainer takes it."""
    image, mask = ball(seed)
    image = (image - image.mean()) / image.std()
    return Example(f"ball{seed}", torch.from_numpy(image)[None], torch.from_numpy(mask))


def correct(
    project: store.Project,
    name: str,
    mask: NDArray[np.uint8] | None = None,
    *,
    touched: NDArray[np.bool_] | None = None,
    done: bool = True,
) -> store.Case:
    """Save a correction of a ball, the true mask without another; by default done."""
    case = store.find_case(project, name)
    truth = ball(20 + int(name[4:]))[1]
    given = truth if mask is None else mask
    store.add_correction(project, case.id, given, annotator="anna", touched=touched)
    if done:
        store.set_review(project, case.id, store.State.DONE, reviewer="anna")
    return case


def job_of(project: store.Project, **given: object) -> FinetuneJob:
    """A job of few steps."""
    settings = (*TINY, "length.steps=4", *given.pop("settings", ()))  # type: ignore[misc]
    told = {"project": str(project.folder), "model": "balls", "annotator": "anna"}
    return FinetuneJob(**{**told, "settings": settings, "device": "cpu", **given})  # type: ignore[arg-type]
