"""Reliability before and after a calibration, side by side, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from diffseg_training.evaluation_plots import BLUE, FAINT, INK, VERMILLION, as_png

_SIDES = (("before", VERMILLION, "before"), ("after", BLUE, "after, patients held out"))


def calibration_plot(figures: Mapping[str, Any], names: tuple[str, ...]) -> bytes:
    """Draw what is said against what is so, in the box around the object.

    Parameters
    ----------
    figures : mapping
        `diffseg.ensemble.calibration_choice.Calibrated.figures`.
    names : tuple of str
        Of the structures: one panel each, after that of the likeliest class.
    """
    place = "image" if figures["before"]["box"] is None else "box"
    titles = ("likeliest class", *names)
    figure = Figure(figsize=(3.6 * len(titles), 3.9), layout="constrained")
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    for i, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1.2, ls="--")
        for side, color, words in _SIDES:
            found = figures[side][place]
            rows = found["reliability"]
            ece = found["ece"]
            if i:
                rows = found["reliability_binary"][i - 1]
                ece = found["ece_binary"][i - 1]
            points = [(row[0], row[1]) for row in rows if row[2]]
            label = f"{words}: ECE {ece:.4f}"
            axes.plot(*zip(*points, strict=True), "o-", color=color, ms=4, label=label)
        # A dollar sign in a name is no formula.
        axes.set_title(title, fontsize=10, color=INK, parse_math=False)
        axes.set_xlabel("probability")
        axes.set_ylabel("share that is right" if not i else "share inside")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left", fontsize=8)
    return as_png(figure)
