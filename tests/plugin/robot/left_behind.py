"""What a killed window left of its project, held against what it was told is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from killed_window import MODEL, PROJECT, digest

from diffseg.errors import DiffsegError
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.finetuning.job import FinetuneJob
from napari_diffseg.presenters.train_outlook import iter_prospect

_ENDED = ("kept", "refused")
_PATIENCE_S = 3600


@dataclass(frozen=True)
class Findings:
    """How a project stands after a kill.

    Parameters
    ----------
    damage : tuple of str
        What is not as it was saved.
    strange : tuple of str
        Half written files and files without a row: no damage, and repaired.
    acknowledged : int
        Versions, proposals and fine-tunings that the window was told to be kept.
    gone : tuple of str
        Those that are not there, or not as they were.
    training : str
        How the newest fine-tuning was found, and how it ended once it went on.
    stuck : tuple of str
        Why it could not go on, or was not told to be broken off.
    left : tuple of str
        What `recover` left, strokes that are offered aside.
    """

    damage: tuple[str, ...]
    strange: tuple[str, ...]
    acknowledged: int
    gone: tuple[str, ...]
    training: str
    stuck: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def trouble(self) -> list[str]:
        """All that must not be."""
        return [*self.damage, *self.gone, *self.stuck, *self.left]

    def line(self) -> str:
        """All of it."""
        parts = [
            "sound" if not self.damage else f"DAMAGED {self.damage}",
            f"{len(self.gone)} of {self.acknowledged} acknowledged lost",
            self.training,
        ]
        for word, what in (
            ("repaired", self.strange),
            ("LOST", self.gone),
            ("STUCK", self.stuck),
            ("LEFT", self.left),
        ):
            if what:
                parts.append(f"{word} {', '.join(what)}")
        return "; ".join(part for part in parts if part)


def findings_of(folder: Path, told: list[list[Any]]) -> Findings:
    """Check a project, compare, go on with its fine-tuning, repair, check again."""
    study = folder / PROJECT
    health = run(store.check_folder(study))
    damage = [str(one) for one in health.findings if one.trouble.is_damage]
    kept = [one for one in told if one[0] in ("version", "proposal", "run")]
    if damage:
        return Findings(tuple(damage), (), len(kept), (), "", (), ())
    strange = _without_strokes(health)
    gone = set(_gone(study, kept))
    with _home(folder):
        training, stuck = _trained_on(study)
    repaired = run(store.recover(study))
    gone |= set(_gone(study, kept))
    return Findings(
        damage=(),
        strange=strange,
        acknowledged=len(kept),
        gone=tuple(sorted(gone)),
        training=training,
        stuck=stuck,
        left=_without_strokes(repaired.health),
    )


def _without_strokes(health: store.Health) -> tuple[str, ...]:
    return tuple(
        f"{one.trouble.value} {one.where}"
        for one in health.findings
        if one.trouble is not store.Trouble.STROKES
    )


def _gone(study: Path, kept: list[list[Any]]) -> Iterator[str]:
    """Acknowledged pieces of work that are not there, or not as they were."""
    with store.open_project(study) as project:
        runs = {one.id: one.state for one in store.training_runs(project)}
        for kind, id, what in kept:
            try:
                if kind == "run":
                    same = runs.get(id) == what
                elif kind == "version":
                    one = store.correction_of(project, id)
                    same = digest(store.read_correction(project, one)) == what
                else:
                    found = store.proposal_of(project, id)
                    store.read_maps(project, found)
                    same = digest(store.read_proposed(project, found)) == what
            except DiffsegError as error:
                yield f"{kind} {id}: {error}"
            else:
                if not same:
                    yield f"{kind} {id} is another"


def _trained_on(study: Path) -> tuple[str, tuple[str, ...]]:
    """How the newest fine-tuning was found and ended; and what is wrong with that."""
    runs = _runs(study)
    if not runs:
        return "", ()
    newest = runs[-1]
    if newest.state in _ENDED:
        return f"fine-tuning: {newest.state}", ()
    job = FinetuneJob(project=str(study), model=MODEL, annotator="robot")
    stuck = []
    if not run(iter_prospect(job)).resumable:
        stuck.append(f"a {newest.state} fine-tuning is not offered to go on")
    program = ["-c", "from diffseg.cli import main; main()"]
    command = ["project", "finetune", study, "--resume"]
    done = subprocess.run(
        [sys.executable, *program, *command],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )
    again = _runs(study)[-1]
    if done.returncode != 0 or again.state not in _ENDED:
        stuck.append(f"it does not go on: {done.stderr.strip()[-500:]}")
    return f"fine-tuning: {newest.state}, gone on with: {again.state}", tuple(stuck)


def _runs(study: Path) -> tuple[store.TrainingRun, ...]:
    with store.open_project(study) as project:
        return store.training_runs(project)


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """The window's home is this process's, for as long as the block runs."""
    before = {name: os.environ.get(name) for name in ("DIFFSEG_HOME", "DIFFSEG_DEVICE")}
    os.environ.update(DIFFSEG_HOME=str(folder), DIFFSEG_DEVICE="cpu")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
