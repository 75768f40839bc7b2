"""Distances between the surfaces of two masks, in mm.

Given a spacing of 1, every length is in voxels instead: for images that have none.

A structure's surface is those of its voxels that have a face neighbour outside
it; the edge of the image counts as outside. In an image of one plane only the
neighbours within the plane count. Distances run between voxel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.metrics.overlap import IntMask, require_same_shape

Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """Distance in mm of every surface voxel to the other mask's surface.

    Parameters
    ----------
    to_reference, to_mask : (N,) float64 ndarrays
        From the mask's surface to the reference's, and the other way round.
    """

    to_reference: NDArray[np.float64]
    to_mask: NDArray[np.float64]

    @property
    def both(self) -> NDArray[np.float64]:
        """The union of both directions."""
        return np.concatenate([self.to_reference, self.to_mask])

    @property
    def hd95_mm(self) -> float:
        """95 % Hausdorff distance, over the union of both directions.

        The other common convention takes the larger of the two directions' own
        percentiles. It is at least as large as this one (but for interpolation),
        and follows the worse direction however small its surface is.
        """
        return float(np.percentile(self.both, 95))

    def nsd(self, tolerance_mm: float = 2.0) -> float:
        """Share of both surfaces that lies within `tolerance_mm` of the other.

        Normalised surface Dice (Nikolov et al., 2021), with every surface voxel
        weighted alike rather than by the area of its facets.
        """
        # A hair of slack: a distance of exactly the tolerance is within it.
        return float(np.mean(self.both <= tolerance_mm + 1e-9))


def surface_distances(
    mask: IntMask,
    reference: IntMask,
    spacing_zyx: Spacing | None,
    value: int = 1,
) -> SurfaceDistances | None:
    """Measure both surfaces of one structure against each other.

    Parameters
    ----------
    mask, reference : (Z, Y, X) integer ndarrays
    spacing_zyx : (3,) floats or None
        Distance between planes, rows and columns in mm; None where unknown.
    value : int
        The structure's value in both.

    Returns
    -------
    SurfaceDistances or None
        None where it is undefined: no spacing, or a mask without the structure
        (both empty included).

    Raises
    ------
    ValueError
        The shapes differ or are not three-dimensional.
    """
    require_same_shape(mask, reference)
    if mask.ndim != 3:
        raise ValueError(f"masks are (Z, Y, X), not of shape {mask.shape}")
    found, wanted = mask == value, reference == value
    if spacing_zyx is None or not (found.any() and wanted.any()):
        return None
    # Both surfaces lie in the box of both structures, and so do the nearest
    # points: the transforms need no more of the volume than that.
    (box,) = ndimage.find_objects((found | wanted).astype(np.uint8))
    flat = mask.shape[0] == 1
    found, wanted = _surface(found[box], flat), _surface(wanted[box], flat)
    return SurfaceDistances(
        _distance_to(wanted, spacing_zyx)[found],
        _distance_to(found, spacing_zyx)[wanted],
    )


def hd95_mm(
    mask: IntMask,
    reference: IntMask,
    spacing_zyx: Spacing | None,
    value: int = 1,
) -> float | None:
    """95 % Hausdorff distance over the union of both directions, in mm.

    None where `surface_distances` is undefined; see there, and
    `SurfaceDistances.hd95_mm` for the convention.
    """
    distances = surface_distances(mask, reference, spacing_zyx, value)
    return None if distances is None else distances.hd95_mm


def nsd(
    mask: IntMask,
    reference: IntMask,
    spacing_zyx: Spacing | None,
    value: int = 1,
    tolerance_mm: float = 2.0,
) -> float | None:
    """Normalised surface Dice at a tolerance in mm, in [0, 1].

    None where `surface_distances` is undefined; see there.
    """
    distances = surface_distances(mask, reference, spacing_zyx, value)
    return None if distances is None else distances.nsd(tolerance_mm)


def _surface(inside: NDArray[np.bool_], flat: bool) -> NDArray[np.bool_]:
    faces = ndimage.generate_binary_structure(3, 1)
    if flat:
        faces[[0, 2]] = False
    core: NDArray[np.bool_] = ndimage.binary_erosion(inside, faces, border_value=0)
    return inside & ~core


def _distance_to(surface: NDArray[np.bool_], spacing_zyx: Spacing) -> NDArray[Any]:
    distance: NDArray[Any] = ndimage.distance_transform_edt(
        ~surface, sampling=spacing_zyx
    )
    return distance
