"""Evaluate a model on the cases of a split, one case at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from diffseg.domain import ImageLabels, LabelTable, ModelCard, Request
from diffseg.errors import UserError
from diffseg.progress import Progress, Work, told_as
from diffseg_training.case_score import class_indices
from diffseg_training.comparison import compare
from diffseg_training.dataset import Case, Dataset, read_image, read_reference
from diffseg_training.evaluation_config import EvaluationConfig, evaluation_config
from diffseg_training.evaluation_tally import Tally
from diffseg_training.pictures import Picture

if TYPE_CHECKING:
    from diffseg.segmenters import Segmenter

__all__ = ["Evaluation", "EvaluationConfig", "evaluation_config", "iter_evaluate"]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What came out: the content of ``metrics.json``, and slices of some cases.

    `worst` has the lowest Dice first, `best` the highest; `typical` cases lie at the
    median. No case is in two of them.
    """

    metrics: dict[str, Any]
    worst: tuple[Picture, ...]
    typical: tuple[Picture, ...]
    best: tuple[Picture, ...]
    labels: LabelTable


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
    tallies = [Tally(each) for each in segmenters]
    for i, case in enumerate(cases):
        progress = Progress("evaluate", i, len(cases), case.case)
        yield progress
        try:
            yield from _evaluate_case(case, dataset, config, tallies, progress)
        except UserError as err:
            raise UserError(f"case {case.case}: {err}") from err
    yield Progress("evaluate", len(cases), len(cases), "summarise")
    metrics = _metrics(tallies, dataset, config, warnings)
    shown = tallies[0].gallery
    return Evaluation(
        metrics, shown.worst, shown.typical, shown.best, segmenter.card.labels
    )


def _check(card: ModelCard, dataset: Dataset, config: EvaluationConfig) -> None:
    if set(card.labels.names) != set(dataset.labels.names):
        raise UserError(
            f"model {card.id} finds {', '.join(card.labels.names)}, but the classes "
            f"of {dataset.root} are {', '.join(dataset.labels.names)}; name them "
            "alike in its classes.json"
        )
    if config.labels == "predicted" and not card.classifies:
        raise UserError(
            f"model {card.id} has no image-level classifier to predict labels with; "
            "give --labels given or none"
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
    tallies: Sequence[Tally],
    progress: Progress,
) -> Work[None]:
    volume = read_image(case)
    masks = [read_reference(case, volume, dataset.labels)]
    if case.mask_2 is not None:
        second = replace(case, mask=case.mask_2)
        masks.append(read_reference(second, volume, dataset.labels))
    request = Request(
        volume,
        labels=case.labels if config.labels == "given" else ImageLabels(),
        members=config.members,
        steps=config.steps,
        seed=config.seed,
        keep_members=len(masks) > 1,
    )
    for tally in tallies:
        start = time.perf_counter()
        proposal = yield from told_as(tally.segmenter.iter_propose(request), progress)
        seconds = time.perf_counter() - start
        order = proposal.labels
        references = [class_indices(mask, dataset.labels, order) for mask in masks]
        tally.add(case, volume, proposal, references, seconds)
        for seed in config.more_seeds:
            again = replace(request, seed=seed, keep_members=False)
            work = tally.segmenter.iter_propose(again)
            proposal = yield from told_as(work, progress)
            tally.add_seed(seed, proposal, references[0])


def _metrics(
    tallies: Sequence[Tally],
    dataset: Dataset,
    config: EvaluationConfig,
    warnings: Sequence[str],
) -> dict[str, Any]:
    first = tallies[0]
    summary = first.summary()
    metrics = (
        first.about()
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
        other = second.summary()
        metrics["comparison"] = {
            "compared": second.about() | other,
            **compare(first.scores, second.scores, summary, other),
        }
    return metrics
