"""``diffseg bench``: time and memory of the main job, of the window, of training."""

from __future__ import annotations

import os
import platform
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.errors import UserError
from diffseg.progress import Progress, Work

if TYPE_CHECKING:
    from diffseg.cli.benchmarks import Row

MODEL = "hippocampus-mri"
GROUP = "diffseg.benchmarks"
_MEASUREMENTS = 6


class Part(StrEnum):
    """What is measured."""

    ALL = "all"
    MAIN = "main"
    WINDOW = "window"
    TRAINING = "training"


def bench(
    model: Annotated[
        str, typer.Option(metavar="ID[@VERSION]|DIR", help="See diffseg models list.")
    ] = MODEL,
    device: Annotated[
        str, typer.Option(envvar="DIFFSEG_DEVICE", help="auto, cpu, cuda or mps.")
    ] = "auto",
    only: Annotated[
        Part, typer.Option(help="Only the main job, the window, or training.")
    ] = Part.ALL,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Training beside the public EnsemDiff code."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure time and memory of the main job, the window and training, here.

    Give it the machine alone: other work on the same cores changes every ratio.
    A limit that is broken is said in the table; it is not an error.

    Example: diffseg bench --model hippocampus-mri --device cpu
    """
    from diffseg.cli.benchmarks import table

    about = host(model, device)
    rows: list[Row] = []
    if only in (Part.ALL, Part.MAIN):
        rows += follow(iter_bench(model, device))
    if only in (Part.ALL, Part.WINDOW):
        rows += follow(iter_window(model, device))
    if only in (Part.ALL, Part.TRAINING):
        rows += follow(iter_training(model, device, reference))
    about["rows"] = [row.as_dict() for row in rows]
    emit(about, json, lambda: table(rows, _host_in_words(about)))


def iter_bench(model: str, device: str) -> Work[list[Row]]:
    """Measure every row, one after another.

    Raises
    ------
    UserError
        The model, its weights or the device is not there, or the model is of a
        method that is not measured.
    DiffsegError
        A measured command failed.
    """
    from diffseg.cli.benchmarks.commands import (
        measure_import,
        measure_wait,
        measure_whole_brain,
    )
    from diffseg.cli.benchmarks.proposals import (
        checked,
        measure_gpu_memory,
        measure_proposal,
    )
    from diffseg.cli.benchmarks.published import measure_published
    from diffseg.models import find_model
    from diffseg.segmenters import load_segmenter

    yield Progress("measure", 0, _MEASUREMENTS, "proposal over its arithmetic")
    folder = find_model(model)
    segmenter = checked(load_segmenter(folder.path, device))
    rows = [measure_proposal(segmenter)]
    yield Progress("measure", 1, _MEASUREMENTS, "proposal, the whole command")
    rows.append(measure_wait(folder, segmenter.device))
    yield Progress("measure", 2, _MEASUREMENTS, "published EnsemDiff settings")
    rows.append(measure_published(segmenter.device))
    yield Progress("measure", 3, _MEASUREMENTS, "import diffseg")
    rows.append(measure_import())
    yield Progress("measure", 4, _MEASUREMENTS, "whole brain")
    rows += measure_whole_brain(folder, segmenter.device)
    yield Progress("measure", 5, _MEASUREMENTS, "memory of the GPU")
    rows.append(measure_gpu_memory(segmenter))
    return rows


def iter_window(model: str, device: str) -> Work[list[Row]]:
    """Measure what other packages register, which is the window.

    Where a window is not installed, or has no screen, a row says so.

    Raises
    ------
    DiffsegError
        It could not be measured.
    """
    from diffseg.cli.benchmarks import Row
    from diffseg.cli.windows import INSTALL, missing_packages

    lacking = missing_packages()
    if lacking:
        why = f"{', '.join(lacking)} is not installed; {INSTALL}."
        return [Row(what="window", skipped=why)]
    rows: list[Row] = []
    for entry in entry_points(group=GROUP):
        if entry.name == Part.TRAINING.value:
            continue
        yield Progress("measure", message=entry.name)
        try:
            rows += entry.load()(model, device)
        except UserError as error:
            rows.append(Row(what=entry.name, skipped=f"{error}."))
    return rows


def iter_training(model: str, device: str, reference: Path | None) -> Work[list[Row]]:
    """Measure what is registered as training, beside the public code where it is.

    Raises
    ------
    UserError
        `reference` is no checkout of that code.
    DiffsegError
        It could not be measured.
    """
    rows: list[Row] = []
    for entry in entry_points(group=GROUP, name=Part.TRAINING.value):
        yield Progress("measure", message=entry.name)
        rows += entry.load()(model, device, reference)
    return rows


def host(model: str, device: str) -> dict[str, Any]:
    """Where and with what the rows are measured, and how busy it is beforehand."""
    import torch

    from diffseg.models import find_model
    from diffseg.segmenters import resolve_device

    return {
        "model": find_model(model).name,
        "device": resolve_device(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _host_in_words(about: dict[str, Any]) -> str:
    load = about["load_before"]
    busy = "" if load is None else f", load average {load:.1f} before"
    return (
        f"{about['model']} on {about['device']}, {about['threads']} threads of "
        f"{about['cores']} cores, torch {about['torch']}, Python {about['python']}, "
        f"{about['platform']}{busy}"
    )
