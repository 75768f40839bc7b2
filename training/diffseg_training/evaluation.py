"""Evaluate a model on the cases of a split, one case at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diffseg.domain import (
    ImageLabels,
    LabelTable,
    ModelCard,
    Proposal,
    Provenance,
    Request,
)
from diffseg.errors import UserError
from diffseg.metrics import ErrorRanking
from diffseg.progress import Progress, Work
from diffseg.volume import Volume
from diffseg_training.case_score import CaseScore, class_indices, score_case
from diffseg_training.comparison import compare
from diffseg_training.dataset import Case, Dataset, read_image, read_reference
from diffseg_training.evaluation_summary import summarise
from diffseg_training.pictures import Picture, picture_of

if TYPE_CHECKING:
    from diffseg.segmenters import Segmenter

WORST = 3
"""Cases that the report shows, lowest Dice first."""


class EvaluationConfig(BaseModel):
    """What to evaluate, and what the model is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str = Field(
        default="val", title="Split", description="train, val, test or all"
    )
    labels: Literal["given", "predicted", "none"] = Field(
        default="none",
        title="Image-level labels",
        description="Those of the dataset, those of the model's classifier, or none",
    )
    members: int | None = Field(default=None, ge=1, title="Members")
    steps: int | None = Field(default=None, ge=1, title="Steps")
    seed: int = Field(default=0, ge=0, title="Seed")


def evaluation_config(**fields: Any) -> EvaluationConfig:
    """Make an `EvaluationConfig`; `UserError` names the first field that is wrong."""
    try:
        return EvaluationConfig(**fields)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where} is {first['input']!r}: {first['msg']}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What came out: the content of ``metrics.json`` and the worst cases' slices."""

    metrics: dict[str, Any]
    worst: tuple[Picture, ...]
    labels: LabelTable


@dataclass(slots=True)
class _Tally:
    """The running scores of one model; nothing in it grows with a volume."""

    segmenter: Segmenter
    scores: list[CaseScore] = field(default_factory=list)
    ranking: ErrorRanking = field(default_factory=ErrorRanking)
    worst: list[Picture] = field(default_factory=list)
    run: Provenance | None = None

    def add(
        self,
        case: Case,
        volume: Volume,
        proposal: Proposal,
        reference: NDArray[np.uint8],
        seconds: float,
    ) -> None:
        score, ranking = score_case(case.case, case.group, proposal, reference, seconds)
        self.scores.append(score)
        self.ranking = self.ranking + ranking
        self.run = proposal.provenance
        worst = self.worst
        if len(worst) < WORST or score.dice_macro < worst[-1].score.dice_macro:
            worst.append(picture_of(score, volume, proposal, reference))
            worst.sort(key=lambda picture: picture.score.dice_macro)
            del worst[WORST:]


def iter_evaluate(
    segmenter: Segmenter,
    dataset: Dataset,
    config: EvaluationConfig,
    compared: Segmenter | None = None,
) -> Work[Evaluation]:
    """Propose for every case that has a reference mask, and score it.

    Parameters
    ----------
    segmenter : Segmenter
    dataset : Dataset
        Its structures are matched with the model's by name.
    config : EvaluationConfig
    compared : Segmenter, optional
        A second model, asked the same of the same cases.

    Yields
    ------
    Progress
        In cases; several times a case, so that closing cancels soon.

    Returns
    -------
    Evaluation

    Raises
    ------
    UserError
        Other structures than the model's, no reference in the split, labels
        to be predicted by a model that has no classifier, an unusable case.
    """
    segmenters = [segmenter] if compared is None else [segmenter, compared]
    for each in segmenters:
        _check(each.card, dataset, config)
    cases, warnings = _with_reference(dataset, config)
    tallies = [_Tally(each) for each in segmenters]
    for i, case in enumerate(cases):
        progress = Progress("evaluate", i, len(cases), case.case)
        yield progress
        try:
            yield from _evaluate_case(case, dataset, config, tallies, progress)
        except UserError as err:
            raise UserError(f"case {case.case}: {err}") from err
    yield Progress("evaluate", len(cases), len(cases), "summarise")
    metrics = _metrics(tallies, dataset, config, warnings)
    return Evaluation(metrics, tuple(tallies[0].worst), segmenter.card.labels)


def _check(card: ModelCard, dataset: Dataset, config: EvaluationConfig) -> None:
    if set(card.labels.names) != set(dataset.labels.names):
        raise UserError(
            f"model {card.id} finds {', '.join(card.labels.names)}, but the classes "
            f"of {dataset.root} are {', '.join(dataset.labels.names)}; name them "
            "alike in its classes.json"
        )
    if config.labels == "predicted":
        raise UserError(
            f"model {card.id} has no image-level classifier to predict labels with, "
            "as no model has yet; give --labels given or none"
        )


def _with_reference(
    dataset: Dataset, config: EvaluationConfig
) -> tuple[list[Case], list[str]]:
    every = dataset.split(config.split)
    cases = [case for case in every if case.mask is not None]
    if not cases:
        raise UserError(
            f"no case of split {config.split!r} of {dataset.root} has a reference "
            "mask; an evaluation needs one"
        )
    warnings = list(dataset.warnings)
    if len(cases) < len(every):
        warnings.append(
            f"{len(every) - len(cases)} of {len(every)} cases have no reference "
            "mask and are left out"
        )
    return cases, warnings


def _evaluate_case(
    case: Case,
    dataset: Dataset,
    config: EvaluationConfig,
    tallies: Sequence[_Tally],
    progress: Progress,
) -> Work[None]:
    volume = read_image(case)
    mask = read_reference(case, volume, dataset.labels)
    request = Request(
        volume,
        labels=case.labels if config.labels == "given" else ImageLabels(),
        members=config.members,
        steps=config.steps,
        seed=config.seed,
    )
    for tally in tallies:
        start = time.perf_counter()
        proposal = yield from _propose(tally.segmenter, request, progress)
        seconds = time.perf_counter() - start
        reference = class_indices(mask, dataset.labels, proposal.labels)
        tally.add(case, volume, proposal, reference, seconds)


def _propose(
    segmenter: Segmenter, request: Request, progress: Progress
) -> Work[Proposal]:
    """Propose, but report progress in cases rather than in the model's stages."""
    work = segmenter.iter_propose(request)
    try:
        while True:
            next(work)
            yield progress
    except StopIteration as stop:
        proposal: Proposal = stop.value
        return proposal
    finally:
        work.close()


def _metrics(
    tallies: Sequence[_Tally],
    dataset: Dataset,
    config: EvaluationConfig,
    warnings: Sequence[str],
) -> dict[str, Any]:
    first = tallies[0]
    summary = summarise(first.scores, first.ranking)
    metrics = (
        _about(first)
        | {
            "data": dataset.root.resolve().name,
            "split": config.split,
            "labels": config.labels,
            "seed": config.seed,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        | summary
        | {"warnings": list(warnings)}
    )
    if len(tallies) == 2:
        second = tallies[1]
        other = summarise(second.scores, second.ranking)
        metrics["comparison"] = {
            "compared": _about(second) | other,
            **compare(first.scores, second.scores, summary, other),
        }
    return metrics


def _about(tally: _Tally) -> dict[str, Any]:
    """Return which model it was, and how it was run."""
    card, run = tally.segmenter.card, tally.run
    assert run is not None
    return {
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "members": run.members,
        "steps": run.steps,
        "device": run.device,
        "threads": run.threads,
    }
