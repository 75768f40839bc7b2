"""``manifest.csv`` and ``classes.json``, read into rows; no file is looked for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from diffseg.errors import UserError
from diffseg_training.rows import Row

COLUMNS = ("case", "group", "split", "image", "mask", "labels")
UNKNOWN = "?"


def read_manifest(path: Path) -> list[Row]:
    """Read the lines of a manifest.

    Raises
    ------
    UserError
        It is no CSV, lacks a column, or a line has too many or too few cells.
    """
    try:
        # A spreadsheet's byte order mark would else stick to the first name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, strict=True)
            columns = [(name or "").strip() for name in table.fieldnames or ()]
            table.fieldnames = columns
            missing = [name for name in COLUMNS if name not in columns]
            if missing:
                raise UserError(
                    f"manifest {path} lacks the column {', '.join(missing)}; "
                    f"its first line names {','.join(COLUMNS)}"
                )
            return [_row(path, table.line_num, cells) for cells in table]
    except (csv.Error, UnicodeDecodeError) as err:
        raise UserError(f"{path} is not a manifest in CSV (UTF-8): {err}") from None
    except OSError as err:
        raise UserError(f"manifest {path} cannot be read: {err.strerror}") from None


def _row(path: Path, line: int, cells: dict[str, str]) -> Row:
    where = f"{path} line {line}"
    if None in cells or None in cells.values():
        raise UserError(
            f"{where} has another number of cells than the first line names columns"
        )
    text = {name: cell.strip() for name, cell in cells.items()}
    return Row(
        where=where,
        case=text["case"],
        group=text["group"],
        split=text["split"],
        images=_split(text["image"]),
        mask=text["mask"],
        labels=None if text["labels"] == UNKNOWN else _split(text["labels"]),
        mask_2=text.get("mask_2", ""),
    )


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";") if part.strip())


def read_classes(path: Path) -> dict[int, str] | None:
    """Names by mask value; None where there is no such file, `UserError` if bad."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        classes = {int(value): str(name) for value, name in content.items()}
    except (ValueError, AttributeError, OSError) as err:
        raise UserError(
            f'{path} is not a table of names by mask value, {{"1": "name"}}: {err}'
        ) from None
    return classes
