"""Interpreters of their own: what an import and a whole command cost."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from diffseg.errors import DiffsegError

HEAVY = ("torch", "PySide6", "PySide2", "PyQt6", "PyQt5", "qtpy", "napari")
COMMAND = "import sys; from diffseg.cli import main; sys.exit(main())"
LOOK_EVERY = 0.05  # seconds between two looks at a family's memory


def interpreter_seconds(script: str, repeats: int = 5) -> float:
    """Median seconds of fresh interpreters running `script`, start and end included.

    One more run before them fills the caches of compiled code.
    """
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        _python(script)
        taken.append(time.perf_counter() - began)
    return median(taken[1:])


def heavy_packages(script: str) -> list[str]:
    """Which of torch and the window's packages an interpreter holds after `script`."""
    told = "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(_python(script + told))
    return [name for name in HEAVY if name in modules]


def _python(script: str) -> str:
    # Away from the checkout, so that what is installed is what is imported.
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        said = " ".join(run.stderr.split())
        raise DiffsegError(f"a fresh interpreter failed at {script!r}: {said}")
    return run.stdout


@dataclass(frozen=True, slots=True)
class CommandRun:
    """A finished command: wall-clock seconds, peak memory, its JSON.

    `peak_bytes` is None where the system does not tell a process's peak.
    """

    seconds: float
    peak_bytes: int | None
    processes: int
    result: dict[str, Any]


def run_command(arguments: Sequence[str]) -> CommandRun:
    """Run ``diffseg ARGUMENTS --json`` in a process of its own, and watch its memory.

    The peak is the sum, over the command's process and all that descend from it,
    of each one's own peak: the memory of all together was never more.

    Raises
    ------
    DiffsegError
        The command failed; the message is its own.
    """
    command = [sys.executable, "-c", COMMAND, *arguments, "--json"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        try:
            peaks = _watch(process)
        finally:
            process.kill()  # does nothing to one that has ended
            process.wait()
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise DiffsegError(" ".join(err.read().split()))
        result = json.loads(out.read())
    peak = sum(peaks.values()) if peaks else None
    return CommandRun(seconds, peak, max(1, len(peaks)), result)


def _watch(process: subprocess.Popen[Any]) -> dict[int, int]:
    """Peak bytes of each process of a family, until its first one ends."""
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for number in family(process.pid):
            # The latest look counts: between fork and exec a child shows its
            # parent's peak.
            peaks |= {number: peak} if (peak := peak_bytes(number)) else {}
        time.sleep(LOOK_EVERY)
    return peaks


def family(root: int) -> list[int]:
    """Process ids of `root` and its descendants; empty without a /proc."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text(errors="replace")
        except OSError:  # ended while we looked
            continue
        # "pid (name) state parent ...", where a name may hold anything.
        parent = int(text.rpartition(")")[2].split()[1])
        children.setdefault(parent, []).append(int(status.parent.name))
    found = [root] if children else []
    for number in found:
        found += children.get(number, [])
    return found


def peak_bytes(process: int) -> int | None:
    """Largest resident memory of a process so far; None where it is not told."""
    try:
        text = Path(f"/proc/{process}/status").read_text(errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def held_bytes(process: int) -> int | None:
    """Proportional set size of a process: its own pages, and its share of others."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None
