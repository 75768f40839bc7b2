"""Where a map of importance ends: thresholds that no mask had a say in."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Floats = NDArray[np.float32]


class Threshold(BaseModel):
    """A rule that finds the threshold of one slice's map in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["otsu", "fixed", "percentile"] = Field(
        "otsu",
        title="Rule",
        description="otsu: between two groups of pixels, as far apart as can be (Otsu "
        "1979); fixed: `value` itself; percentile: `value` per cent of the pixels lie "
        "below",
    )
    value: float = Field(0.5, ge=0, title="Value", description="Not of otsu")

    def of(self, one: NDArray[Any]) -> float:
        """Threshold of a map (Y, X); infinite where nothing in it stands out."""
        low, high = float(one.min()), float(one.max())
        if not low < high:
            return float("inf")
        if self.kind == "fixed":
            return self.value
        if self.kind == "percentile":
            return float(np.percentile(one, min(self.value, 100.0)))
        from skimage.filters import threshold_otsu  # slow to import, and seldom used

        return float(threshold_otsu(one))  # type: ignore[no-untyped-call]


def stretched(one: NDArray[Any], blur: float = 0.0) -> Floats:
    """A map (Y, X) from 0 to 1, blurred first; zeros where it is the same everywhere.

    Parameters
    ----------
    one : (Y, X) ndarray
    blur : float
        Standard deviation of a Gaussian, pixels.
    """
    from scipy import ndimage

    smooth = one.astype(np.float64)
    if blur > 0:
        smooth = ndimage.gaussian_filter(smooth, blur)
    low, high = smooth.min(), smooth.max()
    if not low < high:
        return np.zeros(one.shape, np.float32)
    unit: Floats = ((smooth - low) / (high - low)).astype(np.float32)
    return unit
