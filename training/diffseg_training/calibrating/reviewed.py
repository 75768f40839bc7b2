"""Which cases of a project a calibration is fitted on. Loads without torch."""

from __future__ import annotations

from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.project import store
from diffseg_training.finetuning.begun import learnt_by, parent_named
from diffseg_training.finetuning.gathering import Candidate, candidates

FEWEST = 2
"""Patients: each is judged by what was fitted without them."""


def reviewed_cases(
    project: store.Project, model: ModelFolder, patient: str
) -> tuple[Candidate, ...]:
    """Cases whose review is done, and which the model has not learnt from here.

    On cases that it has learnt from a model looks surer than it has a right to be.

    Raises
    ------
    UserError
        They are of too few patients.
    """
    learnt = learnt_by(model, store.training_runs(project))
    found = tuple(
        one
        for one in candidates(project, patient)
        if one.whole and one.case.id not in learnt
    )
    count = len({one.group for one in found})
    if count < FEWEST:
        unseen = " and that the model has not learnt from" if learnt else ""
        raise UserError(
            f"{count} patient{'s' * (count != 1)} with a case that is reviewed to its "
            f"end{unseen}; a calibration is judged on patients held out and needs "
            f"{FEWEST} or more"
        )
    return found


def calibration_outlook(
    project: store.Project, model: str, patient: str
) -> tuple[int, int]:
    """How many cases, and of how many patients, a calibration would take.

    Raises
    ------
    UserError
        As it would be refused.
    """
    found = reviewed_cases(project, parent_named(model), patient)
    return len(found), len({one.group for one in found})
