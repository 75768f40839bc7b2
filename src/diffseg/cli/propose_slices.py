"""``diffseg propose --slices``: what is known of the slices of each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from diffseg.domain.slice_labels import SliceLabels
    from diffseg.domain.slice_ranges import RangeTable
    from diffseg.volume import Volume

Slices = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Table of slice ranges: case,label,state,slices."
    ),
]


def table_of(path: Path | None) -> RangeTable | None:
    """Read the table, if there is one; `UserError` if it is none."""
    from diffseg.domain.slice_ranges import read_ranges

    return None if path is None else read_ranges(path)


def said_of(
    table: RangeTable | None, image: Volume, names: Sequence[str]
) -> SliceLabels | None:
    """What a table says of an image's slices, whose case is the image's stem.

    Raises
    ------
    UserError
        It says nothing of the image, or names what is not there.
    """
    if table is None:
        return None
    table.check_has(image.source.stem)
    return table.of_case(image.source.stem, names, image.shape[0])
