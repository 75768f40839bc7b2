"""The loss curve of a run, as a picture."""

from __future__ import annotations

from pathlib import Path

from diffseg.volume import atomic_write
from diffseg_training.state import read_log

# Okabe and Ito's colours: told apart by every kind of colour vision.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_NOT_TERMS = {"step", "minutes", "rate", "skipped"}


def draw_curve(log: Path, picture: Path) -> Path:
    """Draw terms of the loss and scores on val against minutes of training."""
    from matplotlib.figure import Figure

    rows = read_log(log)
    descents = [row for row in rows if "loss" in row]
    validations = [row for row in rows if "validation" in row]
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    left = figure.subplots()
    terms = [
        name for name in (descents[0] if descents else {}) if name not in _NOT_TERMS
    ]
    for name, color in zip(terms, _COLORS, strict=False):
        left.plot(
            [row["minutes"] for row in descents],
            [row[name] for row in descents],
            color=color,
            lw=1,
            label="loss" if name == "loss" else f"loss: {name}",
        )
    left.set(xlabel="minutes of training", ylabel="loss")
    left.grid(alpha=0.2)
    right = left.twinx()
    right.plot(
        [row["minutes"] for row in validations],
        [row["validation"]["score"] for row in validations],
        "o-",
        color="black",
        label="score on val",
    )
    right.set_ylabel("mean Dice on val")
    handles = [h for axes in (left, right) for h in axes.get_legend_handles_labels()[0]]
    left.legend(handles=handles, loc="center right", frameon=False)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)
    atomic_write(picture, lambda path: figure.savefig(path, format="png"))
    return picture
