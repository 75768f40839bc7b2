"""What a fine-tuning would learn from and be judged by, before it begins.

Loads without torch, for the window to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from diffseg.domain import LabelTable
from diffseg.project import store
from diffseg_training.finetuning.begun import (
    held_out_before,
    learnt_by,
    parent_named,
)
from diffseg_training.finetuning.gathering import Candidate, candidates, taught
from diffseg_training.finetuning.holding_out import choose
from diffseg_training.finetuning.job import FinetuneJob
from diffseg_training.finetuning.recipe import write_recipe


@dataclass(frozen=True, slots=True)
class Lesson:
    """A case, and how much of it counts.

    Parameters
    ----------
    id, name : str
    voxels : int
        That were reviewed.
    whole : bool
        Whether its review is done.
    """

    id: str
    name: str
    voxels: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """Cases to learn from, and those held out."""

    learn: tuple[Lesson, ...]
    hold_out: tuple[Lesson, ...]


def outlook(project: store.Project, job: FinetuneJob) -> Outlook:
    """Choose as a run of this job would; nothing is written.

    Raises
    ------
    UserError
        As the run would be refused.
    """
    parent = parent_named(job.checked().model)
    runs = store.training_runs(project)
    with TemporaryDirectory() as aside:
        options = write_recipe(parent, job, Path(aside)).finetuning
    assert options is not None
    learners, judges = choose(
        project,
        job,
        candidates(project, job.patient),
        share=options.held_out,
        learnt=learnt_by(parent, runs),
        before=held_out_before(runs),
    )
    labels = parent.card.labels
    learn = [one for one in _counted(project, learners, labels) if one.voxels]
    return Outlook(tuple(learn), tuple(_counted(project, judges, labels)))


def _counted(
    project: store.Project, chosen: Sequence[Candidate], labels: LabelTable
) -> list[Lesson]:
    found = []
    for one in chosen:
        voxels = taught(project, one, labels).voxels
        found.append(Lesson(one.case.id, one.case.name, voxels, one.whole))
    return found
