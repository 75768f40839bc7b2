"""A grid is a shape and an affine; a reorientation turns arrays and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume.affine import Affine
from diffseg.volume.quiet import nibabel

Scalar = TypeVar("Scalar", bound=np.generic)
Shape = tuple[int, int, int]
_PAIRS = ({"L", "R"}, {"P", "A"}, {"I", "S"})
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I", "": ""}


@dataclass(frozen=True, slots=True)
class Reorientation:
    """A permutation of the three spatial axes followed by flips; exact.

    Parameters
    ----------
    axes : tuple of int
        Axis `a` of the result is axis ``axes[a]`` of the input, among the
        last three (0 plane, 1 row, 2 column).
    flips : tuple of bool
        Which axes of the result run backwards.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def __post_init__(self) -> None:
        if sorted(self.axes) != [0, 1, 2]:
            raise ValueError(f"{self.axes} is not a permutation of 0, 1, 2")

    @property
    def identity(self) -> bool:
        """Whether nothing is turned."""
        return self.axes == (0, 1, 2) and not any(self.flips)

    def apply(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn the last three axes of `array` (..., Z, Y, X); C-contiguous."""
        turned = self._transposed(array, self.axes)
        return _contiguous(turned[self._index])

    def undo(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn back: ``undo(apply(a))`` equals ``a`` bit for bit; C-contiguous."""
        inverse = tuple(int(axis) for axis in np.argsort(self.axes))
        turned = self._transposed(array[self._index], inverse)
        return _contiguous(turned)

    @property
    def _index(self) -> tuple[Any, ...]:
        steps = (slice(None, None, -1 if flip else None) for flip in self.flips)
        return (..., *steps)

    @staticmethod
    def _transposed(
        array: NDArray[Scalar],
        axes: Sequence[int],
    ) -> NDArray[Scalar]:
        lead = array.ndim - 3
        if lead < 0:
            raise ValueError(f"expected (..., Z, Y, X), got shape {array.shape}")
        return array.transpose(*range(lead), *(lead + axis for axis in axes))


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of a (Z, Y, X) array lie.

    Parameters
    ----------
    shape : (Z, Y, X)
        Extent in voxels; the file's axes (i, j, k) reversed.
    affine : Affine
        From file voxels (i, j, k) to RAS+ mm.
    has_spacing : bool
        False for an image without millimetres (a photograph); its affine is
        then only a frame for arithmetic in voxels.
    has_sides : bool
        False where the file does not say how its axes lie in the patient; the
        affine's directions are then a guess, its spacing is not.
    named : (plane, row, column)
        Side of the patient that an axis runs to, as far as the header tells it
        without an affine (a radiograph's): one of L, R, P, A, I, S, or "".
    """

    shape: Shape
    affine: Affine
    has_spacing: bool = True
    has_sides: bool = True
    named: tuple[str, str, str] = ("", "", "")

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise UserError(f"shape {self.shape} is not three extents of 1 or more")

    @property
    def spacing_zyx(self) -> tuple[float, float, float]:
        """Distance of neighbouring planes, rows and columns in mm."""
        i, j, k = self.affine.spacing
        return (k, j, i)

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in ml; None without a spacing."""
        if not self.has_spacing:
            return None
        return float(abs(np.linalg.det(self.affine.matrix[:3, :3])) / 1000.0)

    def cropped(self, ranges: Sequence[tuple[int, int]]) -> Grid:
        """Return the grid of a half-open box ``((z0, z1), (y0, y1), (x0, x1))``.

        The box may reach beyond the grid, as a padded crop does.
        """
        shape = tuple(stop - start for start, stop in ranges)
        start_ijk = np.array([start for start, _ in reversed(ranges)], dtype=float)
        shift = np.eye(4)
        shift[:3, 3] = start_ijk
        moved = Affine(self.affine.matrix @ shift)
        return replace(self, shape=(shape[0], shape[1], shape[2]), affine=moved)

    def same_as(self, other: Grid, atol: float = 1e-3) -> bool:
        """Whether shapes are equal and affines agree to `atol` mm.

        Where one of the two has no spacing, only the shapes can be compared.
        """
        if self.shape != other.shape:
            return False
        if not (self.has_spacing and other.has_spacing):
            return True
        return self.affine.is_close(other.affine, atol)

    def reoriented(self, code: str) -> tuple[Grid, Reorientation]:
        """Return the grid with axes closest to `code`, and what turns arrays there.

        Parameters
        ----------
        code : str
            Orientation of (i, j, k), such as ``"RAS"``.

        Raises
        ------
        UserError
            `code` does not name one direction of each of the three axes.
        """
        letters = code.upper()
        if len(letters) != 3 or not all(pair & set(letters) for pair in _PAIRS):
            raise UserError(f"orientation {code!r}: give three of L/R, P/A, I/S")
        tools = nibabel().orientations
        here = tools.io_orientation(self.affine.matrix)
        turn = tools.ornt_transform(here, tools.axcodes2ornt(tuple(letters)))
        # Row i of `turn`: file axis i goes to file axis turn[i, 0].
        source = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in range(3)]
        axes = (2 - source[2], 2 - source[1], 2 - source[0])
        k, j, i = (bool(turn[source[axis], 1] < 0) for axis in (2, 1, 0))
        shape = (self.shape[axes[0]], self.shape[axes[1]], self.shape[axes[2]])
        back = tools.inv_ornt_aff(turn, self.shape[::-1])
        flips = (k, j, i)
        z, y, x = (
            _OPPOSITE[self.named[axis]] if flip else self.named[axis]
            for axis, flip in zip(axes, flips, strict=True)
        )
        moved = Affine(self.affine.matrix @ back)
        grid = replace(self, shape=shape, affine=moved, named=(z, y, x))
        return grid, Reorientation(axes, flips)


def _contiguous(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """C-contiguous also to torch: NumPy lets an axis of length 1 run backwards."""
    dense = np.ascontiguousarray(array)
    return dense.copy() if min(dense.strides, default=0) < 0 else dense
