"""The MNI152 T1 template, as it comes with nilearn: no network is touched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.volume import Affine, Volume

_FILE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


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


def mni152_path() -> Path:
    """Path of the template: ICBM 152, nonlinear symmetric 2009a, 1 mm, brain only.

    Raises
    ------
    UserError
        nilearn, whose package holds it, is not installed.
    """
    # Found, not imported: nilearn itself would take seconds to load.
    spec = find_spec("nilearn")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        path = Path(place) / "datasets" / "data" / _FILE
        if path.is_file():
            return path
    raise UserError(
        "the MNI152 template, which comes with nilearn, is not installed: "
        "pip install 'napari-diffseg[demo]', or give the region with --roi"
    )


@cache
def mni152() -> Template:
    """Read the template; see `mni152_path`."""
    volume = Volume.read(mni152_path())
    grid, turn = volume.grid.reoriented("RAS")
    image = turn.apply(volume.data[0].astype(np.float32))
    return Template(image, (image > 0).astype(np.float32), grid.affine)
