"""Which device a network runs on."""

from __future__ import annotations

import os
import sys

from diffseg.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str = "auto") -> str:
    """Turn a wish into a device that is there.

    ``auto`` takes ``$DIFFSEG_DEVICE`` where it is set, and otherwise the first
    of cuda, mps and cpu that works.

    Raises
    ------
    UserError
        The name is not a device, or the device asked for is not there.
    """
    wish, origin = name, ""
    if name == "auto" and os.environ.get("DIFFSEG_DEVICE"):
        wish, origin = os.environ["DIFFSEG_DEVICE"], " (from DIFFSEG_DEVICE)"
    if wish not in DEVICES:
        raise UserError(f"device {wish!r}{origin}: give one of {', '.join(DEVICES)}")
    if wish == "cpu":
        return wish
    missing = {kind: _why_not(kind) for kind in ("cuda", "mps")}
    if wish == "auto":
        return next((kind for kind, why in missing.items() if why is None), "cpu")
    if missing[wish] is not None:
        raise UserError(
            f"device {wish}{origin} is not there: {missing[wish]}; use cpu or auto",
            option="--device cpu",
        )
    return wish


def why_cpu() -> str | None:
    """Why no GPU is used; None where ``auto`` takes one."""
    if resolve_device("auto") != "cpu":
        return None
    if os.environ.get("DIFFSEG_DEVICE") == "cpu":
        return "DIFFSEG_DEVICE is set to cpu"
    kind = "mps" if sys.platform == "darwin" else "cuda"
    return _why_not(kind) or f"{kind} is there, but cpu was asked for"


def describe(device: str) -> tuple[str, int]:
    """Name of a device in words, and its free memory in bytes.

    Parameters
    ----------
    device : {"cpu", "cuda", "mps"}
        As `resolve_device` gives it.
    """
    return _name(device), free_memory(device)


def free_memory(device: str) -> int:
    """Memory in bytes that can still be had on a device."""
    import psutil  # type: ignore[import-untyped]
    import torch

    if device == "cuda" and torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        # What torch holds in reserve is free as well.
        return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
    # MPS shares the memory of the machine.
    return int(psutil.virtual_memory().available)


def _name(device: str) -> str:
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    if device == "mps":
        return "Apple GPU"
    cores = _cores()
    return f"{cores} CPU core{'' if cores == 1 else 's'}"


def _cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _why_not(kind: str) -> str | None:
    """Why a kind of device cannot be used; None where it can."""
    import torch

    if kind == "cuda":
        if torch.cuda.is_available():
            return None
        if torch.version.cuda is None and torch.version.hip is None:
            return "this torch is built without CUDA"
        return "torch sees no GPU with a working driver"
    if torch.backends.mps.is_available():
        return None
    if not torch.backends.mps.is_built():
        return "this torch is built without MPS"
    return "this machine has no GPU that MPS can use"
