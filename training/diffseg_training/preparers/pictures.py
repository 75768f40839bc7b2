"""Masks and crops that are written anew, as PNG or NIfTI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffseg.errors import UserError
from diffseg_training.preparers.nouns import Made, Values


def pixels(path: Path) -> NDArray[np.uint8]:
    """Read a picture, (Y, X) or (Y, X, 3) uint8."""
    try:
        with Image.open(path) as image:
            plain = image if image.mode in ("L", "RGB") else image.convert("RGB")
            return np.asarray(plain, np.uint8)
    except OSError as err:
        raise UserError(f"picture {path} cannot be read: {err}") from err


def grey(path: Path) -> Values:
    """Read a picture's first channel, (Y, X) uint8, palettes as their indices."""
    try:
        with Image.open(path) as image:
            indexed = image.mode in ("P", "L", "1")
            values = np.asarray(image if indexed else image.convert("RGB"))
    except OSError as err:
        raise UserError(f"picture {path} cannot be read: {err}") from err
    flat = values if values.ndim == 2 else values[..., 0]
    return flat.astype(np.uint8)


def png(name: str, make: Callable[[], Values]) -> Made:
    """A PNG, called ``name.png``, that is made when it is written."""

    def write(path: Path) -> None:
        Image.fromarray(make()).save(path)

    return Made(f"{name}.png", write)


def nifti_mask(name: str, source: Path, change: Callable[[Values], Values]) -> Made:
    """A NIfTI mask whose values are those of `source`, changed, on the same grid."""

    def write(path: Path) -> None:
        import SimpleITK as sitk

        image = sitk.ReadImage(str(source))
        values = change(sitk.GetArrayFromImage(image).astype(np.uint8))
        made = sitk.GetImageFromArray(values)
        made.CopyInformation(image)  # type: ignore[no-untyped-call]
        sitk.WriteImage(made, str(path))

    return Made(f"{name}.nii.gz", write)
