"""Kill a napari window while somebody paints in it, and tell what is lost.

``python tests/plugin/robot/kill_window.py --times 50``
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from diffseg.progress import run
from diffseg.project import store
from diffseg.project.journal import Journal
from napari_diffseg.plugin.screen import virtual_screen

PROJECT = "study"
SHAPE = (40, 160, 160)
BRUSH = 9
PAUSE_MS = 15
PATIENCE_S = 120.0


def child(folder: Path, seed: int) -> None:
    """Open a window and paint until killed; each dab is told of before it is made.

    Where the folder holds a project, its case is opened and painted in, and saved
    now and then.
    """
    import napari
    from qtpy.QtCore import QTimer

    from diffseg.engine import Machine
    from napari_diffseg.layers.mask_layer import MaskLayer
    from napari_diffseg.plugin.window import assemble, dock_into

    class NoEngine:
        """Nothing is proposed here."""

        on_state = None

        def start(self) -> None: ...
        def warm(self, model: str = "") -> None: ...
        def close(self) -> None: ...
        def machine(self, device: str = "auto") -> Machine:
            return Machine("cpu", "none", 1, 1)

    viewer = napari.Viewer()
    journal = Journal(folder / "journal")
    window = assemble(viewer, engine=NoEngine(), journal=journal)  # type: ignore[arg-type]
    dock_into(viewer, window)
    study = folder / PROJECT
    window.desk.open(str(study if study.exists() else folder / "image.nii.gz"))
    rng = random.Random(seed)
    log = os.open(folder / "dabs.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    timer = QTimer()

    def dab() -> None:
        masks = [one for one in viewer.layers if isinstance(one, MaskLayer)]
        if not masks:
            if window.desk.project.rows and window.desk.session.busy is None:
                window.desk.cases.step(1)
            return
        (mask,) = masks
        mask.brush_size = BRUSH
        if rng.random() < 0.02:
            viewer.dims.set_point(0, rng.randrange(SHAPE[0]))
        # The first axis is in mm from the patient's feet: its slice, not its point.
        plane = int(viewer.dims.current_step[0])
        place = (plane, rng.randrange(SHAPE[1]), rng.randrange(SHAPE[2]))
        value = rng.choice((0, 1))
        told = json.dumps([time.time(), place, value]) + "\n"
        os.write(log, told.encode())
        mask.paint(place, value)
        if rng.random() < 0.005:
            window.dock.project.save_requested.emit()

    timer.timeout.connect(dab)
    timer.start(PAUSE_MS)
    napari.run()


def disc() -> NDArray[np.bool_]:
    """What one dab sets, about its middle."""
    from napari.layers import Labels

    side = 2 * BRUSH + 1
    layer = Labels(np.zeros((side, side), np.uint8))
    layer.brush_size = BRUSH
    layer.paint((BRUSH, BRUSH), 1)
    return np.asarray(layer.data) > 0


def first_lost(
    dabs: list[tuple[float, list[int], int]], kept: NDArray[np.uint8]
) -> int:
    """Index of the earliest dab of which some voxel is not there, or their count."""
    since = np.full(SHAPE, -1, np.int32)  # the dab since which a voxel differs
    rows, columns = np.nonzero(disc())
    for index, (_, (plane, row, column), value) in enumerate(dabs):
        y, x = rows - BRUSH + row, columns - BRUSH + column
        inside = (y >= 0) & (y < SHAPE[1]) & (x >= 0) & (x < SHAPE[2])
        at = (plane, y[inside], x[inside])
        same = kept[at] == value
        here = since[at]
        here[same] = -1
        here[~same & (here < 0)] = index
        since[at] = here
    lost = since[since >= 0]
    return int(lost.min()) if lost.size else len(dabs)


def kill_once(after: float, seed: int, project: bool) -> tuple[float, int, int]:
    """Seconds and dabs that one kill cost, and how many had been made."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(seed).normal(size=SHAPE[::-1])
        # Axes to the patient's left, back and feet are shown as they are stored.
        image = nib.Nifti1Image(noise.astype(np.float32), np.diag([-1, -1, -1, 1]))
        nib.save(image, folder / "image.nii.gz")
        if project:
            with store.create_project(folder / PROJECT, annotator="robot") as made:
                store.add_case(made, folder / "image.nii.gz", annotator="robot")
        arguments = [sys.executable, __file__, "--child", name, "--seed", str(seed)]
        settings = {
            "DIFFSEG_HOME": name,
            "NAPARI_CONFIG": str(folder / "napari.yaml"),
        }
        painter = subprocess.Popen(
            arguments,
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        log, deadline = folder / "dabs.log", time.monotonic() + PATIENCE_S
        while not (log.exists() and log.stat().st_size):
            if time.monotonic() > deadline or painter.poll() is not None:
                raise SystemExit("the window did not come to be painted in")
            time.sleep(0.02)
        time.sleep(after)
        painter.send_signal(signal.SIGKILL)
        killed = time.time()
        painter.wait()
        lines = log.read_text().splitlines(keepends=True)
        dabs = [tuple(json.loads(one)) for one in lines if one.endswith("\n")]
        kept = kept_in_project(folder / PROJECT) if project else kept_in(folder)
        lost = first_lost(dabs, kept)
        seconds = killed - dabs[lost][0] if lost < len(dabs) else 0.0
        return seconds, len(dabs) - lost, len(dabs)


def kept_in(folder: Path) -> NDArray[np.uint8]:
    """The mask that the journal has."""
    journal = Journal(folder / "journal")
    kept = np.zeros(SHAPE, np.uint8)
    for leftover in journal.leftovers():
        kept = journal.restore(leftover.id).values
    journal.close()
    return kept


def kept_in_project(folder: Path) -> NDArray[np.uint8]:
    """The mask that is there once the project is opened again, which is sound."""
    with store.open_project(folder) as project:
        health = run(store.check(project))
        if not health.sound:
            raise SystemExit(f"the project is damaged: {health.findings}")
        journal = Journal(project.journal_folder)
        found = [journal.restore(one.id).values for one in journal.leftovers()]
        journal.close()
        (line,) = store.list_cases(project).lines
        newest = store.newest_correction(project, line.id)
        if newest is not None:
            found.append(np.array(store.read_correction(project, newest)))
    return found[0] if found else np.zeros(SHAPE, np.uint8)


def main() -> int:
    """Kill as often as asked, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=5.0, help="s of painting")
    parser.add_argument("--most", type=float, default=2.0, help="s that may be lost")
    parser.add_argument(
        "--project", action="store_true", help="paint in a case of a project"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.seed)
        return 0
    rng, losses = random.Random(given.seed), []
    with virtual_screen():
        for turn in range(given.times):
            after = rng.uniform(0.1, given.longest)
            seconds, lost, made = kill_once(after, given.seed + turn, given.project)
            losses.append(seconds)
            print(
                f"{turn + 1:3}: killed after {after:.1f} s and {made:4} dabs: "
                f"{seconds:.2f} s lost ({lost} dabs)",
                flush=True,
            )
    losses.sort()
    print(
        f"{given.times} kills: {losses[-1]:.2f} s lost at most, "
        f"{losses[len(losses) // 2]:.2f} s in the median; "
        f"{sum(one > given.most for one in losses)} over {given.most:g} s"
    )
    return int(losses[-1] > given.most)


if __name__ == "__main__":
    sys.exit(main())
