"""Calibrate a model on the reference masks of a split of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

from diffseg.domain import ImageLabels, Proposal, Request
from diffseg.ensemble.calibration_choice import Calibrated, Plan, calibrate
from diffseg.ensemble.calibration_evidence import Evidence, evidence_of
from diffseg.errors import UserError
from diffseg.progress import Progress, Work, told_as
from diffseg_training.case_score import class_indices
from diffseg_training.dataset import Case, Dataset, read_image, read_reference

if TYPE_CHECKING:
    from diffseg.segmenters import Segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """What to calibrate on, and how; see `diffseg.ensemble.calibration_choice.Plan`.

    With `labels` ``given`` the model is told the data set's image-level labels, as who
    proposes with such a model tells it; ``none`` tells it nothing.
    """

    split: str
    labels: Literal["given", "none"] = "none"
    method: str = "auto"
    members: int | None = None
    steps: int | None = None
    seed: int = 0


def iter_calibrate(
    segmenter: Segmenter, dataset: Dataset, config: CalibrationConfig
) -> Work[Calibrated]:
    """Propose for every case that has a reference mask, and fit a calibration.

    Parameters
    ----------
    segmenter : Segmenter
        Whose card has no calibration: what is fitted corrects its own probabilities.
    dataset : Dataset
        Its structures are matched with the model's by name.
    config : CalibrationConfig

    Yields
    ------
    Progress
        In cases; several times a case, so that closing cancels soon.

    Returns
    -------
    Calibrated

    Raises
    ------
    UserError
        Other structures than the model's, too few patients with a reference, an
        unusable case, or a calibration that is no better.
    """
    _check(segmenter, dataset)
    cases = [case for case in dataset.split(config.split) if case.mask is not None]
    generator = np.random.default_rng(config.seed)
    evidence: list[Evidence] = []
    agreement: list[list[float | None]] = []
    made: Proposal | None = None
    for i, case in enumerate(cases):
        progress = Progress("calibrate", i, len(cases), case.case)
        yield progress
        try:
            work = segmenter.iter_propose(_request(case, config))
            made = yield from told_as(work, progress)
            evidence.append(_evidence(case, dataset, made, generator))
        except UserError as err:
            raise UserError(f"case {case.case}: {err}") from err
        agreement.append([one.expected_dice for one in made.structures])
    yield Progress("calibrate", len(cases), len(cases), "fit")
    if made is None:
        raise UserError(
            f"no case of split {config.split!r} of {dataset.root} has a reference "
            "mask; a calibration needs one of two patients or more"
        )
    pairs = None
    if not any(one is None for row in agreement for one in row):
        pairs = np.array(agreement, np.float64)
    return calibrate(evidence, _plan(made, dataset, config), pairs)


def _check(segmenter: Segmenter, dataset: Dataset) -> None:
    card = segmenter.card
    if card.calibration is not None:
        raise ValueError(f"model {card.id} is calibrated already")
    if set(card.labels.names) != set(dataset.labels.names):
        raise UserError(
            f"model {card.id} finds {', '.join(card.labels.names)}, but the classes "
            f"of {dataset.root} are {', '.join(dataset.labels.names)}; name them "
            "alike in its classes.json"
        )


def _plan(made: Proposal, dataset: Dataset, config: CalibrationConfig) -> Plan:
    return Plan(
        names=made.labels.names,
        members=made.provenance.members,
        steps=made.provenance.steps,
        method=config.method,
        seed=config.seed,
        about={
            "data": dataset.root.resolve().name,
            "split": config.split,
            "labels": config.labels,
            "seed": config.seed,
            "date": datetime.now(UTC).date().isoformat(),
        },
    )


def _request(case: Case, config: CalibrationConfig) -> Request:
    return Request(
        read_image(case),
        labels=case.labels if config.labels == "given" else ImageLabels(),
        members=config.members,
        steps=config.steps,
        seed=config.seed,
    )


def _evidence(
    case: Case, dataset: Dataset, proposal: Proposal, generator: np.random.Generator
) -> Evidence:
    mask = read_reference(case, read_image(case), dataset.labels)
    reference = class_indices(mask, dataset.labels, proposal.labels)
    return evidence_of(
        case.case, case.group, proposal.probability, reference, generator
    )
