"""Kill a napari window while somebody paints in it, and tell what is lost.

``python tests/plugin/robot/kill_window.py --times 50`` paints on an image; with
``--project`` in a case of a project, while the window paints, proposes, saves or
fine-tunes, in turn. `tests/project/kill_all.py` runs it after the store's kills.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from kill_scene import (
    SHAPE,
    first_lost,
    kept_in,
    kept_in_project,
    make_image,
    make_project,
)
from killed_window import PROJECT, WORKS, read_log
from left_behind import Findings, findings_of

from napari_diffseg.plugin.screen import virtual_screen

PATIENCE_S = 1800.0
GRACE_S = 30.0
"""How long the window's other processes may take to end by themselves."""
LONGEST_S = {"painting": 5.0, "proposing": 8.0, "saving": 5.0, "fine-tuning": 5.0}
STAGES = ("train", "parent, held out", "child, held out", "gather")
"""Of a fine-tuning: in turn, each is waited for before the random moment."""


@dataclass(frozen=True)
class Kill:
    """What one kill cost.

    Parameters
    ----------
    work : str
        What the window did meanwhile.
    after : float
        Seconds from its begin, or a stage's, to the kill.
    midst : bool
        Whether it was under way, and not between two of its kind.
    stage : str
        Which stage a fine-tuning had come to.
    seconds : float
        Of strokes that are lost.
    lost, dabs : int
        How many, of how many.
    ended : float
        Seconds until the last other process of the window was gone.
    left : int
        Processes that had to be ended.
    found : Findings, optional
        Of the project.
    """

    work: str
    after: float
    midst: bool
    stage: str
    seconds: float
    lost: int
    dabs: int
    ended: float
    left: int
    found: Findings | None

    @property
    def trouble(self) -> list[str]:
        """All that must not be, lost strokes aside."""
        told = [] if self.found is None else self.found.trouble
        return [*told, *([f"{self.left} processes left"] if self.left else [])]

    def line(self) -> str:
        """All of it."""
        told = (
            f"{self.work}: killed after {self.after:.1f} s and {self.dabs:4} dabs: "
            f"{self.seconds:.2f} s lost ({self.lost} dabs)"
        )
        if self.found is None:
            return told
        told += f", at {self.stage!r}" if self.stage else ""
        told += "" if self.midst else ", between two"
        told += f"; {self.left} processes left, the last ended in {self.ended:.1f} s"
        return f"{told}; {self.found.line()}"


def processes_of(folder: Path) -> list[psutil.Process]:
    """Whatever a window that was started with this home has started, forks included."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            zombie = one.status() == psutil.STATUS_ZOMBIE
            if not zombie and one.environ().get("DIFFSEG_HOME") == str(folder):
                found.append(one)
    return found


def ended_by_themselves(folder: Path) -> tuple[float, int]:
    """Seconds until none is left; and how many had to be ended."""
    began = time.monotonic()
    while (found := processes_of(folder)) and time.monotonic() - began < GRACE_S:
        time.sleep(0.1)
    end_all(found)
    return time.monotonic() - began, len(found)


def end_all(found: Iterable[psutil.Process]) -> None:
    for one in found:
        with suppress(psutil.Error):
            one.kill()


def kill_once(
    after: float,
    seed: int,
    work: str = "painting",
    *,
    project: bool,
    stage: str = "",
    all_: bool = False,
) -> Kill:
    """Start a window, kill it so long after it began its work, and compare.

    Or so long after the first fine-tuning came to `stage`. With `all_`, its other
    processes are killed first, as when the machine goes down.
    """
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        folder = Path(name)
        if project:
            make_project(folder, seed)
        else:
            make_image(folder / "image.nii.gz", SHAPE, seed)
        painter = start(folder, seed, work)
        try:
            log = folder / ("told.log" if project else "dabs.log")
            wait_for(log, painter, stage)
            time.sleep(after)
        finally:
            if all_:
                others = (p for p in processes_of(folder) if p.pid != painter.pid)
                end_all(others)
            painter.send_signal(signal.SIGKILL)
            killed = time.time()
            painter.wait()
            ended, left = ended_by_themselves(folder)
        told, dabs = read_log(folder / "told.log"), read_log(folder / "dabs.log")
        turns = [one for (one, *_) in told if one in ("begun", "ended")]
        kept = kept_in_project(folder / PROJECT) if project else kept_in(folder)
        lost = first_lost(dabs, kept)
        seconds = killed - dabs[lost][0] if lost < len(dabs) else 0.0
        found = findings_of(folder, told) if project else None
        midst = turns[-1:] == ["begun"]
        stages = ["", *(what[0] for (one, *what) in told if one == "stage")]
        at, count = stages[-1], (len(dabs) - lost, len(dabs))
        return Kill(work, after, midst, at, seconds, *count, ended, left, found)


def start(folder: Path, seed: int, work: str) -> subprocess.Popen[bytes]:
    """Start the window; all that it makes lies in `folder`."""
    (folder / "tmp").mkdir()
    settings = {
        "DIFFSEG_HOME": str(folder),
        "DIFFSEG_DEVICE": "cpu",
        "NAPARI_CONFIG": str(folder / "napari.yaml"),
        "TMPDIR": str(folder / "tmp"),
    }
    script = Path(__file__).with_name("killed_window.py")
    return subprocess.Popen(
        [sys.executable, script, folder, "--seed", str(seed), "--work", work],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "window.log").open("wb"),
    )


def wait_for(log: Path, painter: subprocess.Popen[bytes], stage: str = "") -> None:
    """Wait until the window has told of something, or of a stage."""
    deadline = time.monotonic() + PATIENCE_S
    while not (["stage", stage] in read_log(log) if stage else _told_of(log)):
        if time.monotonic() > deadline or painter.poll() is not None:
            said = (log.parent / "window.log").read_text()[-2000:]
            raise SystemExit(f"the window did not come to {stage or log.name}: {said}")
        time.sleep(0.02)


def _told_of(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 0


def kills(
    times: int, seed: int, *, project: bool, longest: float | None = None
) -> Iterator[Kill]:
    """Kill that many windows, in turn while they do each thing; prints each."""
    rng = random.Random(seed)
    with virtual_screen():
        for turn in range(times):
            work = WORKS[turn % len(WORKS)] if project else "painting"
            after = rng.uniform(0.1, longest or LONGEST_S[work])
            learns, round_ = work == "fine-tuning", turn // len(WORKS)
            kill = kill_once(
                after,
                seed + turn,
                work,
                project=project,
                stage=STAGES[round_ % len(STAGES)] if learns else "",
                all_=learns and round_ % 2 == 1,  # goes down with its window
            )
            print(f"{turn + 1:3}: {kill.line()}", flush=True)
            yield kill


def main() -> int:
    """Kill as often as asked, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, help="s from its begin to the kill")
    parser.add_argument("--most", type=float, default=2.0, help="s that may be lost")
    parser.add_argument(
        "--project", action="store_true", help="paint in a case of a project"
    )
    given = parser.parse_args()
    made = kills(given.times, given.seed, project=given.project, longest=given.longest)
    all_ = list(made)
    losses = sorted(kill.seconds for kill in all_)
    bad = sum(bool(kill.trouble) for kill in all_)
    print(
        f"{given.times} kills: {losses[-1]:.2f} s lost at most, "
        f"{losses[len(losses) // 2]:.2f} s in the median; "
        f"{sum(one > given.most for one in losses)} over {given.most:g} s"
        + (f"; {bad} left other trouble" if given.project else "")
    )
    return int(losses[-1] > given.most or bad > 0)


if __name__ == "__main__":
    sys.exit(main())
