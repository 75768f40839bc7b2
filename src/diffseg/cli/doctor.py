"""``diffseg doctor``: what this machine has, and whether a model runs on it."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.windows import (
    BINDINGS,
    check_display,
    display,
    installed,
    window_opener,
)
from diffseg.errors import DiffsegError, UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

PACKAGES = (
    "napari-diffseg", "numpy", "torch", "nibabel", "SimpleITK", "pydicom", "monai",
    "diffusers", "distributed", "nilearn", "napari", "qtpy", "PySide6", "PyQt6",
)  # fmt: skip
VARIABLES = ("HOME", "DATA", "OFFLINE", "ENGINE", "DEVICE")


def doctor(
    selftest: Annotated[
        bool, typer.Option("--selftest", help="Propose for a small made-up volume.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show versions, device, models, display; with --selftest run a proposal.

    Example: diffseg doctor --selftest
    """
    about = {
        "versions": _versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_device(),
        **_models(),
        **_window(),
        "environment": _environment(),
        **_folders(),
        "selftest": _selftest() if selftest else None,
    }
    emit(about, json, lambda: _table(about))


def _versions() -> dict[str, str | None]:
    return {name: installed(name) for name in PACKAGES}


def _device() -> dict[str, Any]:
    """What torch would compute on, and why not on a GPU."""
    import torch

    from diffseg.segmenters import resolve_device

    asked = os.environ.get("DIFFSEG_DEVICE") or "auto"
    try:
        chosen, problem = resolve_device(asked), None
    except UserError as error:
        chosen, problem = None, str(error)
    gpu = None
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        gpu = {
            "name": torch.cuda.get_device_name(),
            "memory_gib": round(total / 2**30, 1),
            "free_gib": round(free / 2**30, 1),
        }
    return {
        "device": chosen,
        "device_problem": problem,
        "gpu": gpu,
        "why_no_gpu": None if gpu else _why_no_gpu(),
        "torch_build": f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def _why_no_gpu() -> str:
    import torch

    if torch.backends.mps.is_available():
        return "Apple's GPU is there and is used with --device mps"
    if torch.version.cuda is None:
        return "this torch is built for the CPU; install a CUDA build of torch"
    if torch.cuda.device_count() == 0:
        return f"torch is built for CUDA {torch.version.cuda}, but finds no NVIDIA GPU"
    return "there is an NVIDIA GPU that torch cannot use; update its driver"


def _models() -> dict[str, Any]:
    from diffseg.models import catalogue, verify_model

    known = catalogue()
    models = []
    for folder in known.models:
        try:
            verify_model(folder)
            problem = None
        except UserError as error:
            problem = str(error)
        models.append(
            {
                "model": folder.name,
                "licence": folder.card.licence,
                "origin": folder.origin,
                "verified": problem is None,
                "problem": problem,
            }
        )
    broken = [model.reason for model in known.broken]
    return {"models": models, "model_problems": broken}


def _window() -> dict[str, Any]:
    """Where a window would open, with what, and why none can; no Qt is loaded."""
    problem = None
    try:
        window_opener()
        check_display()
    except UserError as error:
        problem = str(error)
    except Exception as error:
        problem = f"the window cannot be loaded: {type(error).__name__}"
    there = [name for name in BINDINGS if installed(name)]
    return {
        "display": display(),
        "qt_binding": os.environ.get("QT_API") or (there[0] if there else None),
        "window": problem is None,
        "window_problem": problem,
    }


def _environment() -> dict[str, str | None]:
    names = [f"DIFFSEG_{name}" for name in VARIABLES]
    return {name: os.environ.get(name) for name in names}


def _folders() -> dict[str, str]:
    from diffseg.errors import log_file
    from diffseg.models import home

    return {"home": str(home()), "log": str(log_file())}


def _selftest() -> dict[str, Any]:
    """Propose for a made-up volume with the first sound model.

    Raises
    ------
    UserError
        There is no model to test with.
    DiffsegError
        The proposal holds numbers that are none.
    """
    import numpy as np

    from diffseg.domain import Request
    from diffseg.models import list_models
    from diffseg.segmenters import load_segmenter
    from diffseg.volume import Volume

    models = list_models()
    if not models:
        raise UserError(
            "there is no model to test with; add one: diffseg models add DIR --id ID"
        )
    folder = next((m for m in models if m.origin == "shipped"), models[0])
    channels = len(folder.card.preparation.channels)
    noise = np.random.default_rng(0).normal(100, 20, (channels, 48, 48, 36))
    volume = Volume.from_array(noise.astype(np.float32), np.eye(4), name="selftest")
    started = time.perf_counter()
    segmenter = load_segmenter(
        folder.path, device=os.environ.get("DIFFSEG_DEVICE") or "auto"
    )
    loaded = time.perf_counter()
    proposal = follow(segmenter.iter_propose(Request(volume, members=2, steps=1)))
    if not np.isfinite(proposal.probability).all():
        raise DiffsegError(f"{folder.name} on {segmenter.device} gave NaN; report this")
    return {
        "model": folder.name,
        "device": segmenter.device,
        "seconds": {
            "load": loaded - started,
            "propose": time.perf_counter() - loaded,
        },
    }


def _table(about: dict[str, Any]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for key, value in about.items():
        if key == "models":
            said = "\n".join(_model_line(model) for model in value) or "none"
        else:
            said = _in_words(value)
        if said:
            table.add_row(key.replace("_", " "), said)
    return table


def _model_line(model: dict[str, Any]) -> str:
    state = "weights verified" if model["verified"] else model["problem"]
    return f"{model['model']} ({model['origin']}, {model['licence']}): {state}"


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(
            f"{key} {_in_words(item) or 'not there'}" for key, item in value.items()
        )
    if isinstance(value, list):
        return "\n".join(str(item) for item in value)
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, bool):
        return "can open" if value else ""
    return "" if value is None else str(value)
