"""Pictures of fingerprints: of one data set, and of several on one axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffseg.volume import atomic_write
from diffseg_training.fingerprint import Fingerprint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart by every kind of colour vision.
BLUE, GREEN, VERMILLION = "#0072B2", "#009E73", "#D55E00"
COLORS = (BLUE, "#E69F00", GREEN, "#CC79A7", "#56B4E9", VERMILLION)
INK, FAINT, PALE = "#1f2933", "#7b8794", "#e4e7eb"
_TIMESTEPS = (0, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 1000)


def draw_fingerprint(fingerprint: Fingerprint, picture: Path) -> Path:
    """Draw the error against the noise level, and the weights that follow from it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.6), dpi=144, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    _error(above, fingerprint)
    _weights(below, fingerprint)
    levels = fingerprint.log_snr
    last = fingerprint.beyond.log_snr[-1:] or levels[-1:]
    below.set_xlim(levels[0], last[0])
    _timestep_axis(above, fingerprint)
    below.set_xlabel("log SNR of a mask in [0, 1]   (noise grows to the right)")
    return _saved(figure, picture)


def draw_fingerprints(
    fingerprints: Mapping[str, Fingerprint], picture: Path, *, relative: bool = False
) -> Path:
    """Draw several data sets' errors on one axis (the analysis paper's figure 4).

    Parameters
    ----------
    fingerprints : mapping from a name to a Fingerprint
        At one size of slices, or the picture says nothing.
    picture : Path
    relative : bool
        Whether errors are shares of each data set's own prior error.
    """
    from matplotlib.figure import Figure

    sizes = {one.origin.size for one in fingerprints.values() if one.origin}
    if len(sizes) > 1:
        told = ", ".join(sorted(" x ".join(map(str, size)) for size in sizes))
        raise ValueError(f"fingerprints of slices of {told}; measure all at one size")
    figure = Figure(figsize=(8, 4.4), dpi=144, layout="constrained")
    axes = figure.subplots()
    ends = []
    for (name, one), color in zip(fingerprints.items(), COLORS, strict=False):
        whole = one.curve()
        scale = 1 / one.prior_error if relative else 1.0
        axes.plot(whole.log_snr, whole.error * scale, color=color, lw=2, label=name)
        axes.axhline(one.prior_error * scale, color=color, lw=1, ls=(0, (4, 3)))
        ends.append((whole.log_snr[0], whole.log_snr[-1]))
    axes.set_xlim(max(a for a, _ in ends), min(b for _, b in ends))
    axes.set_ylim(bottom=0)
    share = "error of the recovered mask" + (", share of the prior" * relative)
    axes.set_ylabel(share)
    axes.set_xlabel("log SNR of a mask in [0, 1]   (dashed: the prior's error)")
    axes.legend(frameon=False, loc="upper left")
    _timestep_axis(axes, next(iter(fingerprints.values())))
    _tidy(axes)
    return _saved(figure, picture)


def _error(axes: Axes, one: Fingerprint) -> None:
    _level(axes, one.prior_error, "best guess that sees nothing", (0, (5, 3)))
    held_out = one.prior_error_held_out
    if held_out is not None:
        _level(axes, held_out, "the same, of the masks measured", (0, (1, 2)))
    if one.error_raw:
        axes.plot(one.log_snr, one.error_raw, color=BLUE, lw=0, marker=".", ms=3)
    curve = one.curve()
    axes.plot(curve.log_snr, curve.error, color=BLUE, lw=2.2, label="without the image")
    if one.conditional is not None:
        axes.plot(
            one.log_snr,
            one.conditional.error,
            color=VERMILLION,
            lw=2.2,
            label=f"with the image ({one.conditional.model})",
        )
    refine = one.recommended.refine_log_snr
    axes.axvline(refine, color=GREEN, lw=1.2, ls=":", label="refine a mask here")
    if one.beyond.log_snr:
        axes.axvspan(one.log_snr[-1], one.beyond.log_snr[-1], color=PALE, lw=0)
        axes.annotate(
            "beyond the\nschedule",
            (0.985, 0.06),
            xycoords="axes fraction",
            ha="right",
            color=FAINT,
            fontsize=8,
        )
    highest = max(curve.error.max(), one.prior_error, held_out or 0)
    axes.set_ylim(0, 1.12 * highest)
    axes.set_ylabel("error of the recovered mask")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(0.0, 0.52))
    _tidy(axes)


def _level(axes: Axes, error: float, text: str, dashes: object) -> None:
    axes.axhline(error, color=FAINT, lw=1.1, ls=dashes, zorder=1)
    axes.annotate(
        text,
        (0.01, error),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        color=FAINT,
        fontsize=9,
    )


def _weights(axes: Axes, one: Fingerprint) -> None:
    axes.fill_between(one.log_snr, one.weights, color=BLUE, alpha=0.25, lw=0)
    axes.plot(one.log_snr, one.weights, color=BLUE, lw=1.4)
    axes.axhline(1, color=FAINT, lw=0.8)
    marks = [t for t in one.recommended.timesteps if t < one.timesteps]
    places = np.interp(marks, one.timestep, one.log_snr)
    axes.plot(places, np.zeros(len(places)), "|", color=INK, ms=9, clip_on=False)
    axes.set_ylabel("weight of\na timestep")
    axes.set_ylim(bottom=0)
    _tidy(axes)


def _timestep_axis(axes: Axes, one: Fingerprint) -> None:
    """A second axis on top: timesteps of the published schedule."""
    from diffseg.diffusion import noise_schedule

    levels = noise_schedule(one.schedule, one.timesteps).log_snr().numpy()
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    marks = [min(t * one.timesteps // 1000, one.timesteps - 1) for t in _TIMESTEPS]
    first, last = axes.get_xlim()
    shown = [t for t in marks if first >= levels[t] >= last]
    top.set_xticks([levels[t] for t in shown], [str(t) for t in shown])
    top.set_xlabel(f"timestep of the {one.schedule} schedule, T = {one.timesteps}")
    top.spines[["right", "left", "bottom"]].set_visible(False)


def _tidy(axes: Axes) -> None:
    axes.spines[["right", "top"]].set_visible(False)
    axes.grid(color=PALE, lw=0.8)
    axes.set_axisbelow(True)


def _saved(figure: Figure, picture: Path) -> Path:
    atomic_write(picture, lambda path: figure.savefig(path, format="png"))
    return picture
