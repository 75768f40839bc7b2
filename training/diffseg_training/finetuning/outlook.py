"""What a fine-tuning would learn from and be judged by, before it begins.

Loads without torch, for the window to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from diffseg.domain import LabelTable
from diffseg.domain.slice_labels import SliceLabels
from diffseg.project import store
from diffseg_training.finetuning.begun import (
    held_out_before,
    learnt_by,
    parent_named,
)
from diffseg_training.finetuning.gathering import Candidate, Taught
from diffseg_training.finetuning.holding_out import choose
from diffseg_training.finetuning.job import FinetuneJob
from diffseg_training.finetuning.labelling import known_to, require_present, teach_of
from diffseg_training.finetuning.materials import Teach
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
    slices : int
        Of which something is known, where the model learns from that, too.
    """

    id: str
    name: str
    voxels: int
    whole: bool
    slices: int = 0


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
        recipe = write_recipe(parent, job, Path(aside))
    options = recipe.finetuning
    assert options is not None
    learners, judges = choose(
        project,
        job,
        known_to(project, job.patient, recipe),
        share=options.held_out,
        learnt=learnt_by(parent, runs),
        before=held_out_before(runs),
    )
    labels, teach = parent.card.labels, teach_of(recipe)
    told = _taught(project, learners, labels, teach)
    learn = [_lesson(*pair) for pair in told if pair[1].voxels or pair[1].slices]
    if learn and recipe.objective.assembled:
        said = {
            one.case.id: SliceLabels(labels.names, found.states, "project")
            for one, found in told
            if found.states is not None and found.slices
        }
        require_present(labels, said)
    held = (_lesson(*pair) for pair in _taught(project, judges, labels, teach))
    return Outlook(tuple(learn), tuple(held))


def _taught(
    project: store.Project,
    chosen: Sequence[Candidate],
    labels: LabelTable,
    teach: Teach,
) -> list[tuple[Candidate, Taught]]:
    return [(one, teach(project, one, labels)) for one in chosen]


def _lesson(one: Candidate, found: Taught) -> Lesson:
    case = one.case
    return Lesson(case.id, case.name, found.voxels, one.whole, found.slices)
