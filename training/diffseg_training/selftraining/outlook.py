"""What a self-training would learn from and be judged by, before it begins.

Loads without torch, and reads no mask: which weak masks are the surest is found out
when it begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffseg.errors import UserError
from diffseg.project import store
from diffseg_training.finetuning.begun import parent_named
from diffseg_training.recipe_parts import SelfTraining
from diffseg_training.selftraining.gathering import cohort_of
from diffseg_training.selftraining.job import SelfTrainJob
from diffseg_training.selftraining.picking import sides
from diffseg_training.selftraining.recipe import fitting_recipes


@dataclass(frozen=True, slots=True)
class WeakOutlook:
    """Counted cases, recipes to choose among, or why nothing can begin.

    Parameters
    ----------
    weak, corrected : int
        Cases to learn from: with a weak mask, before any is left out; and with
        something that a person reviewed.
    held_out, lacking : int
        Cases that would judge; cases with neither a proposal nor a correction.
    recipes : tuple of str
        That ship and fit the weak model.
    refused : str
        In a line; "" where it can begin.
    """

    weak: int = 0
    corrected: int = 0
    held_out: int = 0
    lacking: int = 0
    recipes: tuple[str, ...] = ()
    refused: str = ""


def weak_outlook(project: store.Project, job: SelfTrainJob) -> WeakOutlook:
    """Count as a run of this job would, with the recipes' defaults."""
    try:
        parent = parent_named(job.model)
        recipes = fitting_recipes(parent.card)
        cohort = cohort_of(project, parent.card, job.patient)
        learn, judge = sides(project, job, parent, cohort, SelfTraining())
    except UserError as err:
        return WeakOutlook(refused=str(err))
    refused = "" if recipes else f"no recipe that ships is for {parent.card.modality}"
    weak = sum(one.case.id in cohort.weak for one in learn)
    corrected = sum(one.whole or one.correction is not None for one in learn)
    return WeakOutlook(weak, corrected, len(judge), cohort.lacking, recipes, refused)
