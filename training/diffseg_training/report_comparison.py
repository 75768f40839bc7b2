"""The section of an evaluation report that sets one model against another."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from diffseg_training.evaluation_plots import difference_plot
from diffseg_training.evaluation_text import number, p_value
from diffseg_training.report_parts import estimate, image, table

Metrics = Mapping[str, Any]
SCORES = (
    ("Dice, mean", "dice_macro", 3),
    ("Dice, merged", "dice_foreground", 3),
    ("IoU, mean", "iou_macro", 3),
    ("ECE, all voxels", "ece_pooled", 4),
    ("ECE, mean of images", "ece_image_mean", 4),
    ("ECE in the box", "ece_foreground_box", 4),
    ("AUROC of uncertainty", "uncertainty_error_auroc", 3),
)
"""What is compared: title, key in ``comparison``, decimals."""
OVER_STRUCTURES = ("dice_macro", "dice_foreground", "iou_macro")


def comparison(metrics: Metrics) -> str:
    """Return the section; nothing where there is no second model."""
    if "comparison" not in metrics:
        return ""
    found = metrics["comparison"]
    other = found["compared"]
    picture = difference_plot(metrics["cases"], other["cases"], found)
    rows = [
        (f"{title}, {name}", *_paired(entry))
        for title, kind in (("Dice", "dice"), ("IoU", "iou"))
        for name, entry in found[kind].items()
    ]
    one = len(found["dice"]) == 1  # then its mean over structures is that one again
    rows += [
        (title, *_paired(found[key], digits))
        for title, key, digits in SCORES
        if not (one and key in OVER_STRUCTURES)
    ]
    if "raters" in found:
        rows += [
            (f"GED², {name}", *_paired(entry))
            for name, entry in found["raters"]["ged2"].items()
        ]
    theirs = f"{other['model']['id']} {other['model']['version']}"
    head = ("", metrics["model"]["id"], theirs, "difference (95 % interval)",
            "p, exchange", "p, Wilcoxon")  # fmt: skip
    return (
        f"<section><h2>Against {escape(theirs)}</h2>"
        "<p>Differences are paired by case; dots are cases, the diamond is their "
        "mean, the bar its 95 % interval over patients. Of ECE and GED² less is "
        "better. p: the chance of a difference as large if it did not matter which "
        "model answered, by exchanging the answers patient by patient, and by "
        "Wilcoxon's signed ranks of the patients' means.</p>"
        f"{image(picture, 'Paired differences of Dice')}{table(head, rows)}</section>"
    )


def _paired(entry: Metrics, digits: int = 3) -> tuple[str, ...]:
    return (
        number(entry["model"], digits),
        number(entry["compared"], digits),
        estimate(entry["difference"], entry["ci95"], digits, signed=True),
        p_value(entry["p_permutation"]),
        p_value(entry["p_wilcoxon"]),
    )
