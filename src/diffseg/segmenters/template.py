"""The MNI152 T1 template, read for registration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from diffseg.volume import Affine, Volume
from diffseg.volume.template import mni152_path

__all__ = ["Template", "mni152", "mni152_path"]


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """An average brain without its skull, in RAS.

    Parameters
    ----------
    image : (Z, Y, X) float32 ndarray
    brain : (Z, Y, X) float32 ndarray
        1 inside the brain, else 0.
    affine : Affine
        To template mm.
    """

    image: NDArray[np.float32]
    brain: NDArray[np.float32]
    affine: Affine


@cache
def mni152() -> Template:
    """Read the template; see `mni152_path`."""
    volume = Volume.read(mni152_path())
    grid, turn = volume.grid.reoriented("RAS")
    image = turn.apply(volume.data[0].astype(np.float32))
    return Template(image, (image > 0).astype(np.float32), grid.affine)
