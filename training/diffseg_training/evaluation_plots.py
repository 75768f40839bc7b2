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
from numpy.typing import NDArray

BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"
INK, FAINT = "#1f2933", "#9aa5b1"
_CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
_DPI = 144
Rows = Sequence[Sequence[float | None]]


def dice_plot(cases: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """Dice of every case, one column a structure, over a box of the quartiles."""
    figure, axes = _figure(max(5.4, 0.8 * len(names)), 3.6)
    for i, name in enumerate(names):
        values = np.array([case["dice"][name] for case in cases])
        _strip(axes, i, values, _CYCLE[i % len(_CYCLE)])
    # A dollar sign in a name is no formula.
    axes.set_xticks(range(len(names)), names, parse_math=False)
    if len(names) > 5:
        axes.tick_params(axis="x", rotation=45)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylabel("Dice of a case")
    axes.set_ylim(top=1.005)
    axes.grid(axis="y", color="#e4e7eb", lw=0.8)
    return as_png(figure)


def reliability_plot(lines: Mapping[str, Rows], confidence: str, share: str) -> bytes:
    """What is said against what is so, with the voxels in each bin below.

    Parameters
    ----------
    lines : mapping of name to rows
        Mean confidence, accuracy and voxels of each bin, for each line.
    confidence, share : str
        What the two axes are.
    """
    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    axes.plot([0, 1], [0, 1], color=FAINT, lw=1.2, ls="--", label="calibrated")
    for i, (name, rows) in enumerate(lines.items()):
        points = [(row[0], row[1]) for row in rows if row[2]]
        color = _CYCLE[i % len(_CYCLE)]
        axes.plot(*zip(*points, strict=True), "o-", color=color, ms=5, label=name)
    axes.set_ylabel(share)
    axes.set_ylim(-0.02, 1.02)
    # A dollar sign in a name is no formula.
    for text in axes.legend(frameon=False, loc="upper left", fontsize=9).get_texts():
        text.set_parse_math(False)
    _voxels(below, list(lines.values()))
    below.set_xlabel(confidence)
    for each in (axes, below):
        _tidy(each)
    return as_png(figure)


def uncertainty_plot(rows: Rows) -> bytes:
    """Share of wrong voxels over uncertainty, with the voxels in each bin below."""
    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    points = [(row[0], row[1]) for row in rows if row[2]]
    axes.plot(*zip(*points, strict=True), "o-", color=VERMILLION, ms=5)
    axes.set_ylabel("share that is wrong")
    axes.set_ylim(bottom=-0.02)
    _voxels(below, [rows])
    below.set_xlabel("uncertainty of a voxel")
    for each in (axes, below):
        _tidy(each)
    return as_png(figure)


def risk_plot(risk: Mapping[str, Any]) -> bytes:
    """Share of wrong voxels among the most certain ones, by the share kept."""
    figure, axes = _figure(4.4, 4.4)
    kept, wrong = np.array(risk["curve"]).T
    rate = risk["error_rate"]
    ideal = np.maximum(0, kept - (1 - rate)) / kept
    axes.fill_between(kept, ideal, wrong, color=SKY, alpha=0.25, lw=0)
    axes.axhline(rate, color=FAINT, lw=1.2, ls="--", label="in random order")
    axes.plot(kept, wrong, color=BLUE, lw=2, label="by the model's uncertainty")
    axes.plot(kept, ideal, color=GREEN, lw=1.4, ls=":", label="in the ideal order")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(float(wrong.max()), rate) * 1.35 + 1e-9)
    axes.set_xlabel("share of voxels kept, the most certain first")
    axes.set_ylabel("share of these that is wrong")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    return as_png(figure)


def raters_plot(cases: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """Dice of the raters with each other and with the proposal, case by case."""
    columns: list[tuple[str, list[float]]] = []
    count = min(len(case["proposal_dice"]) for case in cases)
    for name in names:
        of = f"\n{name}" if len(names) > 1 else ""
        between = [case["rater_dice"][name] for case in cases]
        columns.append((f"raters with\neach other{of}", between))
        for i in range(count):
            found = [case["proposal_dice"][i][name] for case in cases]
            columns.append((f"proposal with\nrater {i + 1}{of}", found))
    figure, axes = _figure(max(5.4, 1.5 * len(columns)), 3.6)
    for x, (_, values) in enumerate(columns):
        _strip(axes, x, np.array(values), INK if x % (count + 1) == 0 else BLUE)
    ticks = [title for title, _ in columns]
    axes.set_xticks(range(len(columns)), ticks, parse_math=False)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_ylabel("Dice of a case")
    axes.grid(axis="y", color="#e4e7eb", lw=0.8)
    return as_png(figure)


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
    if len(entries) > 1:
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
    return as_png(figure)


def _strip(axes: Axes, x: int, values: NDArray[np.float64], color: str) -> None:
    """One column of dots over a box of their quartiles."""
    axes.boxplot(
        values,
        positions=[x],
        widths=0.5,
        showfliers=False,
        medianprops={"color": INK, "linewidth": 1.6},
        boxprops={"color": FAINT},
        whiskerprops={"color": FAINT},
        capprops={"color": FAINT},
    )
    offsets = x + np.random.default_rng(x).uniform(-0.14, 0.14, len(values))
    size = 16 if len(values) < 200 else 6
    axes.scatter(offsets, values, s=size, color=color, alpha=0.75, lw=0)


def _voxels(axes: Axes, lines: Sequence[Rows]) -> None:
    width, most = 0.088 / len(lines), 0.0
    for i, rows in enumerate(lines):
        counts = [row[2] or 0 for row in rows]
        most = max(most, *counts)
        color = FAINT if len(lines) == 1 else _CYCLE[i % len(_CYCLE)]
        offset = 0.05 + (i - (len(lines) - 1) / 2) * width
        axes.bar(np.arange(10) / 10 + offset, counts, width=width, color=color)
    axes.set_yscale("symlog", linthresh=1)
    powers = np.arange(2, 1 + np.log10(most + 1), 2)
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


def as_png(figure: Figure) -> bytes:
    """Draw a figure on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    return buffer.getvalue()
