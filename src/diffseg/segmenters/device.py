"""Which device a network runs on."""

from __future__ import annotations

import os

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
            f"device {wish}{origin} is not there: {missing[wish]}; "
            "use --device cpu or auto"
        )
    return wish


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
