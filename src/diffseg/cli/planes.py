"""Three planes through a place in a volume, as a radiologist looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from diffseg.domain import Proposal, RegionReport
    from diffseg.volume import Volume

Floats = NDArray[np.float32]
PlaneName = Literal["axial", "coronal", "sagittal"]
Point = tuple[float, float, float]

# Radiological display: array axes run to the patient's left, back and head, so
# that the patient's right is on the left of the screen.
DISPLAY = "LPS"
# array axes of rows and columns, whether rows are turned over to put the head up,
# and the letters left, right, top, bottom
_LAYOUT: dict[PlaneName, tuple[int, int, bool, str]] = {
    "axial": (1, 2, False, "RLAP"),
    "coronal": (0, 2, True, "RLSI"),
    "sagittal": (0, 1, True, "APSI"),
}
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00")


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An image and its proposal, turned to the display's axes.

    Parameters
    ----------
    grey : (Z, Y, X) float32 ndarray
        The first channel, windowed to [0, 1].
    agreement : (C, Z, Y, X) float32 ndarray
        For each structure, the share of members that include a voxel where the
        members were kept (`by_members`), else its probability.
    uncertainty : (Z, Y, X) float32 ndarray
        In [0, 1].
    spacing : (3,) tuple of float
        mm between voxels along (Z, Y, X).
    names, colors : tuples of str
        Of the structures.
    has_spacing : bool
        False where the file gives no millimetres; lengths are then in voxels.
    has_sides : bool
        False where it is not known which side is which; planes have no letters then.
    """

    grey: Floats
    agreement: Floats
    uncertainty: Floats
    spacing: Point
    names: tuple[str, ...]
    colors: tuple[str, ...]
    has_spacing: bool
    has_sides: bool
    by_members: bool


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A window of one plane: 2D arrays over rows and columns, and its extent.

    `rows_mm` and `columns_mm` are the coordinates of voxel centres from the window's
    own centre; `letters` name left, right, top and bottom, or are
    blanks.
    """

    name: PlaneName
    grey: Floats
    agreement: Floats
    uncertainty: Floats
    rows_mm: Floats
    columns_mm: Floats
    letters: str


def view_of(volume: Volume, proposal: Proposal) -> View:
    """Turn an image and its proposal to the axes of the display."""
    grid, turn = volume.grid.reoriented(DISPLAY)
    probability = proposal.probability
    if proposal.members is not None:
        values = proposal.labels.values
        probability = np.stack(
            [(proposal.members == value).mean(0, dtype=np.float32) for value in values]
        )
    z, y, x = (float(step) for step in grid.spacing_zyx)
    return View(
        grey=_windowed(turn.apply(np.asarray(volume.data)[0])),
        agreement=turn.apply(probability).astype(np.float32),
        uncertainty=turn.apply(proposal.uncertainty).astype(np.float32),
        spacing=(z, y, x),
        names=proposal.labels.names,
        colors=_colors(proposal),
        has_spacing=grid.has_spacing,
        has_sides=grid.has_spacing and grid.has_sides,
        by_members=proposal.members is not None,
    )


def _windowed(image: NDArray[np.generic]) -> Floats:
    grey = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
    inside = grey[grey > grey.min()]
    low, high = np.percentile(inside, (1, 99.7)) if inside.size else (0.0, 1.0)
    if low == high:  # two values in all
        low = grey.min()
    # Background below the window stays black whatever the window's start.
    shown: Floats = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
    return shown.astype(np.float32)


def _colors(proposal: Proposal) -> tuple[str, ...]:
    """Colours of the label table where they tell structures apart."""
    own = tuple(label.color for label in proposal.labels.each())
    if len(set(own)) == len(own):
        return own
    return tuple(OKABE_ITO[i % len(OKABE_ITO)] for i in range(len(own)))


def centre_of(
    volume: Volume, proposal: Proposal, region: RegionReport | None
) -> tuple[Point, float]:
    """Centroid of the foreground in `region`, and its largest extent in mm.

    The centroid is in voxels of the view, (Z, Y, X). Without foreground it is the
    region's own centre, and without a region the whole image counts.
    """
    within = np.zeros(proposal.mask.shape, bool)
    box = tuple(slice(*pair) for pair in region.box) if region is not None else ()
    within[box] = proposal.mask[box] > 0
    if not within.any():
        within[box] = True
    grid, turn = volume.grid.reoriented(DISPLAY)
    voxels = np.argwhere(turn.apply(within))
    z, y, x = (float(c) for c in voxels.mean(0))
    extent = (np.ptp(voxels, axis=0) + 1) * np.asarray(grid.spacing_zyx)
    return (z, y, x), float(extent.max())


def plane_of(
    view: View, name: PlaneName, centre: Point, half_mm: float | None = None
) -> Plane:
    """Cut the plane `name` through `centre`, a square window of twice `half_mm`.

    Parameters
    ----------
    centre : (3,) tuple of float
        Voxel of the view, (Z, Y, X).
    half_mm : float, optional
        Without it the plane's content fills the window, which is then no square.
        What lies outside the image is black.
    """
    rows, columns, turned, letters = _LAYOUT[name]
    across = ({0, 1, 2} - {rows, columns}).pop()
    index = min(round(centre[across]), view.grey.shape[across] - 1)
    steps = (view.spacing[rows], view.spacing[columns])
    at = (round(centre[rows]), round(centre[columns]))
    if half_mm is None:
        at, reach = _content(np.take(view.grey, index, axis=across))
    else:
        reach = (int(np.ceil(half_mm / steps[0])), int(np.ceil(half_mm / steps[1])))

    def cut(array: Floats) -> Floats:
        flat = np.take(array, index, axis=array.ndim - 3 + across)
        flat = _window(flat, at, reach)
        return flat[..., ::-1, :] if turned else flat

    return Plane(
        name=name,
        grey=cut(view.grey),
        agreement=cut(view.agreement),
        uncertainty=cut(view.uncertainty),
        rows_mm=_coordinates(reach[0], steps[0]),
        columns_mm=_coordinates(reach[1], steps[1]),
        letters=letters if view.has_sides else " " * len(letters),
    )


def _window(flat: Floats, at: tuple[int, int], reach: tuple[int, int]) -> Floats:
    """Voxels within `reach` of `at` in the last two axes, zero beyond the border."""
    pad = [(0, 0)] * (flat.ndim - 2) + [(reach[0], reach[0]), (reach[1], reach[1])]
    wide = np.pad(flat, pad)
    return wide[..., at[0] : at[0] + 2 * reach[0] + 1, at[1] : at[1] + 2 * reach[1] + 1]


def _content(flat: Floats) -> tuple[tuple[int, int], tuple[int, int]]:
    """Centre and reach of what is not black, with a twentieth to spare."""
    found = np.argwhere(flat > 0.05)
    if not len(found):
        found = np.array([(0, 0), np.array(flat.shape) - 1])
    low, high = found.min(0), found.max(0)
    at, reach = (low + high) // 2, np.ceil((high - low + 1) * 0.55).astype(int)
    return (int(at[0]), int(at[1])), (int(reach[0]), int(reach[1]))


def _coordinates(reach: int, step: float) -> Floats:
    return (np.arange(-reach, reach + 1) * step).astype(np.float32)
