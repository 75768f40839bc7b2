"""Probabilities that mean what they say: a table of few numbers, kept on the card.

`temperature` flattens or sharpens all classes alike (Guo et al., 2017), or each class
by its own; `isotonic` maps each structure's probability by a monotone table (Zadrozny
& Elkan, 2002). Both leave 0 and 1 where they are, so that a class that is known to be
absent stays absent.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diffseg.ensemble.accumulator import EnsembleSummary
from diffseg.ensemble.entropy import normalised_entropy
from diffseg.ensemble.expected_map import DiceMap
from diffseg.ensemble.merging import with_background
from diffseg.errors import UserError

Floats = NDArray[np.floating[Any]]
Kind = Literal["temperature", "isotonic"]
Knots = tuple[tuple[float, float], ...]

_PLANES = 2**20  # voxels that are turned at once, whatever the volume's size


class Calibration(BaseModel):
    """How the probabilities of one version of a model are corrected.

    What `ModelCard.calibration` holds, and `model_dump(mode="json")` writes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    temperatures: tuple[float, ...] = Field(
        (), description="kind temperature: one, or one a class with background first"
    )
    knots: tuple[Knots, ...] = Field(
        (), description="kind isotonic: of each structure, from (0, 0) to (1, 1)"
    )
    predicted_dice: DiceMap | None = Field(
        None, description="From the ensemble's expected Dice to the real one"
    )
    members: int = Field(ge=1, description="Of the proposals that it was fitted on")
    steps: int = Field(ge=1, description="Of the proposals that it was fitted on")
    fitted: dict[str, Any] = Field(
        default_factory=dict, description="On what, and the figures before and after"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "temperature":
            given = np.array(self.temperatures)
            if not given.size or not np.all(np.isfinite(given) & (given > 0)):
                raise ValueError("give one temperature above 0, or one a class")
        elif not self.knots:
            raise ValueError("give the knots of each structure")
        for table in self.knots:
            x, y = np.array(table).T
            ends = [table[0], table[-1]]
            if ends != [(0.0, 0.0), (1.0, 1.0)]:
                raise ValueError("knots begin at (0, 0) and end at (1, 1)")
            if np.any(np.diff(x) <= 0) or np.any(np.diff(y) < 0):
                raise ValueError("knots rise")
        return self

    def fits(self, classes: int) -> bool:
        """Whether it is for so many classes, background included."""
        if self.kind == "temperature":
            return len(self.temperatures) in (1, classes)
        return len(self.knots) == classes - 1

    @property
    def words(self) -> str:
        """What it is, for a line of provenance."""
        if self.kind == "isotonic":
            return "calibrated (isotonic)"
        told = ", ".join(f"{one:.3g}" for one in self.temperatures)
        plural = "s" if len(self.temperatures) > 1 else ""
        return f"calibrated (temperature{plural} {told})"

    def brief(self) -> dict[str, Any]:
        """What a report tells of it: all but the tables, which the card holds."""
        told = self.model_dump(mode="json", include={"kind", "members", "steps"})
        if self.kind == "temperature":
            told["temperatures"] = list(self.temperatures)
        return {**told, "words": self.words, "fitted": self.fitted}


def calibration_of(
    stored: dict[str, Any] | None, classes: int, model: str
) -> Calibration | None:
    """Read what a card holds; None where it holds none.

    Parameters
    ----------
    stored : dict or None
        `ModelCard.calibration`.
    classes : int
        Of the model, background included.
    model : str
        Its name, for what is said of a fault.

    Raises
    ------
    UserError
        It is not a calibration, or one for another number of classes.
    """
    if stored is None:
        return None
    try:
        found = Calibration.model_validate(stored)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        what = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"calibration of model {model} is not valid: {where}: {what}; calibrate it "
            "again"
        ) from None
    if not found.fits(classes):
        raise UserError(
            f"calibration of model {model} is not for its {classes - 1} structures; "
            "calibrate it again"
        )
    return found


def calibrated(probability: Floats, calibration: Calibration) -> NDArray[np.float32]:
    """Correct probabilities.

    Parameters
    ----------
    probability : (K, ...) ndarray in [0, 1]
        Of an ensemble, background at 0, summing to 1.
    calibration : Calibration
        For K classes.

    Returns
    -------
    (K, ...) float32 ndarray
        Summing to 1. With temperatures ``T``: ``p_k ** (1 / T_k)`` over their sum,
        which is the softmax of ``log p_k / T_k``. Isotonic: each structure by its
        table, background what is left.
    """
    if not calibration.fits(len(probability)):
        raise ValueError(f"{len(probability)} classes, not those of the calibration")
    flat = probability.reshape(len(probability), -1)
    turned = np.empty(flat.shape, np.float32)
    for start in range(0, flat.shape[1], _PLANES):
        part = (slice(None), slice(start, start + _PLANES))
        if calibration.kind == "temperature":
            turned[part] = tempered(flat[part], np.array(calibration.temperatures))
        else:
            mapped = [
                np.interp(one, *np.array(table).T)
                for one, table in zip(flat[part][1:], calibration.knots, strict=True)
            ]
            turned[part] = with_background(np.stack(mapped).astype(np.float32))
    return turned.reshape(probability.shape)


def tempered(
    probability: Floats, temperatures: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Softmax of ``log p / T``, which keeps a 0 at 0.

    Parameters
    ----------
    probability : (K, N) ndarray in [0, 1]
        No column is all 0.
    temperatures : (1,) or (K,) ndarray above 0
    """
    with np.errstate(divide="ignore"):
        scores = np.log(probability.astype(np.float64)) / temperatures[:, None]
    scores -= scores.max(axis=0)  # however low a temperature, one class is left
    shares: NDArray[np.float64] = np.exp(scores)
    shares /= shares.sum(axis=0)
    return shares


def recalibrated(
    summary: EnsembleSummary, calibration: Calibration | None
) -> EnsembleSummary:
    """Correct a summary's probability, and what follows from it: classes, uncertainty.

    Members, and the mutual information that they disagree by, stay what they are. One
    temperature for all classes changes no voxel's class.
    """
    if calibration is None:
        return summary
    probability = calibrated(summary.probability, calibration)
    return EnsembleSummary(
        probability=probability,
        classes=probability.argmax(axis=0).astype(np.uint8),
        uncertainty=normalised_entropy(probability),
        mutual_information=summary.mutual_information,
        member_classes=summary.member_classes,
    )
