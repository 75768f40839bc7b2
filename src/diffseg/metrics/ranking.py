"""Whether uncertainty is larger where the mask is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        n_wrong, n_right = int(self.wrong.sum()), int(self.right.sum())
        if not n_wrong or not n_right:
            return None
        below = np.cumsum(self.right) - self.right
        wins = self.wrong.astype(np.float64) @ (below + 0.5 * self.right)
        return float(wins / n_wrong / n_right)


def _bin(uncertainty: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    floor = 10.0**-DECADES
    inside = np.clip(uncertainty.astype(np.float64), floor, 1.0)
    share: NDArray[np.float64] = np.log10(inside) / DECADES + 1
    return np.clip((share * BINS).astype(np.intp), 0, BINS - 1)
