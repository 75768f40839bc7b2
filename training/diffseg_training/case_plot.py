"""One case as a picture: image, contours of raters and proposal, uncertainty."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from diffseg_training.evaluation_plots import INK, ORANGE, PURPLE, SKY, as_png
from diffseg_training.pictures import Picture

_RATERS = (SKY, PURPLE)
_WIDTH, _HEIGHT = 8.4, 3.3
_CROWDED = 2500
"""Pixels of a mask's rim above which lines are drawn fine, as of vessels."""


def case_plot(picture: Picture) -> bytes:
    """Image, all contours on it, and the uncertainty of one slice, as PNG."""
    rows, columns = picture.prediction.shape
    # Three panels and a colour bar abreast, a title above and a legend below.
    steep = rows * picture.aspect / columns
    height = min(_WIDTH / 3.25 * steep, _HEIGHT)
    figure = Figure(figsize=(_WIDTH, max(height, _WIDTH / 9) + 0.5))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 3)
    titles = ("image", "contours", "uncertainty (0 to 1)")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_axis_off()
    for axes in panels[:2]:
        axes.imshow(
            picture.image.astype(np.float32),
            aspect=picture.aspect,
            interpolation="nearest",
            cmap="gray",
            vmin=0,
            vmax=1,
        )
    for mask, color in zip(picture.references, _RATERS, strict=False):
        _contour(panels[1], mask, color, "-")
    _contour(panels[1], picture.prediction, ORANGE, "--")
    shown = panels[2].imshow(
        picture.uncertainty.astype(np.float32),
        aspect=picture.aspect,
        interpolation="nearest",
        cmap="cividis",
        vmin=0,
        vmax=1,
    )
    figure.colorbar(shown, ax=panels[2], shrink=0.8, pad=0.02)
    panels[1].legend(
        handles=_legend(len(picture.references)),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=3,
        frameon=False,
        fontsize=8,
        handlelength=1.4,
        columnspacing=1.0,
    )
    return as_png(figure)


def _legend(raters: int) -> list[Line2D]:
    names = ["reference"] if raters == 1 else [f"rater {i + 1}" for i in range(raters)]
    lines = [
        Line2D([], [], color=color, label=name)
        for name, color in zip(names, _RATERS, strict=False)
    ]
    return [*lines, Line2D([], [], color=ORANGE, ls="--", label="proposal")]


def _contour(axes: Axes, mask: NDArray[np.uint8], color: str, style: str) -> None:
    crowded = _rim(mask) > _CROWDED
    for value in np.unique(mask[mask > 0]):
        # A rim of background lets the line close where a mask meets the edge.
        inside = np.pad((mask == value).astype(float), 1)
        rows, columns = (np.arange(-1, size - 1) for size in inside.shape)
        axes.contour(
            columns, rows, inside, levels=[0.5], colors=[color], linestyles=style,
            linewidths=0.5 if crowded else 1.4,
        )  # fmt: skip
    axes.set_xlim(-0.5, mask.shape[1] - 0.5)
    axes.set_ylim(mask.shape[0] - 0.5, -0.5)


def _rim(mask: NDArray[np.uint8]) -> int:
    """Places where neighbouring pixels differ."""
    return int(
        np.count_nonzero(np.diff(mask, axis=0)) + np.count_nonzero(np.diff(mask))
    )
