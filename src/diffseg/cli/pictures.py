"""Pictures of a proposal: contours over the image, and how sure the ensemble is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffseg.cli.planes import Plane, PlaneName, View, centre_of, plane_of, view_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

    from diffseg.domain import Proposal, RegionReport
    from diffseg.volume import Volume

PLANES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")
PAPER, INK, QUIET = "#0B0D10", "#E8EAED", "#8B939C"
STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": "#000000",
    "savefig.facecolor": PAPER,
    "text.color": INK,
    "font.size": 10.5,
    "font.family": "DejaVu Sans",
}
MARGIN_MM = 14.0  # of surroundings on each side of the structures
LEFT = 0.018  # of a figure's width, where everything starts
FINER = 6  # contours are drawn on a grid this many times finer


def draw_pictures(volume: Volume, proposal: Proposal, folder: Path) -> list[Path]:
    """Write ``overview.png`` and one picture of three planes for each region.

    Parameters
    ----------
    volume, proposal : Volume, Proposal
        The image and what was proposed for it, on one grid.
    folder : Path
        Where the pictures go; those of an earlier run are replaced.

    Returns
    -------
    list of Path
        The pictures written, the overview first.
    """
    import matplotlib

    view = view_of(volume, proposal)
    # The canvas is made here and never shown: no backend of the user's is touched.
    with matplotlib.rc_context(STYLE):
        paths = [folder / "overview.png"]
        _save(_overview(view, volume, proposal), paths[0])
        for region in proposal.regions or (None,):
            name = region.name if region is not None else volume.name
            paths.append(folder / f"{name.replace(' ', '_')}.png")
            _save(_three_planes(view, volume, proposal, region), paths[-1])
    return paths


def _save(figure: Figure, path: Path) -> None:
    from diffseg.volume import atomic_write

    atomic_write(path, lambda aside: figure.savefig(aside, dpi=150, format="png"))


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _three_planes(
    view: View, volume: Volume, proposal: Proposal, region: RegionReport | None
) -> Figure:
    figure = _figure(12.6, 9.6)
    grid = figure.add_gridspec(
        2, 4, width_ratios=(1, 1, 1, 0.04), wspace=0.05, hspace=0.1,
        left=LEFT, right=0.935, top=0.865, bottom=0.065,
    )  # fmt: skip
    centre, extent = centre_of(volume, proposal, region)
    for column, name in enumerate(PLANES):
        plane = plane_of(view, name, centre, extent / 2 + MARGIN_MM)
        upper = figure.add_subplot(grid[0, column])
        _draw_contours(upper, plane, view)
        _furnish(upper, plane, view, name.capitalize())
        lower = figure.add_subplot(grid[1, column])
        shown = _draw_uncertainty(lower, plane)
        _furnish(lower, plane, view, "Uncertainty")
    _color_bar(figure, grid, shown, 3)
    _heading(figure, *_titles(proposal, region))
    _legend(figure, view)
    return figure


def _overview(view: View, volume: Volume, proposal: Proposal) -> Figure:
    """Draw the whole plane on the left, up to two regions enlarged beside it."""
    regions: Sequence[RegionReport | None] = proposal.regions[:2] or (None,)
    figure = _figure(16.8, 7.6)
    grid = figure.add_gridspec(
        len(regions), 5, width_ratios=(2.33, 1, 1, 1, 0.035), wspace=0.05,
        hspace=0.1, left=LEFT, right=0.952, top=0.86, bottom=0.075,
    )  # fmt: skip
    whole = figure.add_subplot(grid[:, 0])
    plane = plane_of(view, "coronal", centre_of(volume, proposal, None)[0])
    _draw_contours(whole, plane, view)
    _furnish(whole, plane, view, "Coronal")
    whole.set_anchor("N")
    for row, region in enumerate(regions):
        centre, extent = centre_of(volume, proposal, region)
        where = f"{_words(region.name)}, " if region is not None else ""
        for column, name in enumerate(("coronal", "sagittal", "sagittal"), start=1):
            plane = plane_of(view, name, centre, extent / 2 + MARGIN_MM)  # type: ignore[arg-type]
            axes = figure.add_subplot(grid[row, column])
            if column < 3:
                _draw_contours(axes, plane, view)
                _furnish(axes, plane, view, f"{where}{name}")
            else:
                shown = _draw_uncertainty(axes, plane)
                _furnish(axes, plane, view, f"{where}uncertainty")
    _color_bar(figure, grid, shown, 4)
    _heading(figure, *_titles(proposal, None))
    _legend(figure, view)
    return figure


def _draw_contours(axes: Axes, plane: Plane, view: View) -> None:
    """Show the image with each structure's median, inner and outer contour."""
    extent = _extent(plane)
    axes.imshow(
        plane.grey, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="bicubic"
    )
    for field, color in zip(plane.agreement, view.colors, strict=True):
        _contour(axes, plane, field, 0.05, color, 0.7, 0.75)
        _contour(axes, plane, field, 0.95, color, 0.7, 0.75)
        _contour(axes, plane, field, 0.5, color, 1.8, 1.0)


def _draw_uncertainty(axes: Axes, plane: Plane) -> Any:
    shown = axes.imshow(
        plane.uncertainty, cmap="magma", vmin=0, vmax=1, extent=_extent(plane),
        interpolation="bilinear",
    )  # fmt: skip
    for field in plane.agreement:
        _contour(axes, plane, field, 0.5, INK, 0.8, 0.65)
    return shown


