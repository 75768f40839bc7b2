"""The curves of a run as a picture: the loss and its terms, and the scores on val."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffseg.volume import atomic_write
from diffseg_training.state import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours: told apart by every kind of colour vision.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_NOT_TERMS = {"step", "minutes", "rate", "skipped", "images_per_second", "waiting"}
_INK, _FAINT = "#222222", "#777777"
Row = dict[str, Any]


def draw_curve(log: Path, picture: Path, title: str = "") -> Path:
    """Draw terms of the loss, and scores on val, against the steps of a run."""
    from matplotlib.figure import Figure

    rows = read_log(log)
    descents = [row for row in rows if "loss" in row]
    scores = [row for row in rows if "validation" in row]
    figure = Figure(figsize=(8, 6), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_losses(upper, descents)
    _draw_scores(lower, scores)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_FAINT)
        axes.tick_params(colors=_FAINT, labelcolor=_INK)
        axes.grid(axis="y", alpha=0.25, lw=0.6)
        axes.margins(x=0.02)
    lower.set_xlabel("step")
    if title:
        upper.set_title(title, loc="left", fontsize=12, color=_INK, weight="bold")
    if rows:
        last = rows[-1]
        upper.set_title(
            f"{last['step']} steps in {last['minutes']:.1f} min",
            loc="right",
            fontsize=9,
            color=_FAINT,
        )
    atomic_write(picture, lambda path: figure.savefig(path, format="png"))
    return picture


def _draw_losses(axes: Axes, rows: Sequence[Row]) -> None:
    """Each term as it was told, faint, and smoothed; the loss in bold."""
    names = [name for name in (rows[0] if rows else {}) if name not in _NOT_TERMS]
    names.sort(key=lambda name: name != "loss")
    steps = np.array([row["step"] for row in rows])
    for name, color in zip(names, _COLORS, strict=False):
        values = np.array([row.get(name, np.nan) for row in rows], dtype=float)
        smooth = _smoothed(values)
        main = name == "loss"
        label = "loss" if main else name.replace("_", " ")
        axes.plot(steps, values, color=color, lw=0.7, alpha=0.3)
        axes.plot(steps, smooth, color=color, lw=2.2 if main else 1.3, label=label)
    axes.set_ylabel("loss on train")
    if names:
        axes.set_ylim(bottom=0 if all(_positive(rows, n) for n in names) else None)
        axes.legend(frameon=False, ncols=min(4, len(names)), loc="upper right")


def _draw_scores(axes: Axes, rows: Sequence[Row]) -> None:
    """Each structure's score, the mean of them in bold, and where it was best."""
    steps = [row["step"] for row in rows]
    names = [n for n in (rows[0]["validation"] if rows else {}) if n != "score"]
    loss = names == ["loss"]
    for name, color in zip([] if loss else names, _COLORS, strict=False):
        values = [row["validation"].get(name, np.nan) for row in rows]
        axes.plot(steps, values, "o-", color=color, lw=1, ms=3, label=name)
    score = np.array([row["validation"]["score"] for row in rows], dtype=float)
    if loss:
        score = -score
    label = "loss" if loss else "mean"
    if np.isfinite(score).any():
        at = int(np.nanargmin(score) if loss else np.nanargmax(score))
        label += f", best {score[at]:.3f}"
        axes.plot(steps[at], score[at], "o", ms=11, mfc="none", mec=_INK, mew=1.2)
    axes.plot(steps, score, "o-", color=_INK, lw=2, ms=4, label=label)
    axes.set_ylabel("loss on val" if loss else "Dice on val")
    axes.margins(y=0.2)
    if names:
        axes.legend(frameon=False, ncols=min(4, len(names) + 1), loc="lower right")


def _positive(rows: Sequence[Row], name: str) -> bool:
    return all(row.get(name, 0) >= 0 for row in rows)


def _smoothed(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean over neighbours, a twentieth of the run to each side."""
    reach = max(1, len(values) // 20)
    return np.array(
        [
            np.nanmean(part) if np.isfinite(part).any() else np.nan
            for i in range(len(values))
            for part in (values[max(0, i - reach) : i + reach + 1],)
        ]
    )
