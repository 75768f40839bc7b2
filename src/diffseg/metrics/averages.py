"""Averages of an overlap over a split: four that are common, and differ.

All follow from the counts of each image, so that whoever has these can work out any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from diffseg.metrics.overlap import Confusion
from diffseg.metrics.statistic import Statistic, mean_of, ratio

AVERAGES = ("image_mean", "positive_mean", "pooled", "patient_mean")


def averages(
    counts: Sequence[Confusion],
    groups: Sequence[Hashable],
    score: Literal["dice", "iou"] = "dice",
) -> dict[str, Statistic]:
    """Average an overlap of one structure over images.

    Parameters
    ----------
    counts : sequence of N Confusion
        Of each image; two empty masks score 1, one empty mask 0.
    groups : sequence of N hashables
        Patient of each image.
    score : "dice" or "iou"

    Returns
    -------
    dict of str to Statistic
        ``image_mean``: every image alike. ``positive_mean``: images alike, without
        those whose reference lacks the structure. ``pooled``: of the voxels of all
        images together, so that large structures weigh more; undefined where no
        mask holds anything. ``patient_mean``: of each patient's mean, so that one
        with many images weighs no more than another.
    """
    values = [getattr(one, score) for one in counts]
    found, wrong_found, missed = np.array(
        [(c.true_positive, c.false_positive, c.false_negative) for c in counts],
        dtype=np.float64,
    ).T
    twice = 2 if score == "dice" else 1
    images = Counter(groups)
    share = np.array([1 / images[group] for group in groups])
    positive = (found + missed > 0).astype(np.float64)
    return {
        "image_mean": mean_of(values),
        "positive_mean": mean_of(values, positive),
        "pooled": ratio(twice * found, twice * found + wrong_found + missed),
        "patient_mean": mean_of(values, share),
    }
