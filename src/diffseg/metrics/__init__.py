"""How good a proposal is: overlap, surfaces, calibration, ranking, intervals.

NumPy and SciPy only. Everything takes masks as integers and arrays as (Z, Y, X).
"""

from diffseg.metrics.calibration import CalibrationCounts, foreground_box
from diffseg.metrics.intervals import (
    bootstrap_interval,
    differences,
    interval_coverage,
    mean_defined,
    paired_interval,
)
from diffseg.metrics.overlap import Confusion, confusion, dice, iou
from diffseg.metrics.ranking import ErrorRanking
from diffseg.metrics.surface import SurfaceDistances, hd95_mm, nsd, surface_distances

__all__ = [
    "CalibrationCounts",
    "Confusion",
    "ErrorRanking",
    "SurfaceDistances",
    "bootstrap_interval",
    "confusion",
    "dice",
    "differences",
    "foreground_box",
    "hd95_mm",
    "interval_coverage",
    "iou",
    "mean_defined",
    "nsd",
    "paired_interval",
    "surface_distances",
]