def _contour(
    axes: Axes,
    plane: Plane,
    field: Any,
    level: float,
    color: str,
    width: float,
    alpha: float,
) -> None:
    from scipy.ndimage import gaussian_filter, zoom

    if not field.min() < level < field.max():
        return  # the structure does not cross this plane
    # A quarter of a voxel of smoothing takes the stairs off, and no more.
    fine = gaussian_filter(zoom(field, FINER, order=1), FINER / 4)
    rows = np.linspace(plane.rows_mm[0], plane.rows_mm[-1], fine.shape[0])
    columns = np.linspace(plane.columns_mm[0], plane.columns_mm[-1], fine.shape[1])
    axes.contour(
        columns, rows, fine, levels=[level], colors=[color],
        linewidths=width, alpha=alpha,
    )  # fmt: skip


def _extent(plane: Plane) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the outermost voxels' outer edges, row 0 on top."""
    half_row = abs(float(plane.rows_mm[1] - plane.rows_mm[0])) / 2
    half_column = abs(float(plane.columns_mm[1] - plane.columns_mm[0])) / 2
    return (
        float(plane.columns_mm[0]) - half_column,
        float(plane.columns_mm[-1]) + half_column,
        float(plane.rows_mm[-1]) + half_row,
        float(plane.rows_mm[0]) - half_row,
    )


def _furnish(axes: Axes, plane: Plane, view: View, caption: str) -> None:
    """Add the caption, the orientation letters and the scale bar; hide the frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_aspect("equal")
    axes.set_title(caption, loc="left", fontsize=10, color=QUIET, pad=4)
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.975), (0.5, 0.025))
    aligned = (("left", "center"), ("right", "center"), ("center", "top"))
    for letter, (x, y), (across, up) in zip(
        plane.letters, places, (*aligned, ("center", "bottom")), strict=True
    ):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha=across, va=up,
            color=INK, fontsize=10, path_effects=_halo(),
        )  # fmt: skip
    _scale_bar(axes, view.has_spacing)


def _scale_bar(axes: Axes, has_spacing: bool) -> None:
    left, right, bottom, top = axes.get_images()[0].get_extent()
    width, height = right - left, bottom - top
    length = max(
        (step for step in (1, 2, 5, 10, 20, 50, 100) if step <= width / 4), default=1
    )
    start, level = left + 0.045 * width, bottom - 0.05 * height
    axes.plot(
        [start, start + length], [level, level], color=INK, lw=2.2,
        solid_capstyle="butt", path_effects=_halo(),
    )  # fmt: skip
    axes.text(
        start, level - 0.018 * height,
        f"{length} {'mm' if has_spacing else 'px'}", fontsize=9, va="bottom",
        path_effects=_halo(),
    )  # fmt: skip


def _halo() -> list[Any]:
    """Dark edge that keeps ink legible on a bright image."""
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=2.6, foreground=PAPER, alpha=0.75), Normal()]


def _color_bar(figure: Figure, grid: GridSpec, shown: Any, column: int) -> None:
    axes = figure.add_subplot(grid[:, column])
    bar = figure.colorbar(shown, cax=axes, ticks=(0, 0.25, 0.5, 0.75, 1))
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=QUIET, labelcolor=QUIET, labelsize=9)
    bar.set_label(
        "Uncertainty (entropy, share of its maximum)", color=QUIET, fontsize=9.5
    )


def _heading(figure: Figure, title: str, below: str) -> None:
    figure.text(LEFT, 0.965, title, fontsize=17, weight="bold", va="top")
    figure.text(LEFT, 0.918, below, fontsize=11, color=QUIET, va="top")


def _titles(proposal: Proposal, region: RegionReport | None) -> tuple[str, str]:
    """Title with the volumes, and the line below it with their provenance."""
    if region is not None:
        name = _words(region.name)
        volumes = region.volume_ml
    elif proposal.regions:
        name = ""
        volumes = {_words(r.name): _total(r) for r in proposal.regions}
    else:
        name = "Proposal"
        volumes = {s.name: s.volume_ml for s in proposal.structures}
    parts = [f"{key} {ml:.2f} ml" for key, ml in volumes.items() if ml is not None]
    made = proposal.provenance
    model = f"{made.model['id']} {made.model['version']}"
    steps = f"{made.steps} step{'s' if made.steps > 1 else ''}"
    draws = f"{made.members} member{'s' if made.members > 1 else ''}"
    below = f"{model}, {draws}, {steps}, seed {made.seed}. Not a medical device."
    return "   ".join(part for part in (name, *parts) if part), below


def _total(region: RegionReport) -> float | None:
    known = [ml for ml in region.volume_ml.values() if ml is not None]
    return sum(known) if known else None


def _legend(figure: Figure, view: View) -> None:
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=color, lw=2.2, label=name)
        for name, color in zip(view.names, view.colors, strict=True)
    ]
    share = "of the members" if view.by_members else "probability"
    lines.append(Line2D([], [], color=QUIET, lw=2.0, label=f"50 % {share}"))
    lines.append(Line2D([], [], color=QUIET, lw=0.8, label=f"5 and 95 % {share}"))
    figure.legend(
        handles=lines, loc="lower left", bbox_to_anchor=(LEFT, 0.005),
        borderaxespad=0.4, borderpad=0, ncols=len(lines), frameon=False,
        fontsize=10, handlelength=1.6, columnspacing=1.8,
    )  # fmt: skip


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
