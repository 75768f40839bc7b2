"""Weak masks of balls under a model's name, as bad and as doubtful as a test wants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal, Provenance
from diffseg.models import ModelFolder
from diffseg.project import store
from diffseg_training.selftraining.job import SelfTrainJob

TINY = (
    "patch=[16, 16, 16]",
    "length.validations=2",
    "length.log_steps=5",
    "optimiser.precision=fp32",
    "augmentation.elastic=0.0",
    "augmentation.blur=0.0",
    "loading.workers=0",
    "network.channels=[8, 12]",
    "network.member_channels=[4, 6]",
    "network.embedding=16",
    "localisation=null",
    "preparation.flips=[[]]",
    "preparation.orientation=null",
    "preparation.spacing_mm=null",
    "sampling.members=2",
)


def propose(
    project: store.Project,
    name: str,
    model: ModelFolder,
    mask: NDArray[np.uint8],
    doubt: float | NDArray[np.float32] = 0.1,
) -> store.StoredProposal:
    """Keep a mask of a ball as a model's proposal, doubted as told."""
    case, card = store.find_case(project, name), model.card
    uncertainty = np.broadcast_to(np.float32(doubt), mask.shape).astype(np.float32)
    probability = np.stack([mask == 1, mask == 2]).astype(np.float32) * 0.9
    facts = {"id": card.id, "version": card.version, "sha256": card.sha256}
    proposal = Proposal(
        mask=mask,
        probability=probability,
        uncertainty=uncertainty,
        labels=card.labels,
        grid=case.grid,
        source=store.open_source(case).source,
        provenance=Provenance(
            {**facts, "licence": card.licence, "calibration": None},
            seed=0, members=2, steps=1, device="cpu", threads=1, seconds={},
        ),
    )  # fmt: skip
    return store.add_proposal(project, case.id, proposal, annotator="anna")


def job_of(
    project: store.Project, model: str, steps: int = 4, **given: object
) -> SelfTrainJob:
    """A job of few steps; the recipe is that of the balls."""
    settings = (*TINY, f"length.steps={steps}", *given.pop("settings", ()))  # type: ignore[misc]
    plain = {"project": str(project.folder), "model": model, "annotator": "anna"}
    more = {"recipe": "hippocampus-mri", "id": "student", "device": "cpu", **given}
    return SelfTrainJob(**{**plain, "settings": settings, **more})  # type: ignore[arg-type]
