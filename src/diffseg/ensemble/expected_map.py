"""From what an ensemble expects of its mask to what it is worth: a monotone map.

Members that agree may agree on the same error, and probabilities may be too sure: both
expectations lie above the real Dice, yet rank cases. On the log-odds of Dice a sum of
the two, with slopes that are never negative, is fitted by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Floats = NDArray[np.floating[Any]]

LEAST_CASES = 8
# Log-odds are taken within these: no single case at 0 or 1 decides the slope.
_LOWEST, _HIGHEST = 0.01, 0.995


class DiceMap(BaseModel):
    """``logit Dice = intercept_c + by_soft logit S + by_members logit M``.

    S is `expected_dice`, M the mean Dice between pairs of members; both slopes are at
    least 0, so that the map is monotone in each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    intercepts: tuple[float, ...] = Field(description="Of each structure")
    by_soft: float = Field(ge=0)
    by_members: float = Field(ge=0)
    low: float = Field(description="5 % quantile of held-out residuals, log-odds")
    high: float = Field(description="95 % quantile of held-out residuals, log-odds")


@dataclass(frozen=True, slots=True)
class PredictedDice:
    """Dice that is expected of one structure, and where 90 % of cases should lie."""

    value: float
    low: float
    high: float


def predict_dice(
    known: DiceMap, index: int, soft: float, members: float | None
) -> PredictedDice | None:
    """Predict the Dice of one structure.

    Parameters
    ----------
    known : DiceMap
    index : int
        Of the structure, from 0.
    soft : float
        `expected_dice` of its mask under the calibrated probabilities.
    members : float or None
        Mean Dice between pairs of members.

    Returns
    -------
    PredictedDice, or None with one member, which agrees with nobody.
    """
    if members is None:
        return None
    middle = (
        known.intercepts[index]
        + known.by_soft * float(log_odds(np.array(soft)))
        + known.by_members * float(log_odds(np.array(members)))
    )
    low, value, high = (
        float(1 / (1 + np.exp(-odds)))
        for odds in (middle + known.low, middle, middle + known.high)
    )
    return PredictedDice(value, low, high)


def fit_dice_map(
    soft: Floats,
    members: Floats,
    real: Floats,
    residuals: Sequence[float] | None = None,
) -> DiceMap:
    """Fit the map by least squares on log-odds, slopes at least 0.

    Parameters
    ----------
    soft, members, real : (N, C) ndarrays in [0, 1]
        Of N cases and C structures.
    residuals : sequence of float, optional
        Held-out residuals on log-odds, whose quantiles become the interval; without
        them those of the fit itself, which are too small.

    Raises
    ------
    ValueError
        Fewer than two cases, or shapes that differ.
    """
    from scipy.optimize import lsq_linear

    if not soft.shape == members.shape == real.shape or len(soft) < 2:
        raise ValueError(f"shapes {soft.shape}, {members.shape}, {real.shape}")
    cases, structures = real.shape
    which = np.tile(np.eye(structures), (cases, 1))
    both = [log_odds(soft).ravel(), log_odds(members).ravel()]
    design = np.column_stack([which, *both])
    wanted = log_odds(real).ravel()
    lowest = np.append(np.full(structures, -np.inf), [0.0, 0.0])
    found = lsq_linear(design, wanted, bounds=(lowest, np.inf)).x
    left = wanted - design @ found if residuals is None else np.asarray(residuals)
    low, high = np.quantile(left, [0.05, 0.95])
    *intercepts, by_soft, by_members = (float(one) for one in found)
    return DiceMap(
        intercepts=tuple(intercepts),
        by_soft=max(by_soft, 0.0),
        by_members=max(by_members, 0.0),
        low=min(float(low), 0.0),
        high=max(float(high), 0.0),
    )


def log_odds(dice: Floats) -> NDArray[np.float64]:
    """Logit of Dice, kept between those of 0.01 and 0.995."""
    inside = np.clip(np.asarray(dice, np.float64), _LOWEST, _HIGHEST)
    odds: NDArray[np.float64] = np.log(inside / (1 - inside))
    return odds
