"""What a fingerprint is for: weights, steps, the last noise level, refining a mask.

The analysis paper proposes to put less emphasis on noise levels where everything or
nothing is recovered, by a weight of the first derivative of the fingerprint, and to
end at more noise where information is left; the rules here are ours.
"""

from __future__ import annotations

import math

import numpy as np

from diffseg.diffusion.fingerprint import (
    Floats,
    MaskRange,
    RecoveryCurve,
    mask_log_snr,
)
from diffseg.diffusion.schedules import NoiseSchedule, linear

FLOOR = 0.05  # least weight of a timestep, a share of the greatest
STEP_SHARE = 0.1  # of the whole rise, between neighbouring steps of a chain
TOLERANCE = 0.05  # of the prior error: what counts as equal
REFINED_DICE = 0.9  # of a mask given for refinement, of which nothing is known


def slope(curve: RecoveryCurve) -> Floats:
    """Rise of the error for each unit that the log-SNR falls, not below 0: (N,)."""
    rise: Floats = np.maximum(-np.gradient(curve.error, curve.log_snr), 0.0)
    return rise


def timestep_weights(
    curve: RecoveryCurve,
    schedule: NoiseSchedule,
    mask_range: MaskRange = (0.0, 1.0),
    *,
    floor: float = FLOOR,
) -> Floats:
    """Weight of every timestep: how much is lost there, mean 1.

    The slope is integrated over the part of the log-SNR axis that belongs to a
    timestep, halfway to its neighbours: the slope times the Jacobian
    ``|d log-SNR / dt|``, which holds at zero terminal SNR too.

    Parameters
    ----------
    curve : RecoveryCurve
        Smoothed. Beyond its ends nothing is lost.
    schedule : NoiseSchedule
    mask_range : (low, high)
        That masks are noised in with this schedule.
    floor : float
        Least weight, a share of the greatest.

    Returns
    -------
    (T,) float64 ndarray
    """
    noisier = -curve.log_snr
    rise = slope(curve)
    lost = np.concatenate(
        [[0.0], np.cumsum((rise[1:] + rise[:-1]) / 2 * np.diff(noisier))]
    )
    levels = -mask_log_snr(schedule, mask_range)
    levels = np.clip(levels, noisier[0] - 1e3, noisier[-1] + 1e3)
    middles = (levels[1:] + levels[:-1]) / 2
    edges = np.concatenate([levels[:1], middles, levels[-1:]])
    weights: Floats = np.diff(np.interp(edges, noisier, lost))
    # The first and the last timestep have half a cell: as much again on the far side.
    weights[[0, -1]] *= 2
    if not weights.any():
        return np.ones(schedule.timesteps)
    weights = np.maximum(weights, floor * weights.max())
    weights /= weights.mean()
    return weights


def spread_weights(weights: Floats, timesteps: int) -> Floats:
    """Weights given evenly over a schedule, for each of its timesteps, mean 1."""
    given = (np.arange(len(weights)) + 0.5) / len(weights)
    wanted = (np.arange(timesteps) + 0.5) / timesteps
    spread: Floats = np.interp(wanted, given, weights)
    spread /= spread.mean()
    return spread


def recommended_steps(
    curve: RecoveryCurve,
    schedule: NoiseSchedule,
    mask_range: MaskRange = (0.0, 1.0),
    *,
    share: float = STEP_SHARE,
) -> int:
    """Fewest steps, evenly spaced over the schedule, that lose little at a time.

    Between neighbouring steps, and from the last one to the first timestep, the error
    changes by at most `share` of its whole rise: no step decides more than that. What
    error there is at the first timestep is the network's, and not the noise's.
    """
    error = curve.rising().at(mask_log_snr(schedule, mask_range))
    largest = share * (error[-1] - error[0]) * (1 + 1e-9)
    for steps in range(1, schedule.timesteps):
        along = np.append(error[schedule.spaced(steps)], error[0])
        if float(-np.diff(along).min()) <= largest:
            return steps
    return schedule.timesteps


def equal_levels(
    curve: RecoveryCurve,
    schedule: NoiseSchedule,
    mask_range: MaskRange = (0.0, 1.0),
    *,
    share: float = STEP_SHARE,
) -> list[int]:
    """Timesteps from the last one down, the error falling by `share` from each.

    Where the steps of a chain would lie that loses equally at every one.
    """
    error = curve.rising().at(mask_log_snr(schedule, mask_range))
    rise = error[-1] - error[0]
    wanted = error[0] + rise * np.arange(round(1 / share), 0, -1) * share
    places = np.searchsorted(error, wanted - 1e-9 * rise)
    return sorted({min(int(p), schedule.timesteps - 1) for p in places}, reverse=True)


def converged_log_snr(
    curve: RecoveryCurve, prior_error: float, *, tolerance: float = TOLERANCE
) -> float | None:
    """Greatest log-SNR from which on nothing of the mask is left.

    There the error comes within `tolerance` of the prior error; None where the curve
    never does.
    """
    reached = curve.rising().error >= (1 - tolerance) * prior_error
    if not reached.any():
        return None
    return float(curve.log_snr[int(np.argmax(reached))])


def mask_scale(
    wanted: float, schedule: NoiseSchedule, mask_range: MaskRange = (0.0, 1.0)
) -> float:
    """Largest scale b <= 1 of the mask that ends the schedule at a log-SNR.

    ``x_t = sqrt(abar) b m + sqrt(1 - abar) eps`` shifts the log-SNR by ``2 log b``.
    """
    last = float(mask_log_snr(schedule, mask_range)[-1])
    return min(1.0, math.exp((wanted - last) / 2))


def beta_end(
    wanted: float,
    timesteps: int,
    mask_range: MaskRange = (0.0, 1.0),
    *,
    start: float = 1e-4,
    least: float = 0.02,
) -> float:
    """Last beta, at 1000 timesteps and not below `least`, that ends at a log-SNR."""
    low, high = least, 0.999 * timesteps / 1000

    def last(end: float) -> float:
        return float(mask_log_snr(linear(timesteps, start, end), mask_range)[-1])

    if last(low) <= wanted:
        return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if last(middle) > wanted else (low, middle)
    return high


def mask_error(foreground: float, dice: float) -> float:
    """Expected error of a given mask, of a known Dice.

    ``Dice = 2 TP / (A + B)``, so that the share of wrong pixels is
    ``(1 - Dice) (A + B)``, with A = B the share of foreground.
    """
    return 2 * foreground * (1 - dice)


def refine_log_snr(curve: RecoveryCurve, expected_error: float) -> float:
    """Noise level for refining a mask: where recovery is as wrong as the mask is.

    With less noise, the mask's own mistakes survive; with more, what is right in it
    is lost. At an end of the curve where the error is out of its range.
    """
    rising = curve.rising()
    return float(np.interp(expected_error, rising.error, rising.log_snr))


def parting_log_snr(
    unconditional: RecoveryCurve,
    conditional: RecoveryCurve,
    prior_error: float,
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Greatest log-SNR from which on the image helps to recover the mask.

    The error without the image is greater there by `tolerance` of the prior error;
    the noisiest level where it never is.
    """
    gain = unconditional.error - conditional.at(unconditional.log_snr)
    helped = gain >= tolerance * prior_error
    place = int(np.argmax(helped)) if helped.any() else -1
    return float(unconditional.log_snr[place])
