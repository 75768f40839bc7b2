"""What a calibration on reviewed cases is asked to do, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateJob:
    """Calibrate a model on a project's reviewed cases. Loads without torch.

    Parameters
    ----------
    project : str
        The project's folder.
    model : str
        ``id`` or ``id@version``.
    annotator : str
        Who asks for it, for the audit log.
    members, steps : int, optional
        Of the proposals that it is fitted on; the card's without them.
    patient : str
        As of a `FinetuneJob`.
    seed : int
    device : str
        auto, cpu, cuda or mps.
    """

    project: str
    model: str
    annotator: str
    members: int | None = None
    steps: int | None = None
    patient: str = r"^(sub-[A-Za-z0-9]+)"
    seed: int = 0
    device: str = "auto"

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they are sent to its process."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave; what is not known is left out."""
        known = {one.name for one in fields(cls)}
        return cls(**{k: v for k, v in told.items() if k in known})


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """A calibration that was kept.

    Parameters
    ----------
    model, parent : str
        ``id@version`` of the calibrated version, and of the one that it came from.
    path : Path
        Folder of the version; ``calibration.json`` in it has every figure.
    words : str
        What it is, in words.
    cases, patients : int
        That it was fitted on, and judged by with patients held out.
    ece : (float, float)
        Calibration error before and after, in the box around the object.
    """

    model: str
    parent: str
    path: Path
    words: str
    cases: int
    patients: int
    ece: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave."""
        before, after = told["ece"]
        return cls(**{**told, "path": Path(told["path"]), "ece": (before, after)})
