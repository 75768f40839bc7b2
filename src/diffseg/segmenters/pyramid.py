"""Template and image at falling resolutions, for registration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from diffseg.progress import Progress, Work
from diffseg.segmenters.template import Template
from diffseg.volume import Affine

# SimpleITK comes without types.
sitk: Any = SimpleITK

# mm of the pyramid: starts, affine, fine.
COARSE, MIDDLE, FINE = 6.0, 4.0, 2.0
LOOKING = Progress("prepare", message="looking for the model's region")


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Template, image and the template's brain at one resolution."""

    template: Any
    image: Any
    brain: Any  # voxels at least partly brain, for the metric
    inner: NDArray[np.bool_]  # voxels wholly brain, for the similarity


def pyramid(
    template: Template, image: NDArray[np.float32], affine: Affine
) -> Work[dict[float, Level]]:
    """Return template and image at each resolution, by mm.

    Parameters
    ----------
    template : Template
    image : (Z, Y, X) float32 ndarray, finite
    affine : Affine
        Of the image, to RAS+ mm.

    Yields
    ------
    Progress
        Stage ``prepare``.
    """
    fixed = _shrunk(_itk(template.image, template.affine))
    brain = _shrunk(_itk(template.brain, template.affine))
    yield LOOKING
    moving = _shrunk(_itk(image, affine))
    levels: dict[float, Level] = {}
    for mm in (COARSE, MIDDLE, FINE):
        yield LOOKING
        share = _at(brain, mm)
        levels[mm] = Level(
            template=_at(fixed, mm),
            image=_at(moving, mm),
            brain=sitk.Cast(share > 0.2, sitk.sitkUInt8),
            inner=sitk.GetArrayFromImage(share) > 0.9,
        )
    return levels


def _itk(array: NDArray[np.float32], affine: Affine) -> Any:
    """Image in RAS mm: both sides are, and ITK does not ask."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([float(mm) for mm in affine.spacing])
    image.SetOrigin([float(mm) for mm in affine.origin])
    image.SetDirection(np.asarray(affine.direction, dtype=float).ravel().tolist())
    return image


def _shrunk(image: Any) -> Any:
    """Average whole voxels up to the finest level's spacing: quick, and no alias."""
    pairs = zip(image.GetSpacing(), image.GetSize(), strict=True)
    return sitk.BinShrink(
        image, [min(max(1, int(FINE / mm + 1e-6)), size) for mm, size in pairs]
    )


def _at(image: Any, mm: float) -> Any:
    """Smooth and resample to a spacing of `mm`, about the same centre."""
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    sigma = np.maximum(0.5 * np.sqrt(np.maximum(mm**2 - spacing**2, 0)), 1e-3)
    smooth = image
    if sigma.max() > 0.1 and size.min() >= 4:
        smooth = sitk.SmoothingRecursiveGaussian(image, sigma.tolist())
    count = np.maximum(np.rint(size * spacing / mm), 1).astype(int)
    step = np.where(count > 1, mm, spacing * size)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    origin = middle(image) - direction @ ((count - 1) / 2 * step)
    return sitk.Resample(
        smooth, count.tolist(), sitk.Transform(), sitk.sitkLinear, origin.tolist(),
        step.tolist(), image.GetDirection(), 0.0, sitk.sitkFloat32,
    )  # fmt: skip


def middle(image: Any) -> NDArray[np.float64]:
    """Return the centre of an image, (3,) in mm."""
    index = (np.array(image.GetSize()) - 1) / 2
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index.tolist()))
