"""Where a run computes: one process or many, on what device, at what precision."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.state import (  # type: ignore[import-untyped]
    AcceleratorState,
    GradientState,
    PartialState,
)
from accelerate.utils import (  # type: ignore[import-untyped]
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
)

from diffseg.errors import UserError
from diffseg_training.recipe import Recipe
from diffseg_training.recipe_parts import Precision

Found = TypeVar("Found")

# Others wait while one prepares the data.
_PATIENCE = timedelta(hours=12)


def processes() -> int:
    """Processes of this run, as its launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_accelerator(
    recipe: Recipe, device: str, out: Path, trackers: Sequence[str] = ()
) -> Accelerator:
    """Make the accelerator of a run; `accelerate launch` decides over its processes.

    Raises
    ------
    UserError
        The precision, the tracker or the batch does not go with the device.
    """
    options = recipe.optimiser
    kind = device.split(":")[0]
    if options.precision == "fp16" and kind == "cpu":
        raise UserError(
            "precision fp16 needs a GPU: set optimiser.precision to bf16 or fp32"
        )
    parts = processes() * options.accumulate
    if options.batch % parts:
        raise UserError(
            f"optimiser.batch {options.batch} cannot be shared by {processes()} "
            f"processes in {options.accumulate} parts: give a multiple of {parts}"
        )
    # A notebook, or a test, trains more than once in a process.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    chosen = arithmetic(options.precision, device)
    mixed = "no" if chosen == "fp32" else chosen
    handlers: list[Any] = [InitProcessGroupKwargs(timeout=_PATIENCE)]
    handlers.append(DistributedDataParallelKwargs(find_unused_parameters=True))
    try:
        return Accelerator(
            cpu=kind == "cpu",
            mixed_precision=mixed,
            log_with=list(trackers) or None,
            project_dir=str(out),
            kwargs_handlers=handlers,
        )
    except (ValueError, ImportError, NotImplementedError) as err:
        raise UserError(f"accelerate: {' '.join(str(err).split())}") from err


def arithmetic(precision: Precision, device: str) -> Precision:
    """The arithmetic that `auto` stands for on a device: bf16 where it is fast.

    A processor without instructions for bf16 emulates them, ten times slower than
    float32.
    """
    if precision != "auto":
        return precision
    if device.split(":")[0] == "cuda":
        return "bf16"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


def share_of(count: int) -> range:
    """Which of `count` pieces of work are this process's."""
    if not _several():
        return range(count)
    return range(
        torch.distributed.get_rank(), count, torch.distributed.get_world_size()
    )


def all_of(mine: list[Found]) -> list[Found]:
    """What all processes found, in the order of the processes."""
    if not _several():
        return mine
    parts: list[list[Found]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, mine)
    return [one for part in parts for one in part]


def _several() -> bool:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    return torch.distributed.get_world_size() > 1


def is_first() -> bool:
    """Whether this process writes for all of them."""
    return not _several() or torch.distributed.get_rank() == 0


def wait_for_first() -> None:
    """Wait until every process has come here."""
    if _several():
        torch.distributed.barrier()


def end_processes() -> None:
    """Part from the other processes of this run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        PartialState._reset_state()
