"""A fine-tuning's beginning: its place in the project, its cases, its recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model, list_models, parent_of, verify_model
from diffseg.progress import Work
from diffseg.project import store
from diffseg.project.store.stray_runs import FOLDER
from diffseg_training.finetuning.gathering import candidates
from diffseg_training.finetuning.holding_out import choose
from diffseg_training.finetuning.job import FinetuneJob
from diffseg_training.finetuning.materials import (
    LIST,
    Materials,
    read_materials,
    write_materials,
)
from diffseg_training.finetuning.recipe import read_run_recipe, write_recipe
from diffseg_training.recipe import Recipe

_OPEN = ("running", "cancelled", "failed")


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A run that is noted in the project and has all that it needs.

    Parameters
    ----------
    job : FinetuneJob
        As the run began with it; who resumes it may have named a device.
    project_id, id : str
        Of the project and of the run.
    folder : Path
        Of the run.
    """

    job: FinetuneJob
    project_id: str
    id: str
    folder: Path
    parent: ModelFolder
    recipe: Recipe
    materials: Materials


def begin(job: FinetuneJob) -> Work[Begun]:
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


def run_folder(project: store.Project, id: str) -> Path:
    """Folder of a run within its project."""
    return project.folder / FOLDER / id


def _begun(project: store.Project, job: FinetuneJob) -> Work[Begun]:
    parent = parent_named(job.model)
    _note_the_dead(project)
    known = candidates(project, job.patient)
    earlier = [one for one in store.training_runs(project) if one.settings.get("job")]
    card = parent.card
    run_id = store.new_run_id()
    folder = run_folder(project, run_id)
    try:
        recipe = write_recipe(parent, job, folder)
        assert recipe.finetuning is not None
        learners, judges = choose(
            project,
            job,
            known,
            share=recipe.finetuning.held_out,
            learnt=learnt_by(parent, earlier),
            before=held_out_before(earlier),
        )
        materials = yield from write_materials(
            project, learners, judges, card.labels, folder
        )
        ids = materials.ids
        learnt, held = (
            [ids[one.case] for one in materials.dataset.split(name)]
            for name in ("train", "val")
        )
        settings = {
            "seed": job.seed,
            "job": job.as_json(),
            "held_out": held,
            "host": _host(project),
        }
        store.begin_run(
            project,
            model=(card.id, card.version, card.sha256),
            settings=settings,
            cases=learnt,
            annotator=job.annotator,
            id=run_id,
        )
    except BaseException:
        _swept(folder)
        raise
    return Begun(job, project.manifest.id, run_id, folder, parent, recipe, materials)


def _taken_up(project: store.Project, job: FinetuneJob) -> Begun:
    runs = [one for one in store.training_runs(project) if one.settings.get("job")]
    found = next(
        (
            one
            for one in reversed(runs)
            if one.state in _OPEN and run_folder(project, one.id).is_dir()
        ),
        None,
    )
    if found is None:
        raise UserError(
            f"no fine-tuning of {project.folder} was broken off: leave out --resume"
        )
    folder = run_folder(project, found.id)
    _require_dead(project, found)
    first = FinetuneJob.from_json(found.settings["job"])
    mine = FinetuneJob.from_json(
        {**first.as_json(), "project": job.project, "device": job.device}
    )
    id, version, sha256 = found.model
    parent = parent_named(f"{id}@{version}")
    if parent.card.sha256 != sha256:
        raise UserError(
            f"model {parent.name} is not the one that the run began with (its checksum "
            "differs): begin anew, without --resume"
        )
    recipe = read_run_recipe(folder, mine)
    materials = read_materials(folder, parent.card.labels)
    store.resume_run(project, found.id, annotator=job.annotator)
    return Begun(mine, project.manifest.id, found.id, folder, parent, recipe, materials)


def is_broken_off(project: store.Project, one: store.TrainingRun) -> bool:
    """Whether a run was cancelled, failed or killed here, and can go on."""
    folder = run_folder(project, one.id)
    if one.state not in _OPEN or not (folder / LIST).is_file():
        return False
    return one.state != "running" or _is_dead(project, one)


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


def _require_dead(project: store.Project, one: store.TrainingRun) -> None:
    folder = run_folder(project, one.id)
    elsewhere = one.state == "running" and one.settings.get("host") != _host(project)
    if elsewhere or _is_alive(folder):
        where = " on another machine" if elsewhere else ""
        raise UserError(
            f"the fine-tuning in {folder} is still under way{where}: wait for it, or "
            "end it"
        )


def _host(project: store.Project) -> str:
    """The machine, not by its name: locks tell nothing of other machines."""
    return project.journal_folder.name


def _note_the_dead(project: store.Project) -> None:
    """Say of runs whose process was killed that they failed; they can be resumed."""
    for one in store.training_runs(project):
        if run_folder(project, one.id).is_dir() and _is_dead(project, one):
            store.end_run(project, one.id, "failed", {"why": "its process ended"})


def _is_dead(project: store.Project, one: store.TrainingRun) -> bool:
    """Whether a run that is noted as running was killed, on this machine."""
    mine = one.state == "running" and one.settings.get("host") == _host(project)
    return mine and not _is_alive(run_folder(project, one.id))


def _is_alive(folder: Path) -> bool:
    try:
        with FileLock(str(folder / ".lock")).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _swept(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
