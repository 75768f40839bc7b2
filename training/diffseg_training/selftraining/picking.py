"""Who teaches and who judges: corrections, and the weak masks that are sure enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.progress import Work
from diffseg.project import store
from diffseg_training.finetuning.begun import (
    earlier_runs,
    held_out_before,
    learnt_by,
)
from diffseg_training.finetuning.gathering import Candidate, named
from diffseg_training.finetuning.holding_out import choose, in_draw
from diffseg_training.recipe_parts import SelfTraining
from diffseg_training.selftraining.choosing import taken_cases
from diffseg_training.selftraining.gathering import (
    Cohort,
    Doubted,
    cohort_of,
    iter_doubts,
)
from diffseg_training.selftraining.job import SelfTrainJob

Sides = tuple[tuple[Candidate, ...], tuple[Candidate, ...]]


@dataclass(frozen=True, slots=True)
class Pick:
    """Cases to learn from, and such that weights are chosen on.

    Parameters
    ----------
    learners : tuple of Candidate
    judges : tuple of Candidate
        Held out: they judge, where the job says so.
    weak : mapping of str to StoredProposal
        Proposals whose masks are taken, by id of the case.
    left_out, lacking : int
        See `diffseg_training.selftraining.job.SelfTrained`.
    """

    learners: tuple[Candidate, ...]
    judges: tuple[Candidate, ...]
    weak: Mapping[str, store.StoredProposal]
    left_out: int
    lacking: int


def iter_pick(
    project: store.Project,
    job: SelfTrainJob,
    parent: ModelFolder,
    options: SelfTraining,
) -> Work[Pick]:
    """Hold cases out, rank the weak masks of the others, and take the best of them.

    Raises
    ------
    UserError
        There is no weak mask, none is taken, or nobody could judge.
    """
    cohort = cohort_of(project, parent.card, job.patient)
    learners, judges = sides(project, job, parent, cohort, options)
    weak = {
        one.case.id: cohort.weak[one.case.id]
        for one in learners
        if one.case.id in cohort.weak
    }
    labels = parent.card.labels
    doubts = yield from iter_doubts(project, weak.values(), labels, options)
    taken = _taken(learners, doubts, options)
    if not taken:
        raise UserError(_none_taken(doubts, options))
    mine = [
        one
        for one in learners
        if one.whole or one.correction is not None or one.case.id in taken
    ]
    by_persons = any(one.whole or one.correction is not None for one in mine)
    if not by_persons and not any(doubts[id].inside for id in taken):
        raise UserError(
            f"no voxel of a structure is as sure as an uncertainty of "
            f"{options.limit:g}: raise --limit"
        )
    if not job.judged:
        learners, judges = _parted(mine, options.held_out, job.seed)
    else:
        learners = tuple(mine)
    kept = {id: weak[id] for id in taken}
    return Pick(learners, judges, kept, len(weak) - len(taken), cohort.lacking)


def sides(
    project: store.Project,
    job: SelfTrainJob,
    parent: ModelFolder,
    cohort: Cohort,
    options: SelfTraining,
) -> Sides:
    """Cases that may teach, and those held out to judge; no mask is read.

    Raises
    ------
    UserError
        There is no weak mask, or nobody could judge.
    """
    if not cohort.weak:
        raise UserError(
            f"no case that waits for its review has a proposal of {parent.name}, and "
            f"there is no weak mask to learn from; propose first: diffseg project "
            f"propose {project.folder} --model {parent.name}"
        )
    if not job.judged:
        return named(project, job.cases, cohort.known) or cohort.known, ()
    runs = earlier_runs(project)
    learnt = learnt_by(parent, runs)
    able = [one for one in cohort.known if one.whole and one.case.id not in learnt]
    if not able and not job.hold_out:
        raise UserError(
            "there is no held-out case to judge by: review one to its end that "
            f"{parent.name} has not learnt from, or say --no-judge, and the model is "
            "kept unjudged"
        )
    found = choose(
        project,
        job,
        cohort.known,
        share=options.held_out,
        learnt=learnt,
        before=held_out_before(runs),
    )
    if not any(one.case.id in cohort.weak for one in found[0]):
        raise UserError(
            "every weak mask is of a patient who is held out, or of a case that was "
            "not named: there is none to learn from"
        )
    return found


def _taken(
    learners: Sequence[Candidate],
    doubts: Mapping[str, Doubted],
    options: SelfTraining,
) -> frozenset[str]:
    """Ids of the cases whose weak mask is taken."""
    ids = {one.case.name: one.case.id for one in learners if one.case.id in doubts}
    ranked = {name: doubts[id].doubt for name, id in ids.items()}
    names = taken_cases(ranked, options.keep, options.worst)
    return frozenset(ids[name] for name in names)


def _none_taken(doubts: Mapping[str, Doubted], options: SelfTraining) -> str:
    found = [one.doubt for one in doubts.values() if one.doubt is not None]
    if not found:
        return (
            f"nothing is proposed for any of {len(doubts)} cases, and nobody said that "
            "nothing is there: there is no weak mask to learn from"
        )
    return (
        f"every weak mask is left out: the surest is doubted by {min(found):.3f}, and "
        f"self_training.worst is {options.worst:g}; raise it"
    )


def _parted(mine: Sequence[Candidate], share: float, seed: int) -> Sides:
    """Some patients apart, for weights to be chosen on where nobody judges."""
    groups = in_draw({one.group for one in mine}, seed)
    if len(groups) < 2:
        raise UserError(
            "the cases are of one patient, and weights are chosen on another: propose "
            "for a case of a second patient"
        )
    most = min(len(groups) - 1, max(1, math.ceil(share * len(groups))))
    apart = frozenset(groups[:most])
    return (
        tuple(one for one in mine if one.group not in apart),
        tuple(one for one in mine if one.group in apart),
    )
