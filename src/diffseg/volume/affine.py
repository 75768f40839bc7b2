"""The affine is a class: spacing, origin, direction, orientation, composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffseg.errors import UserError
from diffseg.volume.quiet import nibabel

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SMALLEST_SINE_PRODUCT = 1e-6
"""Below this determinant of the unit columns the axes are taken as coplanar."""


def _validated(matrix: ArrayLike) -> NDArray[np.float64]:
    values = np.array(matrix, dtype=np.float64)
    if values.shape != (4, 4):
        raise UserError(f"affine has shape {values.shape}; give a 4x4 matrix")
    if not np.isfinite(values).all():
        raise UserError("affine holds NaN or Inf; give finite numbers")
    if not np.allclose(values[3], (0, 0, 0, 1)):
        raise UserError("last row of the affine is not 0 0 0 1")
    lengths = np.linalg.norm(values[:3, :3], axis=0)
    if (lengths == 0).any():
        raise UserError("affine is singular: an axis has spacing 0; repair the header")
    if abs(np.linalg.det(values[:3, :3] / lengths)) < _SMALLEST_SINE_PRODUCT:
        raise UserError("affine is singular: its axes are coplanar; repair the header")
    values.setflags(write=False)
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Where voxels lie: a map from file voxels (i, j, k) to RAS+ millimetres.

    Parameters
    ----------
    matrix : (4, 4) array_like
        Homogeneous matrix; kept as read-only float64.

    Raises
    ------
    UserError
        The matrix is not 4x4, not finite, or singular.
    """

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _validated(self.matrix))

    @classmethod
    def identity(cls) -> Affine:
        """One millimetre along R, A and S from the world's origin."""
        return cls(np.eye(4))

    @classmethod
    def from_parts(
        cls,
        spacing: Sequence[float],
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        direction: ArrayLike | None = None,
    ) -> Affine:
        """Compose from spacing (i, j, k) in mm > 0, origin and unit columns.

        Raises
        ------
        UserError
            A spacing is zero, negative or not finite.
        """
        steps = np.asarray(spacing, dtype=np.float64)
        if steps.shape != (3,) or not np.isfinite(steps).all() or (steps <= 0).any():
            shown = " x ".join(f"{step:g}" for step in np.atleast_1d(steps))
            raise UserError(f"spacing {shown} mm: give three numbers above 0")
        matrix = np.eye(4)
        columns = np.eye(3) if direction is None else np.asarray(direction)
        matrix[:3, :3] = columns @ np.diag(steps)
        matrix[:3, 3] = origin
        return cls(matrix)

    @classmethod
    def from_lps(cls, matrix: ArrayLike) -> Affine:
        """Convert a voxel-to-LPS+ matrix, as ITK and DICOM use, to RAS+."""
        return cls(_LPS_TO_RAS @ np.asarray(matrix, dtype=np.float64))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along i, j, k in mm (column norms)."""
        i, j, k = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return (float(i), float(j), float(k))

    @property
    def origin(self) -> tuple[float, float, float]:
        """RAS+ position in mm of voxel (0, 0, 0)."""
        x, y, z = self.matrix[:3, 3]
        return (float(x), float(y), float(z))

    @property
    def direction(self) -> NDArray[np.float64]:
        """(3, 3) matrix whose unit columns are the directions of i, j, k."""
        unit: NDArray[np.float64] = self.matrix[:3, :3] / self.spacing
        return unit

    @property
    def orientation(self) -> str:
        """World axes closest to i, j, k, such as ``"RAS"``; all three differ."""
        codes = nibabel().aff2axcodes(self.matrix)
        return "".join(str(code) for code in codes)

    @property
    def obliqueness_deg(self) -> float:
        """Largest angle between a voxel axis and its closest world axis."""
        cosines = np.abs(self.direction).max(axis=0).clip(0.0, 1.0)
        return float(np.degrees(np.arccos(cosines)).max())

    @property
    def is_orthogonal(self) -> bool:
        """Whether the axes are perpendicular, as a quaternion or ITK demands."""
        gram = self.direction.T @ self.direction
        return bool(np.allclose(gram, np.eye(3), atol=1e-4))

    def inverse(self) -> Affine:
        """Return the map from RAS+ mm to voxels (i, j, k)."""
        return Affine(np.linalg.inv(self.matrix).astype(np.float64))

    def is_close(self, other: Affine, atol: float = 1e-3) -> bool:
        """Whether both matrices agree to `atol` (mm) in every entry."""
        return bool(np.allclose(self.matrix, other.matrix, rtol=0, atol=atol))

    @overload
    def __matmul__(self, other: Affine) -> Affine: ...
    @overload
    def __matmul__(self, other: NDArray[Any]) -> Any: ...
    def __matmul__(self, other: Affine | NDArray[Any]) -> Any:
        """Compose with an `Affine` or 4x4 matrix, or map (..., 3) points."""
        if isinstance(other, Affine):
            return Affine(self.matrix @ other.matrix)
        operand = np.asarray(other, dtype=np.float64)
        if operand.shape == (4, 4):
            return Affine(self.matrix @ operand)
        if operand.shape[-1:] != (3,):
            raise ValueError(f"expected (..., 3) points, got {operand.shape}")
        return operand @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Affine):
            return NotImplemented
        return bool(np.array_equal(self.matrix, other.matrix))

    def __hash__(self) -> int:
        return hash(self.matrix.tobytes())

    def __reduce__(self) -> tuple[type[Affine], tuple[NDArray[np.float64]]]:
        return (Affine, (np.array(self.matrix),))
