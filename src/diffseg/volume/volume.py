"""The volume: voxels on a grid, loaded when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffseg.errors import UserError
from diffseg.volume.affine import Affine
from diffseg.volume.grid import Grid
from diffseg.volume.source import Source

Voxels = NDArray[Any]
Loader = Callable[[], Voxels]
PathOrPaths = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An image of one or more channels on a grid. Frozen; voxels load lazily.

    Parameters
    ----------
    loader : callable
        Returns the (C, Z, Y, X) voxels; picklable, called at most once.
    grid : Grid
        Where the voxels lie.
    source : Source
        The file that it came from.
    warnings : tuple of str
        What a reader had to decide, one line each.

    Examples
    --------
    >>> volume = Volume.from_array(np.zeros((2, 3, 4)))
    >>> volume.shape, volume.channels
    ((2, 3, 4), 1)
    """

    loader: Loader = field(repr=False)
    grid: Grid
    source: Source
    warnings: tuple[str, ...] = ()
    _cache: list[Voxels] = field(default_factory=list, repr=False)

    @classmethod
    def read(
        cls,
        path: PathOrPaths,
        frame: int | None = None,
        series: str | None = None,
    ) -> Volume:
        """Open an image; its header is read at once, its voxels on first use.

        Parameters
        ----------
        path : path or sequence of paths
            A file, a DICOM folder, a folder of numbered slices; several paths,
            or one string joined by ``;``, are channels of one image.
        frame : int, optional
            Which frame of a 4D image; 0 with a warning when not given.
        series : str, optional
            SeriesInstanceUID within a DICOM folder.

        Raises
        ------
        UserError
            The image cannot be read, or a choice is missing; in one line.
        """
        from diffseg.volume.reading import read_volume

        return read_volume(path, frame=frame, series=series)

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        affine: Affine | ArrayLike | None = None,
        name: str = "array",
    ) -> Volume:
        """Wrap a (Y, X), (Z, Y, X) or (C, Z, Y, X) array.

        Parameters
        ----------
        array : array_like
            Real numbers.
        affine : Affine or (4, 4) array_like, optional
            From (x, y, z) = (i, j, k) indices to RAS+ mm; without it the volume
            has no spacing.
        name : str
            Name that outputs are given.

        Raises
        ------
        UserError
            The array has no voxels, other than 2 to 4 axes, or no real numbers.
        """
        voxels = np.asarray(array)
        if voxels.ndim not in (2, 3, 4) or voxels.size == 0:
            raise UserError(
                f"array of shape {voxels.shape}: give (Y, X), (Z, Y, X) or (C, Z, Y, X)"
            )
        require_real(voxels.dtype, name)
        voxels = voxels.reshape((1,) * (4 - voxels.ndim) + voxels.shape)
        known = affine is not None
        geometry = affine if isinstance(affine, Affine) else None
        if geometry is None:
            geometry = Affine(np.asarray(affine)) if known else Affine.identity()
        z, y, x = voxels.shape[1:]
        source = Source(
            paths=(), stem=name, format="array", shape=(x, y, z),
            dtype=voxels.dtype.name, affine=geometry if known else None,
            units="mm" if known else None,
        )  # fmt: skip
        grid = Grid((z, y, x), geometry, has_spacing=known, has_sides=known)
        return cls(partial(_same, voxels), grid, source)

    @property
    def data(self) -> Voxels:
        """(C, Z, Y, X) voxels in the file's numbers, its scaling applied.

        Raises
        ------
        UserError
            The file is truncated or corrupt.
        """
        if not self._cache:
            voxels = self.loader()
            if voxels.shape[1:] != self.grid.shape:
                raise UserError(
                    f"{self.source.where}: voxels of shape {voxels.shape[1:]} where "
                    f"the header says {self.grid.shape}; the file is corrupt"
                )
            self._cache.append(voxels)
        return self._cache[0]

    @property
    def is_loaded(self) -> bool:
        """Whether the voxels are in memory."""
        return bool(self._cache)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extent (Z, Y, X) in voxels."""
        return self.grid.shape

    @property
    def channels(self) -> int:
        """Number of channels; loads the voxels."""
        return int(self.data.shape[0])

    @property
    def name(self) -> str:
        """Stem of the file, which outputs are named by."""
        return self.source.stem

    def with_warnings(self, *lines: str) -> Volume:
        """Return the same volume with more warnings."""
        return replace(self, warnings=(*self.warnings, *lines))

    def __reduce__(self) -> tuple[Any, ...]:
        # Loaded voxels stay behind: the other process loads them from the file.
        return (Volume, (self.loader, self.grid, self.source, self.warnings))


def require_real(dtype: np.dtype[Any], where: str) -> None:
    """Raise `UserError` unless `dtype` holds real numbers."""
    if dtype.kind not in "biuf":
        raise UserError(
            f"{where}: voxels of type {dtype.name} are not real numbers; "
            "save the magnitude or another real-valued part"
        )


def _same(voxels: Voxels) -> Voxels:
    return voxels
