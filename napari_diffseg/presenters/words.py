"""What the voxels of an image are called, and how many of them there are."""

from __future__ import annotations

from typing import Protocol

from diffseg.domain.report import gives_pictures
from diffseg.volume import Grid, Source


class OnGrid(Protocol):
    """What lies on the grid of an image: a volume, a proposal, an export."""

    @property
    def grid(self) -> Grid:
        """Of its voxels."""

    @property
    def source(self) -> Source:
        """Where the image came from."""


def voxel_word(of: OnGrid) -> str:
    """Return "pixel" for a flat picture, "voxel" for every other image."""
    return "pixel" if gives_pictures(of.grid, of.source) else "voxel"


def counted(number: int, word: str) -> str:
    """Say how many, in the plural where it is not one: "1,234 voxels"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def extent_of(shape: tuple[int, ...], word: str) -> str:
    """Say how large a (Z, Y, X) box is, columns first; of a picture without planes."""
    sides = shape[1:] if word == "pixel" else shape
    return f"{' x '.join(str(n) for n in sides[::-1])} {word}s"
