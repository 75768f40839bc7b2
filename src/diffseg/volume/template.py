"""Where the MNI152 T1 template lies, which comes with nilearn: nothing is fetched."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from diffseg.errors import UserError

_FILE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


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
        "pip install 'napari-diffseg[demo]', or give the region to look at",
        option="--roi",
    )
