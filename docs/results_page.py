"""The tables of docs/results.md, from what `make_results.py run` measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

TITLES = {
    "a": "Segmenters at one small configuration",
    "c": "Latent diffusion: prediction, alignment and schedule",
}
COLUMNS = {
    "a": ("IoU", "IoU, pooled", "Dice", "ECE, pooled", "ECE, binary"),
    "c": ("Dice", "IoU", "over noise seeds, SD of Dice", "ECE, pooled"),
}
_EMPTY = "not run yet"


class Cell(Protocol):
    """What the page reads of a cell; see `make_results.Cell`."""

    name: str
    table: str
    data: str


def write_page(cells: Sequence[Cell], measured: Path, page: Path) -> None:
    """Put the tables between the page's marks; what stands around them stays.

    Raises
    ------
    ValueError
        The page has no place for a table.
    """
    text = page.read_text(encoding="utf-8")
    for table in TITLES:
        mine = [one for one in cells if one.table == table]
        text = _between(text, table, "\n".join(_table(table, mine, measured)))
    aside = page.with_suffix(".part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(page)


def _between(text: str, table: str, content: str) -> str:
    begin, end = f"<!-- table {table} -->\n", f"<!-- end of table {table} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"docs/results.md has no place for table {table}")
    return f"{before}{begin}{content}\n{end}{after}"


def _table(table: str, cells: Iterable[Cell], measured: Path) -> Iterable[str]:
    columns = ("data", "run", *COLUMNS[table], "steps", "minutes", "date")
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for cell in cells:
        file = measured / f"{cell.name}.json"
        if not file.exists():
            yield f"| {cell.data} | {cell.name} | {_EMPTY} |" + " |" * (
                len(columns) - 3
            )
            continue
        found = json.loads(file.read_text(encoding="utf-8"))
        numbers = [_number(name, found["val"]) for name in COLUMNS[table]]
        told = [str(found["train"]["steps"]), f"{found['minutes']:g}", found["date"]]
        yield f"| {' | '.join([cell.data, cell.name, *numbers, *told])} |"


def _number(column: str, metrics: Mapping[str, Any]) -> str:
    """One cell's number, with its interval over patients where it has one."""
    paths: dict[str, tuple[str, ...]] = {
        "Dice": ("dice_macro",),
        "IoU": ("iou_macro",),
        "ECE, pooled": ("ece_pooled",),
        "ECE, binary": ("ece", "binary", "pooled"),
    }
    if column == "IoU, pooled":
        every = metrics["averages"]["iou"]
        return f"{sum(one['pooled'] for one in every.values()) / len(every):.3f}"
    if column.startswith("over noise seeds"):
        each = (metrics.get("stability") or {}).get("dice", {}).values()
        return f"{sum(one['std'] for one in each) / len(each):.4f}" if each else ""
    value, interval = _at(metrics, paths[column]), _at(metrics["ci95"], paths[column])
    digits = 4 if column.startswith("ECE") else 3
    if value is None:
        return ""
    if interval is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({interval[0]:.{digits}f}-{interval[1]:.{digits}f})"


def _at(tree: Any, path: Sequence[str]) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
