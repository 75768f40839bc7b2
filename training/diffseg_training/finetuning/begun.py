"""A run's beginning: its place in the project, its cases, its recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model, list_models, parent_of, verify_model
from diffseg.progress import Work
from diffseg.project import store
from diffseg_training.finetuning.holding_out import choose
from diffseg_training.finetuning.job import FinetuneJob, RunJob
from diffseg_training.finetuning.labelling import (
    check_labels,
    known_to,
    nothing_of,
    teach_of,
)
from diffseg_training.finetuning.materials import (
    Materials,
    read_materials,
    write_materials,
)
from diffseg_training.finetuning.recipe import read_run_recipe, write_recipe
from diffseg_training.finetuning.records import (
    broken_off,
    is_broken_off,
    note_the_dead,
    run_folder,
    settings_of,
    swept,
)
from diffseg_training.recipe import Recipe

AnyJob = TypeVar("AnyJob", bound=RunJob)


@dataclass(frozen=True, slots=True, eq=False)
class Begun(Generic[AnyJob]):
    """A run that is noted in the project and has all that it needs.

    Parameters
    ----------
    job : RunJob
        As the run began with it; who resumes it may have named a device.
    project_id, id : str
        Of the project and of the run.
    folder : Path
        Of the run.
    parent : ModelFolder
        That the new model is judged against.
    card : ModelCard
        By which the network is asked while it learns.
    """

    job: AnyJob
    project_id: str
    id: str
    folder: Path
    parent: ModelFolder
    card: ModelCard
    recipe: Recipe
    materials: Materials


def begin(job: FinetuneJob) -> Work[Begun[FinetuneJob]]:
    """Begin a run, or take up the one that was broken off.

    Raises
    ------
    UserError
        Project, model, cases or recipe cannot be used; nothing is left of it then.
    """
    with store.open_project(job.project) as project:
        if job.resume:
            return _taken_up(project, job)
        return (yield from _begun(project, job))


def _begun(project: store.Project, job: FinetuneJob) -> Work[Begun[FinetuneJob]]:
    parent = parent_named(job.model)
    note_the_dead(project)
    earlier = earlier_runs(project)
    card = parent.card
    run_id = store.new_run_id()
    folder = run_folder(project, run_id)
    try:
        recipe = write_recipe(parent, job, folder)
        assert recipe.finetuning is not None
        learners, judges = choose(
            project,
            job,
            known_to(project, job.patient, recipe),
            share=recipe.finetuning.held_out,
            learnt=learnt_by(parent, earlier),
            before=held_out_before(earlier),
        )
        materials = yield from write_materials(
            project,
            learners,
            judges,
            card.labels,
            folder,
            teach=teach_of(recipe),
            nothing=nothing_of(recipe),
        )
        check_labels(recipe, materials)
        note_begun(project, job, card, run_id, materials)
    except BaseException:
        swept(folder)
        raise
    home = project.manifest.id
    return Begun(job, home, run_id, folder, parent, card, recipe, materials)


def _taken_up(project: store.Project, job: FinetuneJob) -> Begun[FinetuneJob]:
    found, mine, parent = begun_before(project, job)
    folder, card = run_folder(project, found.id), parent.card
    recipe = read_run_recipe(folder, mine)
    materials = read_materials(folder, card.labels)
    store.resume_run(project, found.id, annotator=job.annotator)
    home = project.manifest.id
    return Begun(mine, home, found.id, folder, parent, card, recipe, materials)


def note_begun(
    project: store.Project,
    job: RunJob,
    card: ModelCard,
    id: str,
    materials: Materials,
    *,
    judged: bool = True,
) -> None:
    """Note in the project that a run begins, and with which cases.

    Parameters
    ----------
    card : ModelCard
        Of the model that it is judged against.
    judged : bool
        Whether split ``val`` judges; else weights are chosen on it, and no more.
    """
    learnt, held = materials.sides()
    store.begin_run(
        project,
        model=(card.id, card.version, card.sha256),
        settings=settings_of(project, job, held_out=list(held) if judged else []),
        cases=learnt,
        annotator=job.annotator,
        id=id,
    )


def begun_before(
    project: store.Project, job: AnyJob
) -> tuple[store.TrainingRun, AnyJob, ModelFolder]:
    """A run that was broken off, its job in today's place, and its parent.

    Raises
    ------
    UserError
        There is none, it is under way, or its parent is not the one it began with.
    """
    found = broken_off(project, job)
    first = type(job).from_json(found.settings["job"])
    mine = type(job).from_json(
        {**first.as_json(), "project": job.project, "device": job.device}
    )
    id, version, sha256 = found.model
    parent = parent_named(f"{id}@{version}")
    if parent.card.sha256 != sha256:
        raise UserError(
            f"model {parent.name} is not the one that the run began with (its checksum "
            "differs): begin anew, without --resume"
        )
    return found, mine, parent


def earlier_runs(project: store.Project) -> list[store.TrainingRun]:
    """Runs that were begun by a job, the first first."""
    return [one for one in store.training_runs(project) if one.settings.get("job")]


def parent_named(name: str) -> ModelFolder:
    """The model to start from.

    Raises
    ------
    UserError
        There is none, it is no model of the user's, or its weights are not its card's.
    """
    parent = find_model(name)
    if not any(one.path == parent.path for one in list_models()):
        raise UserError(
            f"{name} is a folder outside of your models, and a version needs a place "
            f"among them: diffseg models add {name} --id ID",
        )
    verify_model(parent)
    return parent


def learnt_by(parent: ModelFolder, runs: Sequence[store.TrainingRun]) -> frozenset[str]:
    """Cases that a model, or one that it came from, learnt from in this project."""
    models, line = list_models(), set()
    one: ModelFolder | None = parent
    while one is not None and one.card.sha256 not in line:
        line.add(one.card.sha256)
        one = _uncalibrated_parent(one, models)
    return frozenset(
        case
        for run in runs
        if run.state == "kept" and _weights(run.result) in line
        for case in run.cases
    )


def _uncalibrated_parent(
    one: ModelFolder, models: tuple[ModelFolder, ...]
) -> ModelFolder | None:
    """The next version up the tree that has other weights."""
    above = parent_of(one, models)
    while above is not None and above.card.sha256 == one.card.sha256:
        above = parent_of(above, models)
    return above


def _weights(result: Mapping[str, Any] | None) -> str | None:
    return None if result is None else result.get("sha256")


def held_out_before(runs: Iterable[store.TrainingRun]) -> frozenset[str]:
    """Cases that earlier runs held out."""
    return frozenset(id for one in runs for id in one.settings.get("held_out", ()))


__all__ = [
    "AnyJob",
    "Begun",
    "begin",
    "begun_before",
    "earlier_runs",
    "held_out_before",
    "is_broken_off",
    "learnt_by",
    "note_begun",
    "parent_named",
    "run_folder",
]
