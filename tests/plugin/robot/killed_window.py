"""The window that `kill_window.py` kills: painted in while it does something else.

What it has done it tells, unbuffered: each dab before it is made (``dabs.log``), what
it begins and what it was told to be kept (``told.log``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

BRUSH = 9
PAUSE_MS = 15
WARM = 20
"""Dabs before anything else begins: the first one waits for the screen's shaders."""
PROJECT = "study"
MODEL = "hippocampus-mri"
WORKS = ("painting", "proposing", "saving", "fine-tuning")
MEMBERS, STEPS = 3, 6
TINY = (
    "patch=[16, 16, 16]",
    "augmentation.elastic=0.0",
    "loading.workers=0",
    "length.steps=8",
    "length.validations=2",
    "length.log_steps=1",
)
"""Settings of a fine-tuning of seconds, in which the gate has its part, too."""


class Log:
    """Lines of JSON that are written at once: a kill takes none that is whole."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, *what: Any) -> None:
        os.write(self._file, (json.dumps(what) + "\n").encode())


def read_log(path: Path) -> list[list[Any]]:
    """What was told; a line cut short was not."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def digest(mask: NDArray[np.uint8]) -> str:
    """Checksum of a mask's voxels."""
    return hashlib.sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()


class Painting:
    """Nothing but strokes."""

    def __init__(self, window: Any, tell: Log) -> None:
        self._begun, self._tell = False, tell

    def __call__(self, case: Any) -> None:
        if not self._begun:
            self._begun = True
            self._tell("begun")


class Proposing:
    """One proposal after another; each is told of once the project has it."""

    def __init__(self, window: Any, tell: Log) -> None:
        self._window, self._tell = window, tell
        self._asked, self._begun, self._kept = False, False, None
        dock = window.dock
        dock.propose.ask_replace = lambda touched, word: False  # strokes stay
        handle(dock, "propose.members").setValue(MEMBERS)
        handle(dock, "propose.steps").setValue(STEPS)

    def __call__(self, case: Any) -> None:
        kept, busy = case.entry.origin.proposal, self._window.desk.session.busy
        if kept != self._kept:
            self._kept, self._asked, self._begun = kept, False, False
            self._tell("proposal", kept, digest(case.proposal.mask))
            self._tell("ended")
        button = handle(self._window.dock, "propose.run")
        if not self._asked and busy is None and button.isEnabled():
            self._asked = True
            button.click()
        elif self._asked and not self._begun and busy and busy.fraction is not None:
            self._begun = True  # the engine is there, and at work
            self._tell("begun")


class Saving:
    """One version after another."""

    def __init__(self, window: Any, tell: Log) -> None:
        self._window, self._tell = window, tell
        self._asked, self._version, self._digest = False, 0, ""

    def __call__(self, case: Any) -> None:
        from napari_diffseg.presenters.saving import needs_saving

        entry = case.entry
        if self._asked and entry.version > self._version:
            self._asked = False
            self._tell("version", entry.origin.parent, self._digest)
            self._tell("ended")
        elif not self._asked and needs_saving(case):
            self._asked, self._version = True, entry.version
            self._digest = digest(case.annotation.values)
            self._tell("begun")
            self._window.dock.project.save_requested.emit()


class FineTuning:
    """One fine-tuning after another, begun by the panel's button."""

    def __init__(self, window: Any, tell: Log) -> None:
        self._window, self._tell, self._running = window, tell, False
        self._train = train = window.desk.learning.train
        ended = train._doors.ended

        def told(done: Any) -> None:
            tell("run", done.run_id, done.outcome)
            ended(done)

        train._doors = replace(train._doors, begin=self._begin, ended=told)
        handle(window.dock, "train.fold").click()

    def __call__(self, case: Any) -> None:
        if self._running and not self._train.running:
            self._tell("ended")
        self._running = self._train.running
        button = handle(self._window.dock, "train.run")
        if not self._running and button.isEnabled():
            button.click()

    def _begin(self, job: Any) -> Any:
        """As the panel does; its stages are told, from when its process has begun."""
        from napari_diffseg.presenters.train_doors import begin_apart

        work, stage = begin_apart(replace(job, settings=TINY)), "start"
        try:
            while True:
                sign = next(work)
                if sign.stage != stage:
                    if stage == "start":
                        self._tell("begun")
                    stage = sign.stage
                    self._tell("stage", stage)
                yield sign
        except StopIteration as stop:
            return stop.value
        finally:
            work.close()


_WORKS: dict[str, Callable[[Any, Log], Callable[[Any], None]]] = {
    "painting": Painting,
    "proposing": Proposing,
    "saving": Saving,
    "fine-tuning": FineTuning,
}


def handle(dock: Any, name: str) -> Any:
    """A control by its handle."""
    from qtpy.QtWidgets import QWidget

    return dock.findChild(QWidget, f"diffseg.{name}")


def dabber(viewer: Any, folder: Path, seed: int, values: int) -> Callable[[], bool]:
    """What makes one dab at random, and tells of it before."""
    from napari_diffseg.layers.mask_layer import MaskLayer

    rng, log = random.Random(seed), Log(folder / "dabs.log")
    shape = nib.load(folder / "image.nii.gz").shape[::-1]

    def dab() -> bool:
        masks = [one for one in viewer.layers if isinstance(one, MaskLayer)]
        if not masks:
            return False
        (mask,) = masks
        mask.brush_size = BRUSH
        if rng.random() < 0.02:
            viewer.dims.set_point(0, rng.randrange(shape[0]))
        # The first axis is in mm from the patient's feet: its slice, not its point.
        plane = int(viewer.dims.current_step[0])
        place = (plane, rng.randrange(shape[1]), rng.randrange(shape[2]))
        value = rng.randrange(values)
        log(time.time(), place, value)
        mask.paint(place, value)
        return True

    return dab


def show(folder: Path, seed: int, work: str) -> None:
    """Open a window and paint until killed.

    Where the folder holds a project, its first case is opened, and `work` done.
    """
    import napari
    from qtpy.QtCore import QTimer

    from diffseg.project.journal import Journal
    from napari_diffseg.plugin.window import assemble, dock_into

    study = folder / PROJECT
    there = study.exists()
    engine = None if there and work in ("proposing", "fine-tuning") else NoEngine()
    viewer = napari.Viewer()
    journal = Journal(folder / "journal")
    window = assemble(viewer, engine=engine, journal=journal)
    dock_into(viewer, window)
    if engine is None:
        window.desk.model.choose(MODEL)
    window.desk.open(str(study if there else folder / "image.nii.gz"))
    dab = dabber(viewer, folder, seed, 3 if there else 2)
    tell, doing, dabs = Log(folder / "told.log"), None, 0

    def turn() -> None:
        nonlocal doing, dabs
        desk = window.desk
        if not dab():
            if desk.project.rows and desk.session.busy is None:
                desk.cases.step(1)
            return
        dabs += 1
        case = desk.session.current
        if there and dabs >= WARM and case is not None and case.entry is not None:
            doing = doing or _WORKS[work](window, tell)
            doing(case)

    timer = QTimer()
    timer.timeout.connect(turn)
    timer.start(PAUSE_MS)
    napari.run()


class NoEngine:
    """Nothing is proposed here."""

    on_state = None

    def start(self) -> None: ...
    def warm(self, model: str = "") -> None: ...
    def close(self) -> None: ...
    def machine(self, device: str = "auto") -> Any:
        from diffseg.engine import Machine

        return Machine("cpu", "none", 1, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", choices=WORKS, default=WORKS[0])
    given = parser.parse_args()
    show(given.folder, given.seed, given.work)
