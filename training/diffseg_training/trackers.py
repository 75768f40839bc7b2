"""Trackers that follow a run from outside, by way of accelerate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.tracking import (  # type: ignore[import-untyped]
    get_available_trackers,
)
from accelerate.utils import LoggerType  # type: ignore[import-untyped]

from diffseg.errors import UserError, nearest


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that is unknown or not installed; `UserError`."""
    known = [str(kind.value) for kind in LoggerType if kind.value != "all"]
    there = [str(getattr(kind, "value", kind)) for kind in get_available_trackers()]
    for name in names:
        if name not in known:
            raise UserError(
                f"tracker {name!r} is not one of {', '.join(known)}"
                + nearest(name, known)
            )
        if name not in there:
            raise UserError(
                f"tracker {name} is not installed: pip install {name}, or set "
                "trackers to []"
            )


def start_trackers(accelerator: Accelerator, names: Sequence[str], step: int) -> None:
    """Begin to track a run, at a step; what was told of later ones is dropped."""
    if names:
        accelerator.init_trackers(
            "tracked", init_kwargs={"tensorboard": {"purge_step": step}}
        )


def track(accelerator: Accelerator, row: Mapping[str, Any], step: int) -> None:
    """Hand the numbers of a line of the log on, scores with `val/` before them."""
    told = {f"train/{k}": v for k, v in row.items() if isinstance(v, Number)}
    scores = row.get("validation", {})
    told |= {f"val/{k}": v for k, v in scores.items() if isinstance(v, Number)}
    accelerator.log(told, step=step)
