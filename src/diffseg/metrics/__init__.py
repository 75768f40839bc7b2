"""How good a proposal is: overlap, surfaces, calibration, ranking, raters, intervals.

NumPy and SciPy only. Everything takes masks as integers and arrays as (Z, Y, X).
"""

from diffseg.metrics.averages import AVERAGES, averages
from diffseg.metrics.calibration import CalibrationCounts, foreground_box
from diffseg.metrics.confusion_ratio import (
    ClassCounts,
    Cooccurrence,
    by_number_of_classes,
    class_counts,
    cooccurrence,
)
from diffseg.metrics.intervals import (
    bootstrap_interval,
    differences,
    interval_coverage,
    mean_defined,
    paired_interval,
)
from diffseg.metrics.overlap import Confusion, confusion, dice, iou
from diffseg.metrics.pooled import aurc_of, auroc_of, ece_of, excess_of
from diffseg.metrics.ranking import ErrorRanking, RiskCoverage
from diffseg.metrics.raters import EnergyDistance, disagreement, energy_distance
from diffseg.metrics.statistic import (
    Statistic,
    difference,
    mean_of,
    paired_means,
    permutation_p,
    ratio,
    spread_of,
    wilcoxon_p,
)
from diffseg.metrics.surface import SurfaceDistances, hd95_mm, nsd, surface_distances

__all__ = [
    "AVERAGES",
    "CalibrationCounts",
    "ClassCounts",
    "Confusion",
    "Cooccurrence",
    "EnergyDistance",
    "ErrorRanking",
    "RiskCoverage",
    "Statistic",
    "SurfaceDistances",
    "aurc_of",
    "auroc_of",
    "averages",
    "bootstrap_interval",
    "by_number_of_classes",
    "class_counts",
    "confusion",
    "cooccurrence",
    "dice",
    "difference",
    "differences",
    "disagreement",
    "ece_of",
    "energy_distance",
    "excess_of",
    "foreground_box",
    "hd95_mm",
    "interval_coverage",
    "iou",
    "mean_defined",
    "mean_of",
    "nsd",
    "paired_interval",
    "paired_means",
    "permutation_p",
    "ratio",
    "spread_of",
    "surface_distances",
    "wilcoxon_p",
]
