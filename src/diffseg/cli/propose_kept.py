"""What ``diffseg propose`` keeps of a corrected mask, and what it draws anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.errors import UserError

if TYPE_CHECKING:
    from diffseg.domain import LabelTable
    from diffseg.volume import Volume

Initial = Annotated[
    Path | None,
    typer.Option(metavar="MASK", help="Corrected mask to draw anew; with --touched."),
]
Touched = Annotated[
    Path | None,
    typer.Option(metavar="MASK", help="Not 0 where --initial is kept as it is."),
]
NoiseLevel = Annotated[
    float | None,
    typer.Option(metavar="0..1", help="From which noise; else the model's own."),
]


@dataclass(frozen=True, slots=True)
class Kept:
    """Two masks and a noise level, as they were given.

    Parameters
    ----------
    initial : Path, optional
        Mask of one image, in the model's values.
    touched : Path, optional
        Not 0 where that mask is kept.
    noise_level : float, optional
    """

    initial: Path | None = None
    touched: Path | None = None
    noise_level: float | None = None

    def check(self, images: int) -> None:
        """Refuse what does not go together, before anything is read."""
        if (self.initial is None) != (self.touched is None):
            raise UserError(
                "--initial and --touched go together: a mask, and where it is kept"
            )
        if self.initial is None and self.noise_level is not None:
            raise UserError(
                "--noise-level says how a mask is drawn anew: give --initial and "
                "--touched, too"
            )
        if self.initial is not None and images > 1:
            raise UserError(f"--initial is a mask of one image; {images} were given")

    def fields(self, volume: Volume, table: LabelTable) -> dict[str, Any]:
        """Read the masks, and return fields of a request; none without masks.

        Raises
        ------
        UserError
            A mask lies on another grid, or holds what the model does not know.
        """
        if self.initial is None or self.touched is None:
            return {}
        from diffseg.domain import Strokes
        from diffseg.volume import read_mask

        mask = read_mask(self.initial, volume, table.values)
        where = read_mask(self.touched, volume) != 0
        if not where.any():
            raise UserError(
                f"{self.touched}: all of it is 0, so nothing would be kept; mark what "
                "was drawn and erased, or leave --initial and --touched out"
            )
        return {
            "strokes": Strokes.within(mask, where, table),
            "initial_mask": mask,
            "noise_level": self.noise_level,
        }
