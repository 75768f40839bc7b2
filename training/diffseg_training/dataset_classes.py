"""Classes of a dataset: as its classes.json names them, or as rows and masks tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from diffseg.domain import Label, LabelTable
from diffseg.errors import UserError
from diffseg.volume import read_mask
from diffseg_training.rows import Row

# Okabe and Ito's palette: told apart by every kind of colour vision.
_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442")


def label_table(path: Path, classes: dict[int, str]) -> LabelTable:
    """Make a table of names by mask value; `UserError` names the file at fault."""
    try:
        return LabelTable(
            labels=tuple(
                Label(
                    name=name, value=value, color=_COLORS[i % len(_COLORS)], code=None
                )
                for i, (value, name) in enumerate(sorted(classes.items()))
            )
        )
    except ValidationError as err:
        what = err.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{path} needs one name for each mask value in 1-255: {what}"
        ) from None


def infer_labels(
    path: Path, rows: Iterable[Row], masks: Iterable[Path | None]
) -> LabelTable:
    """Classes of a dataset that names none: one takes the one name in `labels`."""
    names = sorted({name for row in rows for name in row.labels or ()})
    given = [mask for mask in masks if mask is not None]
    if not given and len(names) > 1:
        raise UserError(
            f"{path} labels {', '.join(names)} and has no mask; a classes.json "
            "beside it must give each name its value in a mask"
        )
    count = max(len(names), _highest_value(given), 1)
    if count == 1:
        return label_table(path, {1: names[0] if names else "class_1"})
    return label_table(path, {value: f"class_{value}" for value in range(1, count + 1)})


def _highest_value(masks: Iterable[Path]) -> int:
    """Return the highest class index in `masks`; 0/255 in a picture is one class."""
    return max((int(read_mask(mask).max()) for mask in masks), default=0)
