"""A fingerprint on disk: ``fingerprint.json``. Reads and writes without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffseg.errors import UserError
from diffseg.volume import atomic_write_bytes

if TYPE_CHECKING:
    from diffseg.diffusion.fingerprint import RecoveryCurve

Numbers = tuple[float, ...]
FILE = "fingerprint.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Recommended(_Frozen):
    """What follows from a fingerprint for training and sampling."""

    steps: int = Field(ge=1, description="Evenly spaced over the schedule")
    refine_log_snr: float = Field(description="Noise level for refining a mask")
    refine_timestep: int | None = Field(None, description="Nearest of the schedule")
    refine_rule: str = Field("", description="How that level was found")
    timesteps: tuple[int, ...] = Field(
        (), description="Where the error falls by equal shares"
    )
    converged_log_snr: float | None = Field(
        None, description="From where on nothing is left of the mask, if measured"
    )
    mask_scale: float | None = Field(
        None, description="Scale of the mask that ends the schedule there"
    )
    beta_end: float | None = Field(
        None, description="Last beta that ends the schedule there"
    )


class Conditional(_Frozen):
    """The error of a model that sees the image, at the same noise levels."""

    model: str
    error: Numbers


class Origin(_Frozen):
    """What was measured, and how."""

    data: str
    split: str
    learned_on: int = Field(description="Slices or volumes that taught the network")
    measured_on: int
    foreground: float = Field(description="Mean share of a class's pixels")
    size: tuple[int, ...] = Field(description="Pixels of a mask")
    minutes: float = Field(description="Of training")
    training_steps: int
    seed: int
    draws: int
    window: int = Field(description="Points of the moving average")
    date: str


class Beyond(_Frozen):
    """The curve where the schedule has ended."""

    log_snr: Numbers = ()
    error: Numbers = ()


class Fingerprint(_Frozen):
    """How the masks of a data set are lost in noise.

    `log_snr`, falling, is that of masks in [0, 1]; `timestep` counts in `schedule`;
    `error` is smoothed, `error_raw` is not; `weights` have mean 1.
    """

    log_snr: Numbers = Field(min_length=2)
    timestep: tuple[int, ...]
    error: Numbers
    error_raw: Numbers = ()
    prior_error: float = Field(ge=0)
    prior_error_held_out: float | None = Field(
        None, description="Of the masks measured, by the mean of those learned from"
    )
    weights: Numbers
    recommended: Recommended
    conditional: Conditional | None = None
    beyond: Beyond = Beyond()
    mask_range: tuple[float, float] = (0.0, 1.0)
    schedule: str = "linear"
    timesteps: int = 1000
    origin: Origin | None = None
    warnings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        lengths = {len(self.log_snr), len(self.timestep), len(self.error)}
        if lengths != {len(self.weights)}:
            raise ValueError("log_snr, timestep, error and weights differ in length")
        if any(b >= a for a, b in zip(self.log_snr, self.log_snr[1:], strict=False)):
            raise ValueError("log_snr does not fall")
        return self

    def curve(self) -> RecoveryCurve:
        """The smoothed error, on from the end of the schedule where it was measured."""
        from diffseg.diffusion.fingerprint import RecoveryCurve

        return RecoveryCurve(
            np.array((*self.log_snr, *self.beyond.log_snr)),
            np.array((*self.error, *self.beyond.error)),
        )


def read_fingerprint(path: str | Path) -> Fingerprint:
    """Read a ``fingerprint.json``, or the one in a folder.

    Raises
    ------
    UserError
        It is not there, or it is no fingerprint.
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise UserError(
            f"fingerprint {file} cannot be read ({reason}): "
            "give the fingerprint.json that `diffseg fingerprint` wrote"
        ) from None
    try:
        return Fingerprint.model_validate_json(text)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        what = " ".join(first["msg"].removeprefix("Value error, ").split())
        raise UserError(
            f"{file} is no fingerprint: {where}: {what}; "
            "give the fingerprint.json that `diffseg fingerprint` wrote"
        ) from None


def write_fingerprint(fingerprint: Fingerprint, folder: Path) -> Path:
    """Write ``fingerprint.json`` into a folder, aside first."""
    text = fingerprint.model_dump_json(indent=1) + "\n"
    return atomic_write_bytes(folder / FILE, text.encode())
