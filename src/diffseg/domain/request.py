"""What is asked of a segmenter: one frozen object for every method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.labels import ImageLabels
from diffseg.domain.resampling import Resampling
from diffseg.domain.slice_labels import SliceLabels
from diffseg.domain.strokes import Strokes
from diffseg.errors import UserError

if TYPE_CHECKING:
    from diffseg.volume import Volume

Range = tuple[int, int]
_OPTIONAL = (
    "region", "slice_labels", "text", "strokes", "initial_mask", "noise_level"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open box of voxels, (plane, row, column), ``start <= i < stop``."""

    z: Range
    y: Range
    x: Range

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``z0:z1,y0:y1,x0:x1``; two ranges are rows and columns of plane 0."""
        try:
            ranges = [
                (int(start), int(stop))
                for start, stop in (part.split(":") for part in text.split(","))
            ]
        except ValueError:
            ranges = []
        if len(ranges) == 2:
            ranges.insert(0, (0, 1))
        if len(ranges) != 3:
            raise UserError(
                f"region {text!r} is not z0:z1,y0:y1,x0:x1 (2D: y0:y1,x0:x1)"
            )
        return cls(*ranges)

    @property
    def ranges(self) -> tuple[Range, Range, Range]:
        """The three ranges, in array order."""
        return (self.z, self.y, self.x)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in a (Z, Y, X) array."""
        return (slice(*self.z), slice(*self.y), slice(*self.x))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extent of the box in voxels, in array order."""
        return tuple(stop - start for start, stop in self.ranges)  # type: ignore[return-value]

    def checked(self, shape: tuple[int, int, int]) -> Region:
        """Return this region, or raise `UserError` if any part lies outside `shape`."""
        for axis, (start, stop), size in zip("zyx", self.ranges, shape, strict=True):
            if not 0 <= start < stop <= size:
                raise UserError(
                    f"region {axis} = {start}:{stop} is not inside the image "
                    f"(0:{size}); give a start below a stop within it"
                )
        return self

    def __str__(self) -> str:
        return ",".join(f"{start}:{stop}" for start, stop in self.ranges)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is asked of a segmenter. Which fields it uses, its card's
    `capabilities` say; a field that it cannot use is refused, never ignored.

    Parameters
    ----------
    volume : Volume
        The image.
    region : Region, optional
        Where to look; the whole volume (or the card's regions) without it.
    labels : ImageLabels
        What the annotator says is present or absent.
    slice_labels : SliceLabels, optional
        What the annotator says of each plane of the image; `labels` speaks of the
        whole of it.
    text : str, optional
        What to look for, in words between commas, each ``WORDS`` or ``CLASS=WORDS``;
        see `diffseg.domain.asking`.
    strokes : Strokes, optional
        What the annotator drew and erased. A (Z, Y, X) uint8 ndarray is taken too:
        class index + 1, 255 for background, 0 unknown.
    initial_mask : (Z, Y, X) uint8 ndarray, optional
        A mask to refine, in the label table's values.
    noise_level : float, optional
        Share of the schedule in (0, 1] to which `initial_mask` is re-noised.
    members : int, optional
        Draws of the ensemble; the card's default without it.
    steps : int, optional
        Network evaluations along each member's chain; the card's default
        without it.
    seed : int
        Every random number of the proposal follows from it.
    keep_members : bool
        Whether the proposal holds the mask of every member.
    resampling : Resampling
        How a mask is drawn anew around `strokes`.
    """

    volume: Volume
    region: Region | None = None
    labels: ImageLabels = field(default_factory=ImageLabels)
    slice_labels: SliceLabels | None = None
    text: str | None = None
    strokes: Strokes | None = None
    initial_mask: NDArray[np.uint8] | None = None
    noise_level: float | None = None
    members: int | None = None
    steps: int | None = None
    seed: int = 0
    keep_members: bool = False
    resampling: Resampling = field(default_factory=Resampling)

    def __post_init__(self) -> None:
        for name in ("members", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}; give 1 or more")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; give 0 or more")
        if self.region is not None:
            self.region.checked(self.volume.grid.shape)
        dense: object = self.strokes
        if isinstance(dense, np.ndarray):
            object.__setattr__(self, "strokes", Strokes.of(dense))
        if self.noise_level is not None and not 0 < self.noise_level <= 1:
            raise UserError(
                f"noise_level is {self.noise_level}; give more than 0, and 1 at most"
            )
        said, planes = self.slice_labels, self.volume.shape[0]
        if said is not None and said.planes != planes:
            raise UserError(
                f"labels of {said.planes} slices, but {self.volume.name} has {planes}"
            )
        if self.strokes is not None and self.strokes.shape != self.volume.shape:
            raise UserError(
                f"strokes lie on {self.strokes.shape} voxels, but {self.volume.name} "
                f"has {self.volume.shape}"
            )

    @property
    def used(self) -> frozenset[str]:
        """Names of the optional inputs that this request carries."""
        names = {name for name in _OPTIONAL if getattr(self, name) is not None}
        return frozenset(names | ({"labels"} if self.labels else set()))
