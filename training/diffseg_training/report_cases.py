"""The cases in an evaluation report: pictures of some, a table of all."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from diffseg_training.case_plot import case_plot
from diffseg_training.evaluation_text import number
from diffseg_training.pictures import Picture
from diffseg_training.report_parts import Cell, image, scored, table

Metrics = Mapping[str, Any]


def picture(one: Picture) -> str:
    """Return one case's figure with its caption."""
    score = one.score
    parts = [f"{name} {number(value)}" for name, value in score.dice.items()]
    plane = f"; plane {one.plane}" if one.plane else ""
    return (
        f"<figure><figcaption><b>{escape(score.case)}</b> Dice "
        f"{escape(', '.join(parts))}{plane}</figcaption>"
        f"{image(case_plot(one), f'Slice of {score.case}')}</figure>"
    )


def cases(metrics: Metrics) -> str:
    """Return the table of all cases, worst first, which a click sorts anew."""
    names = list(metrics["mean"]["dice"])
    in_mm = any(value is not None for value in metrics["mean"]["hd95_mm"].values())
    unit = "mm" if in_mm else "px"
    several = metrics["raters"] is not None
    kinds = (
        ("Dice", "dice", 3),
        ("IoU", "iou", 3),
        (f"HD95 {unit}", f"hd95_{unit}", 1),
        (f"surface {unit}", f"nsd_2{unit}", 3),
    )
    of = {name: f", {name}" if len(names) > 1 else "" for name in names}
    head = ["case", "patient"]
    head += [f"{title}{of[name]}" for name in names for title, _, _ in kinds]
    head += [*(f"GED²{of[name]}" for name in names if several), "ECE", "seconds"]
    rows = [
        [
            case["case"],
            case["group"],
            *(
                scored(case[kind][name], digits, bar=kind in ("dice", "iou"))
                for name in names
                for _, kind, digits in kinds
            ),
            *(_ged2(case, name) for name in names if several),
            scored(case["ece"], 4),
            scored(case["seconds"], 2),
        ]
        for case in sorted(metrics["cases"], key=lambda c: sum(c["dice"].values()))
    ]
    return table(head, rows, sortable=True)


def _ged2(case: Metrics, name: str) -> Cell:
    return scored(None if case["raters"] is None else case["raters"]["ged2"][name])
