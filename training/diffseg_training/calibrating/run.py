"""A calibration on reviewed cases from end to end: propose, fit, judge, keep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, Proposal
from diffseg.ensemble.calibration_choice import Calibrated, Plan, calibrate
from diffseg.ensemble.calibration_evidence import Evidence, evidence_of
from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model, make_current
from diffseg.models.calibrated import (
    FIGURES,
    figures,
    store_calibration,
    uncalibrated,
)
from diffseg.progress import Progress, Work, told_as
from diffseg.project import store
from diffseg.project.review import Wish, request_of
from diffseg.segmenters import Segmenter, resolve_device
from diffseg.segmenters.base import load_method
from diffseg_training.calibrating.job import CalibrateJob, Recalibrated
from diffseg_training.calibrating.reviewed import reviewed_cases
from diffseg_training.calibration_picture import calibration_plot
from diffseg_training.case_score import class_indices
from diffseg_training.finetuning.begun import parent_named
from diffseg_training.finetuning.gathering import Candidate, lesson


def iter_calibrate_reviewed(job: CalibrateJob) -> Work[Recalibrated]:
    """Calibrate a model on a project's reviewed cases, and keep it as a version.

    Each case is proposed for as the project would, with what was said of it at image
    level. The mask of a person is what counts; voxels of structures that the model does
    not know count nothing. The figures are of patients held out in turn. The new
    version is what the model's id means, where its parent was.

    Yields
    ------
    Progress
        In cases; several times a case, so that closing cancels soon.

    Raises
    ------
    UserError
        Too few patients, an image or a mask that has changed, or a calibration that
        is no better on patients held out. Nothing is kept then.
    """
    device = resolve_device(job.device)
    parent = parent_named(job.model)
    base = uncalibrated(parent)
    with store.open_project(job.project) as project:
        chosen = reviewed_cases(project, parent, job.patient)
        method = load_method(base.card.method, f"model {base.name}")
        segmenter = method.from_model(base, device)
        found = yield from _fitted(project, chosen, segmenter, base.card.labels, job)
        meant = find_model(parent.card.id).name == parent.name
        kept = _kept(parent, found)
        if meant:
            make_current(kept)
        told = {
            "model": kept.name,
            "sha256": kept.card.sha256,
            "seed": job.seed,
            "cases": [one.case.id for one in chosen],
        }
        store.add_note(project, job.annotator, "calibrate", details=told)
    sides = [found.figures[side] for side in ("before", "after")]
    before, after = (float((one["box"] or one["image"])["ece"]) for one in sides)
    return Recalibrated(
        model=kept.name,
        parent=parent.name,
        path=kept.path,
        words=found.calibration.words,
        cases=int(found.figures["cases"]),
        patients=int(found.figures["groups"]),
        ece=(before, after),
    )


def _fitted(
    project: store.Project,
    chosen: tuple[Candidate, ...],
    segmenter: Segmenter,
    labels: LabelTable,
    job: CalibrateJob,
) -> Work[Calibrated]:
    generator = np.random.default_rng(job.seed)
    evidence: list[Evidence] = []
    agreement: list[list[float | None]] = []
    made: Proposal | None = None
    wish = Wish(job.members, job.steps, job.seed)
    for done, one in enumerate(chosen):
        progress = Progress("calibrate", done, len(chosen), one.case.name)
        yield progress
        try:
            request, _ = request_of(project, one.case, segmenter.card, wish)
            mask, reviewed = lesson(project, one, labels)
        except UserError as err:
            raise UserError(f"case {one.case.name!r}: {err}") from err
        request = replace(request, keep_members=False)
        made = yield from told_as(segmenter.iter_propose(request), progress)
        evidence.append(_evidence(one, made, mask, reviewed, labels, generator))
        agreement.append([told.expected_dice for told in made.structures])
    assert made is not None
    yield Progress("calibrate", len(chosen), len(chosen), "fit")
    plan = Plan(
        names=made.labels.names,
        members=made.provenance.members,
        steps=made.provenance.steps,
        seed=job.seed,
        about={
            "data": "corrections",
            "project": project.manifest.id,
            "seed": job.seed,
            "date": datetime.now(UTC).date().isoformat(),
        },
    )
    pairs = None
    if not any(one is None for row in agreement for one in row):
        pairs = np.array(agreement, np.float64)
    return calibrate(evidence, plan, pairs)


def _evidence(
    one: Candidate,
    made: Proposal,
    mask: NDArray[np.uint8],
    reviewed: NDArray[np.bool_] | None,
    labels: LabelTable,
    generator: np.random.Generator,
) -> Evidence:
    reference = class_indices(mask, labels, made.labels)
    return evidence_of(
        one.case.id, one.group, made.probability, reference, generator, reviewed
    )


def _kept(parent: ModelFolder, found: Calibrated) -> ModelFolder:
    files = {
        FIGURES: figures(found.figures),
        "reliability.png": calibration_plot(found.figures, parent.card.labels.names),
    }
    return store_calibration(parent, found.calibration.model_dump(mode="json"), files)
