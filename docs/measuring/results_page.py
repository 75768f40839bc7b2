"""The tables of docs/results.md, from what `make_results.py run` measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_cells import SETS, Cell
from results_data import FOLDS
from results_figures import draw_fingerprints, draw_losses
from results_folds import pooled_folds
from results_measured import measured_fingerprint, measured_losses
from results_recovery import fingerprint_table

Found = Mapping[str, Any]
EMPTY = "not run yet"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and what it says of what was found."""

    title: str
    tell: Callable[[Found], str]


def scored(title: str, *path: str, digits: int = 3) -> Column:
    """A column of a metric, with its interval over patients where it has one."""

    def tell(found: Found) -> str:
        metrics = found.get("val", {})
        return interval(at(metrics, path), at(metrics.get("ci95"), path), digits)

    return Column(title, tell)


def interval(value: Any, ends: Any, digits: int) -> str:
    """A number of any tree, over its classes if there are several, and its interval."""
    value, ends = over_classes(value), over_classes(ends)
    if value is None:
        return ""
    said = f"{value:.{digits}f}"
    return (
        said if ends is None else f"{said} ({ends[0]:.{digits}f}-{ends[1]:.{digits}f})"
    )


def over_classes(value: Any) -> Any:
    """The mean over classes; an interval only where there is one class."""
    if not isinstance(value, dict):
        return value
    each = [one for one in value.values() if one is not None]
    if len(each) == 1 or not each:
        return each[0] if each else None
    numbers = [one for one in each if isinstance(one, int | float)]
    return sum(numbers) / len(numbers) if numbers else None


def at(tree: Any, path: Sequence[str]) -> Any:
    """What stands in a tree under a path, or None."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _stability(found: Found) -> str:
    each = at(found.get("val"), ("stability", "dice")) or {}
    return f"{sum(one['std'] for one in each.values()) / len(each):.4f}" if each else ""


def _draws(found: Found) -> str:
    metrics = found.get("val", {})
    if "members" not in metrics or "steps" not in metrics:
        return ""  # nnU-Net knows of neither
    return f"{metrics['members']} x {metrics['steps']}"


def _minutes(found: Found) -> str:
    return f"{found['train']['minutes']:.1f}" if "train" in found else ""


IOU = scored("IoU", "iou_macro")
DICE = scored("Dice", "dice_macro")
POOLED = scored("IoU, pooled", "averages", "iou", "pooled")
PRESENT = scored("IoU where present", "averages", "iou", "positive_mean")
ECE = scored("ECE", "ece", "top_label", "pooled", digits=4)
BINARY = scored("ECE, binary", "ece", "binary", "pooled", digits=4)
BOX = scored("ECE in the box", "ece", "top_label", "box", digits=4)
AUROC = scored("AUROC of errors", "uncertainty_error_auroc")
DRAWS = Column("members x steps", _draws)
SPREAD = Column("SD of Dice over 10 seeds", _stability)
MINUTES = Column("minutes", _minutes)

COLUMNS = {
    "a": (IOU, PRESENT, POOLED, ECE, BINARY, BOX, DRAWS, MINUTES),
    "c": (DICE, PRESENT, ECE, SPREAD, MINUTES),
    "d": (DICE, IOU, ECE, BOX, AUROC, DRAWS, MINUTES),
    "e": (DICE, IOU, ECE, DRAWS, MINUTES),
}


def write_page(cells: Sequence[Cell], measured: Path, page: Path) -> None:
    """Put the tables between the page's marks; what stands around them stays.

    Raises
    ------
    ValueError
        The page has no place for a table.
    """
    text = page.read_text(encoding="utf-8")
    found = read_found(cells, measured)
    for table, columns in COLUMNS.items():
        mine = [one for one in cells if one.table == table]
        shown = [one for one in mine if one.kind in ("model", "evaluation", "nnunet")]
        lines = list(table_lines([one.name for one in shown], found, columns))
        text = between(text, table, "\n".join(lines))
    text = between(text, "b", experiments(found, measured, page.parent / "pictures"))
    text = between(text, "folds", "\n".join(pooled_folds(found, FOLDS)))
    aside = page.with_suffix(".part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(page)


def experiments(found: Mapping[str, Found], measured: Path, pictures: Path) -> str:
    """Draw the fingerprints and the losses; the table of the fingerprints."""
    losses = [one for one in (f"{data}-losses" for data in SETS) if one in found]
    if losses:
        several = [measured_losses(measured / f"{one}.json") for one in losses]
        draw_losses(several, pictures / "losses.png")
    named = {data: f"{data}-fingerprint" for data in SETS}
    there = {data: name for data, name in named.items() if name in found}
    if not there:
        return EMPTY
    fingerprints = {
        data: measured_fingerprint(measured / f"{name}.json")
        for data, name in there.items()
    }
    draw_fingerprints(fingerprints, pictures / "fingerprints.png")
    return fingerprint_table(fingerprints)


def read_found(cells: Sequence[Cell], measured: Path) -> dict[str, Found]:
    """What was measured of each cell that was run, by name."""
    files = {one.name: measured / f"{one.name}.json" for one in cells}
    return {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.exists()
    }


def table_lines(
    names: Sequence[str], found: Mapping[str, Found], columns: Sequence[Column]
) -> Iterator[str]:
    """The lines of one table; of what was not run, that it was not."""
    titles = ("cell", *(one.title for one in columns))
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for name in names:
        if name in found:
            told = [one.tell(found[name]) for one in columns]
        else:
            told = [EMPTY, *[""] * (len(columns) - 1)]
        yield f"| {' | '.join([name, *told])} |"


def between(text: str, table: str, content: str) -> str:
    """Put content between a table's marks."""
    begin, end = f"<!-- table {table} -->\n", f"<!-- end of table {table} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"docs/results.md has no place for table {table}")
    return f"{before}{begin}{content}\n{end}{after}"
