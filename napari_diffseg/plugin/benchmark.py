"""The window's rows of ``diffseg bench``, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

from diffseg.cli.benchmarks import Row
from diffseg.cli.benchmarks.processes import family, held_bytes
from diffseg.errors import DiffsegError
from napari_diffseg.plugin.screen import virtual_screen

LOOK_EVERY_S = 0.25
_UNTOLD = f"{sys.platform} does not tell a process's share of memory in /proc."
_CHILD = (sys.executable, "-m", "napari_diffseg.plugin.measuring")


def rows(model: str = "", device: str = "auto") -> Iterator[Row]:
    """Measure the window with `model`, and tell row by row.

    Parameters
    ----------
    model : str
        ``id`` or ``id@version``; the window's own choice without it.
    device : {"auto", "cpu", "cuda", "mps"}

    Raises
    ------
    DiffsegError
        The window could not be measured; in one line.
    """
    with virtual_screen() as screen:
        found, weights = _measured(model, device)
    yield from _told(found, weights, screen or os.environ.get("DISPLAY", "the screen"))


class Scales:
    """Weighs a family of processes: their memory, shared pages counted once.

    Parameters
    ----------
    root : int
        Process id.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.empty: int | None = None
        self.peak: int | None = None
        self.processes = 0

    def heed(self, mark: str) -> None:
        """Do what the window's mark asks for."""
        if mark == "empty":
            self.empty, _ = weigh(self._root)
        elif mark == "weigh":
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        elif mark == "weighed":
            self.close()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while True:
            total, count = weigh(self._root)
            if total is not None and total >= (self.peak or 0):
                self.peak, self.processes = total, count
            if self._stop.wait(LOOK_EVERY_S):
                return


def weigh(root: int) -> tuple[int | None, int]:
    """Bytes held by `root` and all that descend from it, and how many these are.

    None where the system does not tell.
    """
    found = [size for one in family(root) if (size := held_bytes(one)) is not None]
    return (sum(found) if found else None), len(found)


def _measured(model: str, device: str) -> tuple[dict[str, Any], Scales]:
    """Run the child to its end, answering its marks."""
    environment = {**os.environ, "NAPARI_CONFIG": ""}
    if device != "auto":
        environment["DIFFSEG_DEVICE"] = device
    command = [*_CHILD, *([model] if model else [])]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        complaints: list[str] = []
        ear = threading.Thread(target=_hear, args=(child.stderr, complaints))
        ear.start()
        scales = Scales(child.pid)
        found: dict[str, Any] = {}
        try:
            for line in child.stdout:
                said = json.loads(line)
                found |= said.get("found", {})
                if "mark" in said:
                    scales.heed(said["mark"])
                    child.stdin.write("\n")
                    child.stdin.flush()
            child.wait()
        finally:
            scales.close()
            child.kill()
            ear.join()
    if not found:
        why = complaints[-1] if complaints else f"status {child.returncode}"
        raise DiffsegError(f"the window could not be measured: {why}")
    return found, scales


def _hear(stream: IO[str], lines: list[str]) -> None:
    lines += [line.strip() for line in stream if line.strip()]


def _told(found: dict[str, Any], scales: Scales, screen: str) -> Iterator[Row]:
    for what, name, limit, settings in (
        (
            "panels open, after napari",
            "dock_s",
            1.5,
            f"On {screen}; a virtual one has a software renderer. Made, docked and "
            "painted, once.",
        ),
        (
            "first slice, worker warm",
            "warm_s",
            5.0,
            "From Propose to the first slice on the screen, one hippocampus at 1 mm, "
            f"{found['model']}; the second proposal.",
        ),
        (
            "first slice, worker cold",
            "cold_s",
            5.0,
            "The first proposal, asked for as soon as the image is open, while the "
            "worker starts and loads torch.",
        ),
        ("late by, 99th percentile", "p99_s", 0.050, _beats(found)),
        ("late by, at most", "max_s", 0.250, "In that run."),
        ("512x512x300 opens", "open_s", 3.0, "From its path to a case to work on."),
        ("a dab of the brush, 512x512x300", "dab_s", 0.016, _dabs(found)),
        ("an undo, 512x512x300", "undo_s", 0.050, "That stroke; the longest of 40."),
        ("late by while strokes are kept", "kept_max_s", 0.050, _kept(found)),
        (
            "cancelled",
            "cancel_s",
            0.5,
            "From Cancel to a free window, with a whole brain under way.",
        ),
        (
            "the next run works",
            "again_s",
            6.0,
            "From that Cancel to the worker's first sign of the next proposal.",
        ),
    ):
        yield Row(what=f"window: {what}", ours=found[name], limit=limit,
                  settings=settings)  # fmt: skip
    yield _large(found)
    yield _memory(scales)


def _beats(found: dict[str, Any]) -> str:
    p99, most = (round(found[f"painted_{one}_s"] * 1000) for one in ("p99", "max"))
    return (
        f"While a proposal for a whole brain runs ({found['brain_s']:.1f} s): a timer "
        f"of 10 ms in the window's thread, {found['beats']} beats. Painting is left "
        f"out; with it {p99} ms, at most {most} ms."
    )


def _dabs(found: dict[str, Any]) -> str:
    return (
        "Model-side, a brush of 40 voxels in one slice, 99th percentile of 200 dabs "
        f"(median {found['dab_median_s'] * 1000:.1f} ms); the end of the stroke takes "
        f"{found['stroke_end_s'] * 1000:.1f} ms."
    )


def _kept(found: dict[str, Any]) -> str:
    return (
        "At most, of a timer of 10 ms, painting left out, while six strokes are drawn "
        "in that volume and go to the journal on disk; 99th percentile "
        f"{found['kept_p99_s'] * 1000:.1f} ms."
    )


def _large(found: dict[str, Any]) -> Row:
    row = Row(
        what="window: memory of 512x512x300, over its voxels",
        unit="GiB",
        limit=4.0,
        limit_of="ratio",
        settings=(
            "Proportional set size that the window's process gained from before the "
            "opening until all was painted; the file's int16 voxels."
        ),
    )
    if found["large_bytes"] is None:
        return replace(row, skipped=_UNTOLD)
    ours, raw = found["large_bytes"] / 2**30, found["large_raw"] / 2**30
    return replace(row, ours=ours, reference=raw)


def _memory(scales: Scales) -> Row:
    what = "window: memory of all processes"
    if scales.empty is None or scales.peak is None:
        return Row(what=what, unit="GiB", limit=3.0, skipped=_UNTOLD)
    return Row(
        what=what,
        ours=(scales.peak - scales.empty) / 2**30,
        unit="GiB",
        limit=3.0,
        settings=(
            "During another proposal for that brain: the largest sum of the "
            f"proportional set sizes of {scales.processes} processes, looked at every "
            f"{LOOK_EVERY_S} s, less the {scales.empty / 2**20:.0f} MiB of napari "
            "without the panels."
        ),
    )
