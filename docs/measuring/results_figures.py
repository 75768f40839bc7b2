"""Draw the fingerprints and the losses of several data sets (docs/results.md).

    python docs/measuring/results_figures.py --fingerprint ph2=fingerprints/ph2 \
        --fingerprint nuclei=fingerprints/nuclei --losses losses-ph2.json

writes ``docs/pictures/fingerprints.png`` (the analysis paper's figure 4) and
``docs/pictures/losses.png`` (its figure 3, middle and right), each where something is
given for it, and prints the table of the fingerprints. A file in ``docs/results`` that
holds a fingerprint or losses among other things may be given too.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from results_look import DPI, TITLE, color_of, saved, tidy
from results_measured import LossFile, measured_fingerprint, measured_losses
from results_recovery import (
    SHARES,
    fingerprint_table,
    reached,
    schedule_levels,
    whole_prior,
)

from diffseg.errors import UserError
from diffseg_training.fingerprint import Fingerprint
from diffseg_training.fingerprint_plots import FAINT, INK, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

PICTURES = Path(__file__).parents[1] / "pictures"
EARLY = 150
"""Timesteps of 1000 that the picture of the losses enlarges."""
_ROOM = 1.3  # of the prior's error, that is seen
_DASHED, _DOTTED = (0, (5, 3)), (0, (1.2, 1.2))
_TIMESTEPS = (0, 10, 50, 150, 300, 450, 600, 750, 1000)
_TITLES = {
    "E2": "Segmentation (E2): noise of the mask, image given",
    "E4": "Image generation (E4): noise of the image",
}


# Figure 4


def draw_fingerprints(fingerprints: Mapping[str, Fingerprint], picture: Path) -> Path:
    """Draw errors against the noise level, as they are and as shares of the prior's.

    Raises
    ------
    UserError
        There are none, or they are of several sizes or schedules.
    """
    from matplotlib.figure import Figure

    sizes = {one.origin.size for one in fingerprints.values() if one.origin}
    schedules = {(one.schedule, one.timesteps) for one in fingerprints.values()}
    if len(sizes) > 1 or len(schedules) != 1:
        raise UserError(
            "fingerprints are of several sizes or schedules, or there are none: "
            "measure all at one --size"
        )
    figure = Figure(figsize=(9.6, 4.5), dpi=DPI, layout="constrained")
    absolute, relative = figure.subplots(1, 2)
    for name, one in fingerprints.items():
        color = color_of(name, tuple(fingerprints))
        _recovery(absolute, one, color, 1.0)
        absolute.axhline(whole_prior(one), color=color, lw=1.1, ls=_DASHED, zorder=1)
        _recovery(relative, one, color, 1 / whole_prior(one))
        _crossings(relative, one, color)
    relative.axhline(1, color=FAINT, lw=1.1, ls=_DASHED, zorder=1)
    # What a young model says of masks that are all noise may lie far above a guess.
    highest = max(whole_prior(one) for one in fingerprints.values())
    for axes, top in ((absolute, highest), (relative, 1.0)):
        axes.set_ylim(0, _ROOM * top)
    relative.set_yticks([0, *SHARES, 1], ["0", "10 %", "50 %", "90 %", ""])
    absolute.set_title("Error of the recovered mask", **TITLE)
    relative.set_title("The same, as a share of the prior's error", **TITLE)
    several = tuple(fingerprints.values())
    for axes in (absolute, relative):
        _noise_axis(axes, several, named=axes is relative)
    with_image = any(one.conditional is not None for one in several)
    _legend(figure, tuple(fingerprints), with_image)
    return saved(figure, picture)


def _recovery(axes: Axes, one: Fingerprint, color: str, scale: float) -> None:
    curve = one.curve()
    axes.plot(curve.log_snr, curve.error * scale, color=color, lw=2)
    if one.conditional is not None:
        error = np.array(one.conditional.error) * scale
        axes.plot(one.log_snr, error, color=color, lw=2, ls=_DOTTED)


def _crossings(axes: Axes, one: Fingerprint, color: str) -> None:
    found = [(reached(one, share), share) for share in SHARES]
    shown = [(level, share) for level, share in found if math.isfinite(level)]
    if shown:
        axes.plot(*zip(*shown, strict=True), "o", color=color, mec="white", ms=7)


def _noise_axis(axes: Axes, several: Sequence[Fingerprint], named: bool) -> None:
    """Log SNR from clean to noisy; above it, timesteps; pale where these end."""
    curves = [one.curve() for one in several]
    first = min(float(curve.log_snr[0]) for curve in curves)
    last = max(float(curve.log_snr[-1]) for curve in curves)
    levels = schedule_levels(several[0])
    axes.set_xlim(first, last)
    if last < levels[-1]:
        axes.axvspan(levels[-1], last, color=PALE, alpha=0.75, lw=0, zorder=0)
        if named:
            axes.annotate(
                "beyond the\npublished\nschedule",
                ((levels[-1] + last) / 2, 0.02),
                xycoords=("data", "axes fraction"),
                ha="center",
                color=FAINT,
                fontsize=8,
            )
    timesteps = several[0].timesteps
    marks = [min(t * timesteps // 1000, timesteps - 1) for t in _TIMESTEPS]
    shown = [t for t in marks if first >= levels[t] >= last]
    axes.set_xticks(np.arange(5 * math.floor(first / 5), last - 0.1, -5))
    top = axes.twiny()
    top.set_xlim(first, last)
    top.set_xticks([levels[t] for t in shown], [_told(t) for t in shown], fontsize=8)
    top.tick_params(colors=FAINT, length=3)
    top.set_xlabel(
        f"timestep, {several[0].schedule} schedule", fontsize=8, color=FAINT, loc="left"
    )
    top.spines[:].set_visible(False)
    axes.set_xlabel("log SNR of a mask in [0, 1]    (more noise to the right)")
    tidy(axes)


def _told(timestep: int) -> str:
    return str(timestep + 1 if timestep % 10 == 9 else timestep)


def _legend(figure: Figure, names: Sequence[str], with_image: bool) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=color_of(n, names), lw=3, label=n) for n in names]
    lines.append(Line2D([], [], color=INK, lw=1.6, label="without the image"))
    if with_image:
        lines.append(
            Line2D([], [], color=INK, lw=1.6, ls=_DOTTED, label="with the image")
        )
    lines.append(
        Line2D(
            [], [], color=INK, lw=1.1, ls=_DASHED, label="best guess, seeing nothing"
        )
    )
    figure.legend(
        handles=lines, loc="outside lower center", ncols=len(lines), frameon=False
    )


# Figure 3


def draw_losses(several: Sequence[LossFile], picture: Path) -> Path:
    """Draw the losses of E2 and E4 against the timestep, with two standard errors.

    The first timesteps, where E2 dips and rises, are enlarged.

    Raises
    ------
    UserError
        There are none, or they are of schedules of several lengths.
    """
    from matplotlib.figure import Figure

    ends = {one.timesteps[-1] for one in several}
    if len(ends) != 1:
        raise UserError("losses are of several schedules, or there are none")
    shown = [key for key in _TITLES if any(key in one.errors for one in several)]
    figure = Figure(figsize=(4.8 * len(shown), 4.0), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    named: dict[str, Line2D] = {}
    for axes, experiment in zip(panels, shown, strict=True):
        named |= _loss_panel(axes, several, experiment)
        _enlarge(axes, several[0].timesteps[-1])
        axes.set_title(_TITLES[experiment], **TITLE)
        axes.tick_params(labelleft=True, which="major")
    panels[0].set_yscale("log")
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[0].set_ylabel("squared error of the noise")
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return saved(figure, picture)


def _loss_panel(
    axes: Axes, several: Sequence[LossFile], experiment: str
) -> dict[str, Line2D]:
    """Draw one experiment's losses; the line of each data set, by what it is called."""
    lines = {}
    for one in several:
        if experiment not in one.errors:
            continue
        color = color_of(one.data, [each.data for each in several])
        mean = np.array(one.errors[experiment])
        margin = 2 * np.array(one.standard_errors[experiment])
        low = np.maximum(mean - margin, mean / 10)
        axes.fill_between(
            one.timesteps, low, mean + margin, color=color, alpha=0.16, lw=0
        )
        (line,) = axes.plot(one.timesteps, mean, color=color, lw=1.8)
        lines[f"{one.data} ({one.count} images)"] = line
    tidy(axes)
    return lines


