"""What a user waits for and what their machine must hold: import and propose."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from diffseg.cli.benchmarks.processes import (
    CommandRun,
    heavy_packages,
    interpreter_seconds,
    run_command,
)
from diffseg.cli.benchmarks.proposals import MEMBERS, SHAPE, STEPS, synthetic
from diffseg.cli.benchmarks.rows import Row
from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.segmenters.template import mni152_path
from diffseg.volume import write_float

IMPORT_LIMIT = 0.3  # s
WAIT_LIMIT = 10.0  # s
MEMORY_LIMIT = 3.0  # GiB


def measure_import(repeats: int = 5) -> Row:
    """Seconds of ``import diffseg`` in a fresh interpreter, and what it loads."""
    heavy = heavy_packages("import diffseg")
    return Row(
        what="import diffseg: over a bare interpreter",
        ours=interpreter_seconds("import diffseg", repeats),
        reference=interpreter_seconds("pass", repeats),
        limit=IMPORT_LIMIT,
        fault=f"It loaded {', '.join(heavy)}." if heavy else None,
        settings=(
            "Ours: python -c 'import diffseg', reference: python -c pass; each a whole "
            f"process, start and end included, the median of {repeats} after a "
            "warm-up. " + ("" if heavy else "Neither torch nor Qt was loaded.")
        ),
    )


def measure_wait(folder: ModelFolder, device: str) -> Row:
    """Seconds of the whole command for a small volume: what a user waits."""
    volume = synthetic(len(folder.card.preparation.channels))
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / f"c{i}.nii" for i in range(len(volume.data))]
        for path, channel in zip(paths, volume.data, strict=True):
            write_float(path, channel, volume.grid, volume.source)
        joined = ";".join(map(str, paths))
        options = ("--members", str(MEMBERS), "--steps", str(STEPS))
        run = _propose(joined, folder, device, Path(scratch) / "out", *options)
    extent = "x".join(map(str, SHAPE))
    return Row(
        what=f"{MEMBERS} members, {STEPS} step, {extent}: the user waits",
        ours=run.seconds,
        limit=WAIT_LIMIT,
        settings=(
            "diffseg propose in a process of its own, once, from its start to its end: "
            "Python, torch, weights, NIfTI in, NIfTI out. " + _stages(run)
        ),
    )


def measure_whole_brain(folder: ModelFolder, device: str) -> tuple[Row, Row]:
    """Seconds and peak memory of a proposal for a whole head."""
    names = ("whole brain: the user waits", "whole brain: memory of all processes")
    try:
        brain = mni152_path()
    except UserError as err:
        return _skipped(names, str(err))
    if folder.card.localisation is None:
        return _skipped(names, f"{folder.name} finds no regions in a whole head.")
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "mni152_t1.nii.gz"
        shutil.copyfile(brain, image)
        run = _propose(str(image), folder, device, Path(scratch) / "out")
    (report,) = run.result["results"]
    settings = (
        f"diffseg propose on the MNI152 T1 template at 1 mm with {folder.name}, its "
        f"regions found by registration, {report['members']} members x "
        f"{report['steps']} steps, once. "
    )
    time = Row(what=names[0], ours=run.seconds, settings=settings + _stages(run))
    if run.peak_bytes is None:
        why = f"{sys.platform} does not tell the peak of a process in /proc."
        return time, Row(what=names[1], unit="GiB", limit=MEMORY_LIMIT, skipped=why)
    summed = (
        f"In that run: the sum of the peaks (VmHWM) of {run.processes} "
        f"process{'es' if run.processes > 1 else ''}, the most that all of them "
        "together can have held."
    )
    return time, Row(
        what=names[1],
        ours=run.peak_bytes / 2**30,
        unit="GiB",
        limit=MEMORY_LIMIT,
        settings=summed,
    )


def _skipped(names: tuple[str, str], why: str) -> tuple[Row, Row]:
    return Row(what=names[0], skipped=why), Row(
        what=names[1], unit="GiB", limit=MEMORY_LIMIT, skipped=why
    )


def _propose(
    image: str, folder: ModelFolder, device: str, out: Path, *options: str
) -> CommandRun:
    model = str(folder.path)
    arguments = ["propose", image, "--model", model, "--out", str(out), *options]
    return run_command([*arguments, "--device", device])


def _stages(run: CommandRun) -> str:
    """Seconds of each stage, as the report tells them."""
    (report,) = run.result["results"]
    stages = report["seconds"].items()
    told = ", ".join(f"{name} {value or 0:.1f} s" for name, value in stages)
    return f"Of these: {told}."
