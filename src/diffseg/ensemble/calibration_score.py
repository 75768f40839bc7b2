"""How calibrated voxels are, before and after, with patients held out in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.ensemble.calibration import Calibration, calibrated
from diffseg.ensemble.calibration_evidence import Evidence, folds_of, weights_of
from diffseg.ensemble.calibration_fit import FLOOR
from diffseg.metrics import CalibrationCounts
from diffseg.metrics.calibration import BINS

Floats = NDArray[np.floating[Any]]
Fit = Callable[[Sequence[Evidence]], Calibration]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Of one place: the box around the object, or the whole image.

    Parameters
    ----------
    nll : float
        Mean negative log-likelihood of the reference's class, nats; probabilities
        below 1e-7 count as that.
    brier : float
        Mean over voxels of the summed squared error over K classes, in [0, 2].
    top_label : CalibrationCounts
        By the confidence of the likeliest class.
    binary : tuple of CalibrationCounts
        By each structure's own probability.
    """

    nll: float
    brier: float
    top_label: CalibrationCounts
    binary: tuple[CalibrationCounts, ...]

    def as_json(self) -> dict[str, Any]:
        """Return numbers for a report."""
        return {
            "nll": self.nll,
            "brier": self.brier,
            "ece": self.top_label.ece,
            "ece_binary": [one.ece for one in self.binary],
            "reliability": self.top_label.reliability,
            "reliability_binary": [one.reliability for one in self.binary],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What probabilities are worth on some cases.

    Parameters
    ----------
    loss : float
        What is fitted: the negative log-likelihood with the weights of `weights_of`.
    losses : tuple of float
        The same of each case alone, with the weights of all; their mean is `loss`.
    image, box : Scores
        Pooled over all voxels, and inside the box; the latter None without one.
    dice : (N, C) float64 ndarray
        Of each case's likeliest classes with the reference.
    """

    loss: float
    losses: tuple[float, ...]
    image: Scores
    box: Scores | None
    dice: NDArray[np.float64]


def cross_fitted(
    evidence: Sequence[Evidence],
    fit: Fit,
    folds: int,
    generator: np.random.Generator,
) -> list[NDArray[np.float32]]:
    """Calibrate every case by what was fitted without its patient.

    Parameters
    ----------
    evidence : sequence of Evidence
        Of two patients or more.
    fit : callable
        From some cases to a calibration.
    folds : int
        Patients are held out in so many parts.
    generator : numpy.random.Generator
        Draws which patients go together.

    Returns
    -------
    list of (K, N) float32 ndarrays
        Probabilities of each case, in order.
    """
    held_out: dict[int, NDArray[np.float32]] = {}
    for fold in folds_of(evidence, folds, generator):
        away = set(fold.tolist())
        known = fit([one for i, one in enumerate(evidence) if i not in away])
        for i in away:
            held_out[i] = calibrated(evidence[i].probability, known)
    return [held_out[i] for i in range(len(evidence))]


def judge(evidence: Sequence[Evidence], probability: Sequence[Floats]) -> Judgement:
    """Score probabilities against what is known of these voxels.

    Parameters
    ----------
    evidence : sequence of Evidence
    probability : sequence of (K, N) ndarrays
        For each case, those of the evidence or calibrated ones.
    """
    losses, dice = [], []
    weights = weights_of(evidence)
    for one, p, weight in zip(evidence, probability, weights, strict=True):
        losses.append(float(weight @ _nll(p, one.reference)) * len(evidence))
        dice.append(one.dice(p.argmax(axis=0).astype(np.uint8)))
    box = None
    if any(one.inside.any() for one in evidence):
        box = _scores(evidence, probability, inside_only=True)
    return Judgement(
        loss=float(np.mean(losses)),
        losses=tuple(losses),
        image=_scores(evidence, probability, inside_only=False),
        box=box,
        dice=np.array(dice),
    )


def _scores(
    evidence: Sequence[Evidence], probability: Sequence[Floats], inside_only: bool
) -> Scores:
    total, nll, brier = 0.0, 0.0, 0.0
    top, structures = CalibrationCounts(), len(evidence[0].probability) - 1
    binary = [CalibrationCounts()] * structures
    for one, p in zip(evidence, probability, strict=True):
        kept = one.inside if inside_only else np.ones(len(one.reference), bool)
        p, reference, counts = p[:, kept], one.reference[kept], one.counts[kept]
        total += float(counts.sum())
        nll += float(counts @ _nll(p, reference))
        wanted = np.arange(len(p))[:, None] == reference
        brier += float(counts @ ((p - wanted) ** 2).sum(axis=0))
        top += _binned(p.max(axis=0), p.argmax(axis=0) == reference, counts)
        for i in range(structures):
            binary[i] += _binned(p[i + 1], reference == i + 1, counts)
    return Scores(nll / total, brier / total, top, tuple(binary))


def _nll(p: Floats, reference: NDArray[np.uint8]) -> NDArray[np.float64]:
    chosen = p[reference, np.arange(len(reference))]
    nats: NDArray[np.float64] = -np.log(np.clip(chosen, FLOOR, 1, dtype=np.float64))
    return nats


def _binned(
    confidence: Floats, hit: NDArray[np.bool_], counts: NDArray[np.float64]
) -> CalibrationCounts:
    """`CalibrationCounts` of voxels that stand for several."""
    which = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    sums = (
        np.bincount(which, weights=counts * each, minlength=BINS)
        for each in (1.0, confidence, hit)
    )
    return CalibrationCounts(*(one.astype(np.float64) for one in sums))
