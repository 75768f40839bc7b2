"""The pictures of an evaluation report, as PNG.

Colours are Okabe and Ito's, which every kind of colour vision tells apart.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from diffseg_training.pictures import Picture

BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"
INK, FAINT = "#1f2933", "#9aa5b1"
_CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
_DPI = 144
_CONTEXT_VOXELS = 10


def dice_plot(cases: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """Dice of every case, one column a structure, over a box of the quartiles."""
    figure, axes = _figure(max(5.4, 0.8 * len(names)), 3.6)
    scatter = np.random.default_rng(0)
    for i, name in enumerate(names):
        values = np.array([case["dice"][name] for case in cases])
        axes.boxplot(
            values,
            positions=[i],
            widths=0.5,
            showfliers=False,
            medianprops={"color": INK, "linewidth": 1.6},
            boxprops={"color": FAINT},
            whiskerprops={"color": FAINT},
            capprops={"color": FAINT},
        )
        offsets = i + scatter.uniform(-0.14, 0.14, len(values))
        axes.scatter(offsets, values, s=16, color=_CYCLE[i % 6], alpha=0.75, lw=0)
    # A dollar sign in a name is no formula.
    axes.set_xticks(range(len(names)), names, parse_math=False)
    if len(names) > 5:
        axes.tick_params(axis="x", rotation=45)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylabel("Dice of a case")
    axes.set_ylim(top=1.005)
    axes.grid(axis="y", color="#e4e7eb", lw=0.8)
    return _png(figure)


def reliability_plot(rows: Sequence[Sequence[float | None]]) -> bytes:
    """Accuracy over confidence, with the share of voxels in each bin below."""
    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1.2, ls="--", label="calibrated")
    points = [(row[0], row[1]) for row in rows if row[2]]
    axes.plot(*zip(*points, strict=True), "o-", color=BLUE, ms=5, label="model")
    axes.set_ylabel("share that is right")
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, loc="upper left")
    _voxels(below, rows)
    below.set_xlabel("confidence of the predicted class")
    for each in (axes, below):
        _tidy(each)
    return _png(figure)


def uncertainty_plot(rows: Sequence[Sequence[float | None]]) -> bytes:
    """Share of wrong voxels over uncertainty, with the voxels in each bin below."""
    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    points = [(row[0], row[1]) for row in rows if row[2]]
    axes.plot(*zip(*points, strict=True), "o-", color=VERMILLION, ms=5)
    axes.set_ylabel("share that is wrong")
    axes.set_ylim(bottom=-0.02)
    _voxels(below, rows)
    below.set_xlabel("uncertainty of a voxel")
    for each in (axes, below):
        _tidy(each)
    return _png(figure)


def difference_plot(
    cases: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    comparison: Mapping[str, Any],
) -> bytes:
    """Dice of the model minus the compared one's: cases, mean and interval."""
    gains = {
        name: np.array(
            [
                one["dice"][name] - other["dice"][name]
                for one, other in zip(cases, others, strict=True)
            ]
        )
        for name in comparison["dice"]
    }
    entries = [(name, comparison["dice"][name], gains[name]) for name in gains]
    macro = np.mean(list(gains.values()), axis=0)
    entries.append(("mean over structures", comparison["dice_macro"], macro))
    figure, axes = _figure(7.2, 0.9 + 0.62 * len(entries))
    scatter = np.random.default_rng(0)
    for i, (_, entry, values) in enumerate(entries):
        offsets = i + scatter.uniform(-0.16, 0.16, len(values))
        axes.scatter(values, offsets, s=13, color=SKY, alpha=0.6, lw=0)
        if entry["ci95"] is not None:
            axes.plot(entry["ci95"], [i, i], color=INK, lw=2.4, solid_capstyle="round")
        axes.plot([entry["difference"]], [i], "D", color=VERMILLION, ms=6)
    axes.axvline(0, color=FAINT, lw=1.2, ls="--")
    ticks = [name for name, _, _ in entries]
    axes.set_yticks(range(len(entries)), ticks, parse_math=False)
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.set_xlabel("difference of Dice (right of 0: the model is better)")
    return _png(figure)


def case_plot(picture: Picture) -> bytes:
    """Image, both contours on it, and the uncertainty of one slice."""
    window = _window(picture)
    rows, columns = (s.stop - s.start for s in window)
    # Three panels and a colour bar abreast, a title above and a legend below.
    width, height = 8.4, 8.4 / 3.25 * rows * picture.aspect / columns + 0.5
    figure = Figure(figsize=(width, float(np.clip(height, 2.2, 5.0))))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 3)
    image = picture.image[window]
    low, high = np.percentile(image, (0.5, 99.5))
    span = {"vmin": low, "vmax": max(high, low + 1e-6), "cmap": "gray"}
    for axes, title in zip(
        panels, ("image", "contours", "uncertainty (0 to 1)"), strict=True
    ):
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_axis_off()
    for axes in panels[:2]:
        axes.imshow(image, aspect=picture.aspect, interpolation="nearest", **span)
    _contour(panels[1], picture.reference[window], SKY, "-")
    _contour(panels[1], picture.prediction[window], ORANGE, "--")
    shown = panels[2].imshow(
        picture.uncertainty[window],
        aspect=picture.aspect,
        interpolation="nearest",
        cmap="cividis",
        vmin=0,
        vmax=1,
    )
    figure.colorbar(shown, ax=panels[2], shrink=0.8, pad=0.02)
    panels[1].legend(
        handles=[
            Line2D([], [], color=SKY, label="reference"),
            Line2D([], [], color=ORANGE, ls="--", label="proposal"),
        ],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    return _png(figure)


def _window(picture: Picture) -> tuple[slice, slice]:
    """Part of the slice around both masks, so that a small structure is seen."""
    rows, columns = np.nonzero((picture.reference > 0) | (picture.prediction > 0))
    height, width = picture.image.shape
    if not rows.size:
        return slice(0, height), slice(0, width)

    def around(hits: NDArray[np.intp], size: int) -> slice:
        margin = max(_CONTEXT_VOXELS, int(hits.max() - hits.min()) // 2)
        return slice(max(hits.min() - margin, 0), min(hits.max() + margin + 1, size))

    return around(rows, height), around(columns, width)


def _contour(axes: Axes, mask: NDArray[np.uint8], color: str, style: str) -> None:
    for value in np.unique(mask[mask > 0]):
        # A rim of background lets the line close where a mask meets the edge.
        inside = np.pad((mask == value).astype(float), 1)
        rows, columns = (np.arange(-1, size - 1) for size in inside.shape)
        axes.contour(
            columns, rows, inside, levels=[0.5], colors=[color], linestyles=style,
            linewidths=1.4,
        )  # fmt: skip
    axes.set_xlim(-0.5, mask.shape[1] - 0.5)
    axes.set_ylim(mask.shape[0] - 0.5, -0.5)


def _voxels(axes: Axes, rows: Sequence[Sequence[float | None]]) -> None:
    counts = [row[2] or 0 for row in rows]
    axes.bar(np.arange(10) / 10 + 0.05, counts, width=0.088, color=FAINT)
    axes.set_yscale("symlog", linthresh=1)
    powers = np.arange(2, 1 + np.log10(max(counts) + 1), 2)
    axes.set_yticks([0, *(10**powers)])
    axes.minorticks_off()
    axes.set_ylabel("voxels")
    axes.set_xlim(0, 1.02)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    return buffer.getvalue()
