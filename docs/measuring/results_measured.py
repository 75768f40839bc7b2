"""What the figures are drawn from: read alone, or out of a file in docs/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from diffseg.errors import UserError
from diffseg_training.fingerprint import Fingerprint, read_fingerprint


class LossFile(BaseModel):
    """What `results_losses.py` measured on one data set."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    data: str
    count: int
    timesteps: tuple[int, ...]
    errors: dict[str, tuple[float, ...]]
    standard_errors: dict[str, tuple[float, ...]]


def measured_losses(path: Path) -> LossFile:
    """Read a file of `results_losses.py`, or a cell's that holds one as `losses`.

    Raises
    ------
    UserError
        It cannot be read, or is none.
    """
    try:
        content = json.loads(path.read_bytes())
        return LossFile.model_validate(_within(content, "losses"))
    except (OSError, ValueError) as err:
        raise UserError(
            f"{path} holds no losses ({type(err).__name__}): give what "
            "results_losses.py wrote"
        ) from None


def measured_fingerprint(path: Path) -> Fingerprint:
    """Read a ``fingerprint.json``, the one in a folder, or a cell's `fingerprint`.

    Raises
    ------
    UserError
        It cannot be read, or is none.
    """
    if path.is_file():
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and "fingerprint" in content:
                return Fingerprint.model_validate(content["fingerprint"])
        except (OSError, ValidationError, ValueError):
            pass  # told by what follows, with the reason
    return read_fingerprint(path)


def _within(content: Any, key: str) -> Any:
    """What a cell's file holds under a key, or the content itself."""
    return content[key] if isinstance(content, dict) and key in content else content
