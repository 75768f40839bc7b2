"""Runs in a project's table: which died, which can go on, and on which machine."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from diffseg.errors import UserError
from diffseg.project import store
from diffseg.project.store.stray_runs import FOLDER
from diffseg_training.finetuning.job import FinetuneJob, RunJob
from diffseg_training.finetuning.materials import LIST

_OPEN = ("running", "cancelled", "failed")


def run_folder(project: store.Project, id: str) -> Path:
    """Folder of a run within its project."""
    return project.folder / FOLDER / id


def kind_of(one: store.TrainingRun) -> str:
    """What kind of job a run carries out; see `RunJob.kind`."""
    return str(one.settings.get("kind", FinetuneJob.kind))  # the first that there was


def settings_of(project: store.Project, job: RunJob, **more: Any) -> Mapping[str, Any]:
    """What the table keeps of how a run was begun; `more` is kept beside it."""
    return {
        "seed": job.seed,
        "kind": job.kind,
        "job": job.as_json(),
        "host": host_of(project),
        **more,
    }


def broken_off(project: store.Project, job: RunJob) -> store.TrainingRun:
    """The latest run of a job's kind that did not come to its end.

    Raises
    ------
    UserError
        There is none, or it is still under way.
    """
    mine = [
        one
        for one in store.training_runs(project)
        if one.settings.get("job") and kind_of(one) == job.kind
    ]
    for one in reversed(mine):
        if one.state in _OPEN and run_folder(project, one.id).is_dir():
            _require_dead(project, one, job.title)
            return one
    raise UserError(
        f"no {job.title} of {project.folder} was broken off: leave out --resume"
    )


def is_broken_off(project: store.Project, one: store.TrainingRun) -> bool:
    """Whether a run was cancelled, failed or killed here, and can go on."""
    folder = run_folder(project, one.id)
    if one.state not in _OPEN or not (folder / LIST).is_file():
        return False
    return one.state != "running" or _is_dead(project, one)


def note_the_dead(project: store.Project) -> None:
    """Say of runs whose process was killed that they failed; they can be resumed."""
    for one in store.training_runs(project):
        if run_folder(project, one.id).is_dir() and _is_dead(project, one):
            store.end_run(project, one.id, "failed", {"why": "its process ended"})


def host_of(project: store.Project) -> str:
    """The machine, not by its name: locks tell nothing of other machines."""
    return project.journal_folder.name


def swept(folder: Path) -> None:
    """Remove the folder of a run that could not begin."""
    shutil.rmtree(folder, ignore_errors=True)


def _require_dead(project: store.Project, one: store.TrainingRun, title: str) -> None:
    folder = run_folder(project, one.id)
    elsewhere = one.state == "running" and one.settings.get("host") != host_of(project)
    if elsewhere or _is_alive(folder):
        where = " on another machine" if elsewhere else ""
        raise UserError(
            f"the {title} in {folder} is still under way{where}: wait for it, or end it"
        )


def _is_dead(project: store.Project, one: store.TrainingRun) -> bool:
    """Whether a run that is noted as running was killed, on this machine."""
    mine = one.state == "running" and one.settings.get("host") == host_of(project)
    return mine and not _is_alive(run_folder(project, one.id))


def _is_alive(folder: Path) -> bool:
    try:
        with FileLock(str(folder / ".lock")).acquire(timeout=0):
            return False
    except Timeout:
        return True