def _enlarge(axes: Axes, last: int) -> None:
    """Give the first timesteps, pale behind, a third of the width."""
    first, third = last * EARLY / 1000, last / 3
    far = (0, first, last), (0, third, last)
    axes.set_xscale(
        "function",
        functions=(lambda t: np.interp(t, *far), lambda x: np.interp(x, *far[::-1])),
    )
    axes.axvspan(0, first, color=PALE, alpha=0.5, lw=0, zorder=0)
    ticks = [(last + 1) * t // 1000 for t in (0, 50, 100, EARLY, 400, 600, 800, 1000)]
    axes.set_xticks([min(t, last) for t in ticks], [str(t) for t in ticks])
    axes.set_xlim(0, last)
    axes.set_xlabel(f"timestep    (the first {first:.0f} enlarged)")


def _named(given: str) -> tuple[str, Fingerprint]:
    name, equals, path = given.partition("=")
    if not name or not equals:
        raise UserError(f"fingerprint {given!r} is not NAME=FILE, as ph2=runs/ph2")
    return name, measured_fingerprint(Path(path))


def main() -> None:
    """Draw what the command line gives, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fingerprint", action="append", default=[], metavar="NAME=FILE"
    )
    parser.add_argument("--losses", action="append", default=[], type=Path)
    parser.add_argument("--out", type=Path, default=PICTURES)
    given = parser.parse_args()
    try:
        if given.fingerprint:
            fingerprints = dict(map(_named, given.fingerprint))
            draw_fingerprints(fingerprints, given.out / "fingerprints.png")
            print(fingerprint_table(fingerprints))
        if given.losses:
            several = list(map(measured_losses, given.losses))
            draw_losses(several, given.out / "losses.png")
    except UserError as err:
        sys.exit(f"error: {err}")


if __name__ == "__main__":
    main()
