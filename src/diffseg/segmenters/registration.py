"""Affine registration of a template to an image, the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from diffseg.progress import Work, within
from diffseg.segmenters.pyramid import (
    COARSE,
    FINE,
    LOOKING,
    MIDDLE,
    Level,
    middle,
    pyramid,
)
from diffseg.segmenters.template import Template
from diffseg.volume import Affine

# SimpleITK comes without types.
sitk: Any = SimpleITK

# Good enough to stop looking for something better.
_GOOD = 0.5
# A head is at most this much larger or smaller than the template, along any axis.
_STRETCH = (0.6, 1.6)
# A comparison over less of the brain than this says nothing.
_LEAST_COVERAGE = 0.2


@dataclass(frozen=True, slots=True)
class Registered:
    """A map from template mm to image mm, and how alike the two then are."""

    points: Affine
    similarity: float


def iter_register(
    template: Template, image: NDArray[np.float32], affine: Affine
) -> Work[Registered | None]:
    """Find the affine that lays the template's brain over the image's.

    Closing the generator cancels. Between two of its signs of life it takes a
    fraction of a second; the last step, at 2 mm, up to one.

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

    Returns
    -------
    Registered, or None where no start led anywhere.
    """
    low, high = np.percentile(image, (1, 99.9))
    if not low < high:
        return None
    clipped = np.clip(image, low, high)
    yield LOOKING
    return (yield from within(_one_thread, _registered(template, clipped, affine)))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let ITK add up its sums in one order: those of threads differ by the run.

    The registration method's own number of threads is not enough.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _registered(
    template: Template, image: NDArray[np.float32], affine: Affine
) -> Work[Registered | None]:
    levels = yield from pyramid(template, image, affine)
    best: tuple[float, Any, float] | None = None
    # The rim around the brain tells most about its place, but beside a bright
    # scalp it misleads: where it does, a second look leaves it out.
    for rim in (6.0, 0.0):
        starts = yield from _best_starts(levels[COARSE], rim)
        for start in starts:
            yield LOOKING
            candidate = _refined(start, levels[MIDDLE], rim, step=2.0, part=0.5)
            if candidate is None:
                continue
            similarity = _similarity(levels[MIDDLE], candidate)
            if best is None or similarity > best[0]:
                best = (similarity, candidate, rim)
        if best is not None and best[0] >= _GOOD:
            break
    if best is None:
        return None
    yield LOOKING
    final = _refined(best[1], levels[FINE], best[2], step=0.5, part=0.2)
    if final is None:
        return None
    yield LOOKING
    return Registered(_matrix(final), _similarity(levels[MIDDLE], final))


def _best_starts(coarse: Level, rim: float) -> Work[list[Any]]:
    """The best similarity transforms by two measures."""
    tried: list[tuple[float, float, Any]] = []
    for start in _starts(coarse):
        yield LOOKING
        method = _method(coarse, rim, step=4.0, iterations=40, part=1.0)
        value = _execute(method, start, coarse)
        if value is not None:
            tried.append((value, -_similarity(coarse, start), start))
    chosen: list[Any] = []
    for measure in (0, 1):
        for *_, start in sorted(tried, key=lambda one: one[measure])[:2]:
            if not any(start is other for other in chosen):
                chosen.append(start)
    return chosen


def _starts(level: Level) -> Iterator[Any]:
    """Similarity transforms: where the head may be, and how it may nod.

    Centre of mass and centre of the image; and higher up, for a neck or
    shoulders pull the centre of mass down.
    """
    centre = _centre_of_mass(level.template)
    mass, centred = _centre_of_mass(level.image), middle(level.image)
    up = np.array([0.0, 0.0, 25.0])
    for place in (mass, centred, mass + up, mass + 2 * up):
        for degrees in (0.0, -20.0, 20.0):
            start = sitk.Similarity3DTransform()
            start.SetCenter(centre.tolist())
            start.SetRotation((1.0, 0.0, 0.0), float(np.radians(degrees)))
            start.SetTranslation((place - centre).tolist())
            yield start


def _refined(start: Any, level: Level, rim: float, step: float, part: float) -> Any:
    """Affine map from `start` on; None where it leaves the image or the plausible."""
    transform = sitk.AffineTransform(3)
    transform.SetCenter(start.GetCenter())
    transform.SetMatrix(start.GetMatrix())
    transform.SetTranslation(start.GetTranslation())
    method = _method(level, rim, step, iterations=60, part=part)
    if _execute(method, transform, level) is None:
        return None
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    stretch = np.linalg.svd(matrix, compute_uv=False)
    plausible = stretch.min() > _STRETCH[0] and stretch.max() < _STRETCH[1]
    return transform if plausible else None


def _method(level: Level, rim: float, step: float, iterations: int, part: float) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(part, 42)
    radius = round(rim / level.template.GetSpacing()[0])
    mask = sitk.BinaryDilate(level.brain, [radius] * 3) if radius else level.brain
    method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetNumberOfThreads(1)
    method.SetOptimizerAsRegularStepGradientDescent(
        step, step / 100, iterations, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _execute(method: Any, transform: Any, level: Level) -> float | None:
    """Optimise `transform` in place; None where the images do not overlap."""
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(level.template, level.image)
    except RuntimeError:  # ITK: all samples map outside the moving image
        return None
    return float(method.GetMetricValue())


def _similarity(level: Level, transform: Any) -> float:
    """Correlation of template and image inside the brain; 0 without overlap."""
    outside = float("nan")
    moved = sitk.Resample(
        level.image, level.template, transform, sitk.sitkLinear, outside
    )
    image = sitk.GetArrayFromImage(moved)
    both = level.inner & np.isfinite(image)
    if np.count_nonzero(both) < _LEAST_COVERAGE * np.count_nonzero(level.inner):
        return 0.0
    seen = image[both]
    seen = np.clip(seen, *np.percentile(seen, (1, 99)))
    if seen.std() == 0:
        return 0.0
    template = sitk.GetArrayViewFromImage(level.template)[both]
    return float(np.corrcoef(template, seen)[0, 1])


def _centre_of_mass(image: Any) -> NDArray[np.float64]:
    weight = sitk.GetArrayFromImage(image).astype(np.float64)
    low, high = np.percentile(weight, (5, 99))
    weight = np.clip(weight, low, max(low, high)) - low
    if not weight.any():
        return middle(image)
    sums = [weight.sum(axis=tuple({0, 1, 2} - {axis})) for axis in (2, 1, 0)]
    index = [float(np.average(np.arange(len(line)), weights=line)) for line in sums]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


def _matrix(transform: Any) -> Affine:
    """The transform as a matrix: y = A (x - c) + c + t."""
    matrix, linear = np.eye(4), np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre + np.array(transform.GetTranslation()) - linear @ centre
    return Affine(matrix)
