"""A measured curve in the words of ``fingerprint.json``, and what it recommends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffseg.diffusion import NoiseSchedule, noise_schedule
from diffseg.diffusion.fingerprint import (
    Floats,
    RecoveryCurve,
    mask_log_snr,
    smoothed,
)
from diffseg.diffusion.fingerprint_use import (
    REFINED_DICE,
    beta_end,
    converged_log_snr,
    equal_levels,
    mask_error,
    mask_scale,
    parting_log_snr,
    recommended_steps,
    refine_log_snr,
    timestep_weights,
)
from diffseg_training.fingerprint import (
    Beyond,
    Conditional,
    Fingerprint,
    Origin,
    Recommended,
)

POINTS = 100  # noise levels told, evenly over the schedule
SCHEDULE, TIMESTEPS = "linear", 1000  # of the analysis paper: what timesteps mean


LEARNED = 0.2  # of the prior error: more, with hardly a noise, is the network's own
_UNLEARNED = (
    "the network has not learned enough: it errs where there is hardly a noise; "
    "give it more minutes"
)


def told(
    curve: RecoveryCurve,
    origin: Origin,
    *,
    prior: float,
    prior_held_out: float | None = None,
    conditional: tuple[str, RecoveryCurve] | None = None,
    warnings: Sequence[str] = (),
) -> Fingerprint:
    """Put a measured curve in the words of ``fingerprint.json``.

    Parameters
    ----------
    curve : RecoveryCurve
        As measured, on any noise levels.
    origin : Origin
    prior, prior_held_out : float
    conditional : (model, RecoveryCurve), optional
        As measured, with the image.
    warnings : sequence of str
    """
    schedule = noise_schedule(SCHEDULE, TIMESTEPS)
    step = TIMESTEPS // POINTS
    timesteps = np.arange(step // 2, TIMESTEPS, step)
    levels = mask_log_snr(schedule, (0.0, 1.0))[timesteps]
    smooth = RecoveryCurve(curve.log_snr, smoothed(curve.error, origin.window))
    further = smooth.log_snr < levels[-1]
    end = prior if prior_held_out is None else prior_held_out
    if smooth.error[0] > LEARNED * end:
        warnings = (*warnings, _UNLEARNED)
    with_image = None
    if conditional is not None:
        model, other = conditional
        other = RecoveryCurve(other.log_snr, smoothed(other.error, origin.window))
        with_image = Conditional(model=model, error=tuple(other.at(levels)))
    weights = timestep_weights(smooth, schedule)[timesteps]
    return Fingerprint(
        log_snr=tuple(levels),
        timestep=tuple(timesteps.tolist()),
        error=tuple(smooth.at(levels)),
        error_raw=tuple(curve.at(levels)),
        prior_error=prior,
        prior_error_held_out=prior_held_out,
        weights=tuple(weights / weights.mean()),
        recommended=recommendations(
            smooth,
            schedule,
            origin.foreground,
            end,
            levels,
            with_image,
        ),
        conditional=with_image,
        beyond=Beyond(
            log_snr=tuple(smooth.log_snr[further]), error=tuple(smooth.error[further])
        ),
        schedule=SCHEDULE,
        timesteps=TIMESTEPS,
        origin=origin,
        warnings=tuple(warnings),
    )


def recommendations(
    curve: RecoveryCurve,
    schedule: NoiseSchedule,
    foreground: float,
    prior: float,
    levels: Floats,
    conditional: Conditional | None = None,
) -> Recommended:
    """Steps, the last noise level, and the level for refining a mask.

    Parameters
    ----------
    curve : RecoveryCurve
        Smoothed, as far as it was measured.
    schedule : NoiseSchedule
        Whose timesteps are told.
    foreground : float
        Mean share of a class's pixels.
    prior : float
        Error of the best guess that sees nothing.
    levels : (N,) float64 ndarray
        Noise levels of `conditional`.
    conditional : Conditional, optional
        The error with the image. With it, a mask is refined where the image begins
        to help; without, where recovery is as wrong as a mask of Dice 0.9 is.
    """
    if conditional is None:
        refine = refine_log_snr(curve, mask_error(foreground, REFINED_DICE))
        rule = f"recovery is as wrong as a mask of Dice {REFINED_DICE}"
    else:
        free = RecoveryCurve(levels, curve.at(levels))
        held = RecoveryCurve(levels, np.array(conditional.error))
        refine = parting_log_snr(free, held, prior)
        rule = "the image begins to help"
    lost = converged_log_snr(curve, prior)
    every = schedule.log_snr().numpy()
    return Recommended(
        steps=recommended_steps(curve, schedule),
        refine_log_snr=refine,
        refine_timestep=int(np.abs(every - refine).argmin()),
        refine_rule=rule,
        timesteps=tuple(equal_levels(curve, schedule)),
        converged_log_snr=lost,
        mask_scale=None if lost is None else mask_scale(lost, schedule),
        beta_end=None if lost is None else beta_end(lost, schedule.timesteps),
    )
