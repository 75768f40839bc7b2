"""Whether uncertainty is larger where the mask is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from diffseg.metrics.overlap import require_same_shape

BINS = 2**16
DECADES = 12
"""Uncertainties are told apart from 1 down to ten to the minus twelve."""


def _zeros() -> NDArray[np.int64]:
    return np.zeros(BINS, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class ErrorRanking:
    """Histograms of the uncertainty of wrong and of right voxels.

    Most voxels of a volume are nearly certain, so that a useful ranking lies
    between values near 0: bins are equal in the logarithm, each 0.04 % wide.
    Start with ``ErrorRanking()``, `add` each case, or add up several.

    Parameters
    ----------
    wrong, right : (65536,) int64 ndarrays
        From the most certain bin to the least.
    """

    wrong: NDArray[np.int64] = field(default_factory=_zeros)
    right: NDArray[np.int64] = field(default_factory=_zeros)

    def add(
        self, uncertainty: NDArray[np.floating[Any]], error: NDArray[np.bool_]
    ) -> ErrorRanking:
        """Return these histograms and those of one more case.

        Parameters
        ----------
        uncertainty : ndarray in [0, 1]
        error : bool ndarray of the same shape
            True where the mask differs from the reference.

        Raises
        ------
        ValueError
            The shapes differ, or an uncertainty is NaN or outside [0, 1].
        """
        require_same_shape(uncertainty, error)
        # Written so that NaN, which compares false, is refused as well.
        if not np.all((uncertainty >= 0) & (uncertainty <= 1 + 1e-5)):
            raise ValueError("uncertainties are NaN or outside [0, 1]")
        bins = _bin(uncertainty)
        return self + ErrorRanking(
            np.bincount(bins[error], minlength=BINS),
            np.bincount(bins[~error], minlength=BINS),
        )

    def __add__(self, other: ErrorRanking) -> ErrorRanking:
        return ErrorRanking(self.wrong + other.wrong, self.right + other.right)

    @property
    def auroc(self) -> float | None:
        """Chance that a wrong voxel is more uncertain than a right one.

        The area under the ROC curve (Mann-Whitney U over the number of pairs);
        voxels of one bin are ties and count half. None without a wrong or
        without a right voxel.
        """
        return _defined(auroc(self.wrong[None], self.right[None]))

    @property
    def risk(self) -> RiskCoverage | None:
        """What is risked by trusting the most certain voxels; None before the first."""
        if not self.wrong.sum() + self.right.sum():
            return None
        return RiskCoverage(self.wrong, self.right)

    def coarse(self, bins: int) -> ErrorRanking:
        """Sum neighbouring bins, so that a ranking of every case can be kept.

        Half of them are for uncertainties above one half, where those of a model
        that knows little lie close together.

        Parameters
        ----------
        bins : int
            How many are left, 2 to 2048.
        """
        starts = _starts(bins)
        return ErrorRanking(
            np.add.reduceat(self.wrong, starts), np.add.reduceat(self.right, starts)
        )


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The share of wrong voxels among the most certain ones, for every share kept.

    Voxels are kept from the most certain on; those of one bin are ties, kept in
    random order, of which all numbers are the expectation.

    Parameters
    ----------
    wrong, right : (B,) int64 ndarrays
        Voxels of each bin, from the most certain bin to the least; not all 0.
    """

    wrong: NDArray[np.int64]
    right: NDArray[np.int64]

    @property
    def error_rate(self) -> float:
        """Risk at full coverage: the share of all voxels that is wrong.

        It is also the area that uncertainty of no use would have.
        """
        return float(self.wrong.sum() / (self.wrong.sum() + self.right.sum()))

    @property
    def aurc(self) -> float:
        """Area under the curve: the mean risk over every number of voxels kept.

        ``1/n sum_k (wrong among the k most certain) / k`` (Geifman & El-Yaniv,
        2017); the smaller the better, in [`ideal`, 1].
        """
        return float(aurc(self.wrong[None], self.right[None])[0])

    @property
    def ideal(self) -> float:
        """The area if every wrong voxel were less certain than every right one."""
        none = np.zeros(1)
        wrong = np.append(none, float(self.wrong.sum()))
        right = np.append(float(self.right.sum()), none)
        return float(aurc(wrong[None], right[None])[0])

    @property
    def excess(self) -> float:
        """What the area lies above the ideal one (Geifman et al., 2019)."""
        return self.aurc - self.ideal

    @property
    def excess_share(self) -> float | None:
        """`excess` as a share of what useless uncertainty has.

        0 for the ideal order and 1 for a random one; above 1, uncertainty
        misleads. None where all voxels are right, or all wrong.
        """
        room = self.error_rate - self.ideal
        return self.excess / room if room > 0 else None

    def at(self, coverage: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Risk where shares `coverage` in (0, 1] of all voxels are kept."""
        kept = np.concatenate([[0], np.cumsum(self.wrong + self.right)])
        wrong = np.concatenate([[0], np.cumsum(self.wrong)])
        some = np.append(True, np.diff(kept) > 0)
        numbers = coverage * kept[-1]
        kept_wrong = np.interp(numbers, kept[some], wrong[some])
        risk: NDArray[np.float64] = kept_wrong / numbers
        return risk


def auroc(wrong: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Area under the ROC curve of many pairs of histograms; see `ErrorRanking`.

    Parameters
    ----------
    wrong, right : (R, B) ndarrays

    Returns
    -------
    (R,) float64 ndarray, NaN without a wrong or without a right voxel.
    """
    wrong, right = wrong.astype(np.float64), right.astype(np.float64)
    below = np.cumsum(right, axis=1) - right
    wins = (wrong * (below + 0.5 * right)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        area: NDArray[np.float64] = wins / wrong.sum(axis=1) / right.sum(axis=1)
    return area


def aurc(wrong: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Area under the risk-coverage curve of many pairs of histograms.

    Parameters
    ----------
    wrong, right : (R, B) ndarrays
        From the most certain bin to the least.

    Returns
    -------
    (R,) float64 ndarray, NaN without a voxel.

    Notes
    -----
    Of a bin with w wrong among n, behind W wrong among N, the k-th voxel finds the
    expected risk ``(W + k w/n) / (N + k)``; its sum over k is
    ``w + (W - N w/n) (H(N + n) - H(N))`` with the harmonic numbers H.
    """
    wrong = wrong.astype(np.float64)
    voxels = wrong + right
    after = np.cumsum(voxels, axis=1)
    before = after - voxels
    wrong_before = np.cumsum(wrong, axis=1) - wrong
    share = np.divide(wrong, voxels, out=np.zeros_like(wrong), where=voxels > 0)
    harmonic = digamma(after + 1) - digamma(before + 1)
    sums = (wrong + (wrong_before - before * share) * harmonic).sum(axis=1)
    with np.errstate(invalid="ignore"):
        area: NDArray[np.float64] = sums / after[:, -1]
    return area


def uncertainty_of(bin_index: NDArray[np.intp], bins: int) -> NDArray[np.float64]:
    """Uncertainty in the middle of each bin, of `bins` bins in all."""
    edges = np.append(_starts(bins), BINS)
    share = (edges[bin_index] + edges[bin_index + 1]) / 2 / BINS
    middle: NDArray[np.float64] = 10.0 ** ((share - 1) * DECADES)
    return middle


def _starts(bins: int) -> NDArray[np.intp]:
    """First fine bin of each coarse one; see `ErrorRanking.coarse`."""
    if bins == BINS:
        return np.arange(BINS)
    low = bins // 2
    half = BINS * (1 + np.log10(0.5) / DECADES)
    below = np.linspace(0, half, low, endpoint=False)
    above = np.linspace(half, BINS, bins - low, endpoint=False)
    return np.concatenate([below, above]).astype(np.intp)


def _defined(values: NDArray[np.float64]) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None


def _bin(uncertainty: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    floor = 10.0**-DECADES
    inside = np.clip(uncertainty.astype(np.float64), floor, 1.0)
    share: NDArray[np.float64] = np.log10(inside) / DECADES + 1
    return np.clip((share * BINS).astype(np.intp), 0, BINS - 1)
