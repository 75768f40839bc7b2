"""How the figures of docs/results.md look, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from diffseg.volume import atomic_write_bytes
from diffseg_training.fingerprint_plots import BLUE, COLORS, FAINT, GREEN, INK, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200  # twice that of a page 900 pixels wide
TITLE: dict[str, Any] = {"fontsize": 10.5, "loc": "left", "color": INK}
_OF_SETS = {"ph2": BLUE, "nuclei": "#E69F00", "lgg": GREEN}


def color_of(name: str, names: Sequence[str]) -> str:
    """A known data set's own colour, or the next that no other has."""
    if name in _OF_SETS:
        return _OF_SETS[name]
    free = [color for color in COLORS if color not in _OF_SETS.values()]
    others = [one for one in names if one not in _OF_SETS]
    return free[others.index(name) % len(free)]


def tidy(axes: Axes) -> None:
    """Two spines, pale gridlines below everything."""
    axes.spines[["right", "top"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK)
    axes.grid(color=PALE, lw=0.8)
    axes.set_axisbelow(True)


def saved(figure: Figure, picture: Path) -> Path:
    """Write a picture in few colours: a fifth of the bytes, and looks the same."""
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    whole = Image.open(drawn).convert("RGB")
    whole.quantize(128, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    atomic_write_bytes(picture, small.getvalue())
    return picture
