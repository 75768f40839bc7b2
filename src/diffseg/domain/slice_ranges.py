"""A table of slice ranges: seconds of an annotator's time, as a CSV.

Its first line names the columns ``case,label,state,slices``, in any order, and more. A
line says of one structure in one case that it is present, absent or unknown: in the
slices ``a:b`` (half-open, planes of the image from 0), or, with `slices` empty, in the
whole image. Later lines stand over earlier ones, so that "absent" and then "present in
12:30" says all there is to say. `state` may be empty or left out: present.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffseg.domain.labels import Presence
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError, nearest
from diffseg.volume import atomic_write_bytes

COLUMNS = ("case", "label", "state", "slices")
_NEEDED = ("case", "label", "slices")
_RANGE = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")


@dataclass(frozen=True, slots=True)
class RangeRow:
    """One line of the table; `where` is the place that an error names."""

    where: str
    case: str
    label: str
    state: Presence
    slices: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class RangeTable:
    """All lines of a table, in order."""

    path: Path
    rows: tuple[RangeRow, ...]

    def of_case(self, case: str, names: Sequence[str], planes: int) -> SliceLabels:
        """Labels of the slices of one case; nothing is known of one without a line.

        Raises
        ------
        UserError
            A label is not one of `names`, or slices are not those of the image.
        """
        said: dict[str, list[RangeRow]] = {name: [] for name in names}
        for row in self.rows:
            if row.case != case:
                continue
            if row.label not in said:
                raise UserError(
                    f"{row.where}: label {row.label!r} is not one of {', '.join(names)}"
                    + nearest(row.label, names)
                )
            if row.slices is not None and row.slices[1] > planes:
                first, stop = row.slices
                raise UserError(
                    f"{row.where}: slices {first}:{stop} are not within the image's "
                    f"0:{planes}; give a:b with a < b"
                )
            said[row.label].append(row)
        return SliceLabels.of_said(said, names, planes, "ranges")

    def check_cases(self, known: Iterable[str]) -> None:
        """Refuse a line of a case that there is not."""
        cases = set(known)
        for row in self.rows:
            if row.case not in cases:
                raise UserError(
                    f"{row.where}: there is no case {row.case!r}"
                    + (nearest(row.case, cases) or "; name a case of the data set")
                )

    def check_has(self, case: str) -> None:
        """Refuse a case that no line speaks of."""
        cases = {row.case for row in self.rows}
        if case not in cases:
            raise UserError(
                f"table {self.path} says nothing of case {case!r}"
                + (nearest(case, cases) or f"; it has {', '.join(sorted(cases)[:3])}")
            )


def read_ranges(path: Path) -> RangeTable:
    """Read a table of slice ranges.

    Raises
    ------
    UserError
        It is no such table, or a line cannot be understood.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, strict=True)
            columns = [(name or "").strip() for name in table.fieldnames or ()]
            table.fieldnames = columns
            missing = [name for name in _NEEDED if name not in columns]
            if missing:
                raise UserError(
                    f"table {path} lacks the column {', '.join(missing)}; its first "
                    f"line names {','.join(COLUMNS)}"
                )
            rows = [_row(f"{path} line {table.line_num}", cells) for cells in table]
    except (csv.Error, UnicodeDecodeError) as err:
        raise UserError(f"{path} is not a table in CSV (UTF-8): {err}") from None
    except OSError as err:
        raise UserError(f"table {path} cannot be read: {err.strerror}") from None
    if not rows:
        raise UserError(f"table {path} says nothing: give it a line for each range")
    return RangeTable(path, tuple(rows))


def write_ranges(path: Path, cases: Mapping[str, SliceLabels]) -> Path:
    """Write what is known of the slices of cases; `read_ranges` reads it back.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for case, labels in cases.items():
        writer.writerows(_lines(case, labels))
    return atomic_write_bytes(path, text.getvalue().encode())


def _lines(case: str, labels: SliceLabels) -> Iterator[tuple[str, str, str, str]]:
    told = {name: labels.image[name] for name in labels.names}
    ranges = [one for one in labels.ranges() if told[one[0]] is not Presence.ABSENT]
    have = {name for name, state, *_ in ranges if state is Presence.PRESENT}
    for name, whole in told.items():
        # Present somewhere, though in no slice for sure: said of the whole image.
        if whole is not Presence.UNKNOWN and name not in have:
            yield case, name, whole.value, ""
    for name, state, first, stop in ranges:
        yield case, name, state.value, f"{first}:{stop}"


def _row(where: str, cells: Mapping[str, str]) -> RangeRow:
    if None in cells or None in cells.values():
        raise UserError(
            f"{where} has another number of cells than the first line names columns"
        )
    text = {name: cell.strip() for name, cell in cells.items()}
    for name in ("case", "label"):
        if not text[name]:
            raise UserError(f"{where} has no {name}; give it a name")
    try:
        state = Presence(text.get("state") or "present")
    except ValueError:
        raise UserError(
            f"{where}: state {text['state']!r} is not present, absent or unknown"
        ) from None
    slices = _slices(where, text["slices"])
    return RangeRow(where, text["case"], text["label"], state, slices)


def _slices(where: str, cell: str) -> tuple[int, int] | None:
    if not cell:
        return None
    found = _RANGE.fullmatch(cell)
    first, stop = (int(found[1]), int(found[2])) if found else (0, 0)
    if not first < stop:
        raise UserError(
            f"{where}: slices {cell!r} are no range; give a:b with a < b, planes from "
            "0, b not included, or nothing for the whole image"
        )
    return first, stop
