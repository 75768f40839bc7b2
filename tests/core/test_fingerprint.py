"""The fingerprint: measured against posteriors known in closed form, used by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from diffseg.diffusion import noise_schedule, to_eps, to_x0
from diffseg.diffusion.fingerprint import (
    RecoveryCurve,
    iter_recovery_error,
    mask_log_snr,
    prior_error,
    smoothed,
    unit_mask,
)
from diffseg.diffusion.fingerprint_use import (
    beta_end,
    converged_log_snr,
    equal_levels,
    mask_error,
    mask_scale,
    parting_log_snr,
    recommended_steps,
    refine_log_snr,
    slope,
    spread_weights,
    timestep_weights,
)
from diffseg.progress import run

LINEAR = noise_schedule("linear", 1000)


def measured(recover, masks, timesteps, **more):
    return run(
        iter_recovery_error(lambda part: recover, masks, LINEAR, timesteps, **more)
    )


# Measuring


def posterior(chance, schedule, mask_range):
    """Best recovery of independent pixels that are foreground with a chance."""
    low, high = mask_range

    def recover(noisy, t):
        a, s = schedule.signal_and_noise(t, noisy.double())
        inside = torch.exp(-((noisy - a * high) ** 2) / (2 * s**2)) * chance
        outside = torch.exp(-((noisy - a * low) ** 2) / (2 * s**2)) * (1 - chance)
        return low + (high - low) * inside / (inside + outside)

    return recover


def bayes_error(chance, log_snr):
    """Its expected squared error: the mean posterior variance, by quadrature."""
    a = math.exp(log_snr / 2)  # in units of the noise

    def integrand(x):
        inside = chance * stats.norm.pdf(x - a)
        outside = (1 - chance) * stats.norm.pdf(x)
        return inside * outside / (inside + outside + 1e-300)

    return integrate.quad(integrand, -10, a + 10, limit=200)[0]


@pytest.mark.parametrize("mask_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_independent_pixels_lose_what_the_posterior_says(mask_range):
    chance, timesteps = 0.3, [50, 200, 400, 700, 999]
    source = torch.Generator().manual_seed(1)
    masks = (torch.rand((8, 1, 96, 96), generator=source) < chance).float()
    recover = posterior(chance, LINEAR, mask_range)
    found = measured(recover, masks, timesteps, mask_range=mask_range, draws=2)
    levels = mask_log_snr(LINEAR, mask_range)[timesteps]
    expected = [bayes_error(chance, level) for level in levels]
    # 147,456 pixels: a mean of numbers within [0, 1] has an SD below 0.0013.
    np.testing.assert_allclose(found, expected, atol=0.004)
    assert expected[1] < expected[-1]
    assert found[-1] == pytest.approx(chance * (1 - chance), abs=0.004)


def test_masks_that_are_all_equal_lose_nothing():
    mask = (torch.arange(64).reshape(1, 1, 8, 8) % 3 == 0).float()
    masks = mask.repeat(5, 1, 1, 1)
    found = measured(lambda noisy, t: mask.expand_as(noisy), masks, [0, 500, 999])
    assert found.tolist() == [0, 0, 0]
    assert prior_error(masks) == 0


def test_noise_does_not_depend_on_the_batch_nor_on_the_timesteps():
    masks = (torch.rand((5, 2, 8, 8), generator=torch.Generator()) < 0.5).float()
    recover = posterior(0.5, LINEAR, (0.0, 1.0))
    whole = measured(recover, masks, [300, 600], batch=5, seed=3)
    pieces = measured(recover, masks, [600], batch=2, seed=3)
    assert pieces[0] == pytest.approx(whole[1], rel=1e-6)
    assert measured(recover, masks, [600], seed=4)[0] != pieces[0]


def test_estimates_are_clipped_to_the_mask_range_first():
    masks = torch.ones(2, 1, 8, 8)

    def from_wrong_noise(noisy, t):
        return to_x0("eps", torch.zeros_like(noisy), noisy, t, LINEAR)

    # At the last timestep, x / 0.0064 is far out on either side: half are right.
    found = measured(from_wrong_noise, masks, [999], mask_range=(-1.0, 1.0))
    assert 0.2 < found[0] < 0.8
    told = unit_mask(torch.tensor([-7.0, -1.0, 0.0, 0.5, 3.0]), (-1.0, 1.0))
    assert told.tolist() == [0, 0, 0.5, 0.75, 1]


def test_the_truth_told_as_noise_is_the_truth():
    masks = (torch.rand((2, 1, 8, 8), generator=torch.Generator()) < 0.5).float()

    def knowing(noisy, t):
        eps = to_eps(masks, noisy, t, LINEAR)
        return to_x0("eps", eps, noisy, t, LINEAR)

    assert measured(knowing, masks, [10, 500]).max() < 1e-6


def test_prior_error_by_hand():
    masks = torch.tensor([[1.0, 0, 1, 1], [0, 0, 1, 0]]).reshape(2, 1, 2, 2)
    # Means 1/2, 0, 1, 1/2: variances 1/4, 0, 0, 1/4.
    assert prior_error(masks) == pytest.approx(1 / 8)


def test_smoothing_narrows_towards_the_ends():
    values = np.array([0.0, 3, 0, 3, 6])
    assert smoothed(values, 3).tolist() == [0, 1, 2, 3, 6]
    assert smoothed(values, 1).tolist() == values.tolist()
    line = np.arange(20.0)
    np.testing.assert_allclose(smoothed(line, 7), line)
    with pytest.raises(ValueError, match="odd"):
        smoothed(values, 2)


def test_a_curve_runs_from_clean_to_noisy():
    with pytest.raises(ValueError, match="fall"):
        RecoveryCurve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    curve = RecoveryCurve(np.array([2.0, 0.0, -2.0]), np.array([0.0, 0.5, 0.4]))
    assert curve.rising().error.tolist() == [0, 0.5, 0.5]
    assert curve.at(np.array([9.0, 1.0, -1.0, -9.0])).tolist() == [0, 0.25, 0.45, 0.4]


# What follows from it


def ramp(first=4.0, last=-4.0, height=0.2):
    """No loss above `first`, all of it below `last`, a straight line between."""
    levels = np.linspace(10, -14, 481)
    share = np.clip((first - levels) / (first - last), 0, 1)
    return RecoveryCurve(levels, height * share)


def test_slope_is_the_loss_for_each_unit_of_log_snr():
    curve = ramp()
    steep = slope(curve)
    middle = np.abs(curve.log_snr) < 3.8
    np.testing.assert_allclose(steep[middle], 0.2 / 8)
    assert steep[curve.log_snr > 4.2].max() == 0
    falling = RecoveryCurve(curve.log_snr, curve.error[::-1].copy())
    assert slope(falling).max() == 0


def test_weights_are_the_slope_times_the_jacobian():
    weights = timestep_weights(ramp(), LINEAR, floor=0.0)
    levels = LINEAR.log_snr().numpy()
    jacobian = np.abs(np.gradient(levels))
    inside = np.abs(levels) < 3.8
    ratio = weights[inside] / jacobian[inside]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.02)
    assert weights[levels > 4.1].max() == 0
    assert weights[levels < -4.1].max() == 0
    assert weights.mean() == pytest.approx(1)


def test_no_timestep_weighs_less_than_the_floor():
    weights = timestep_weights(ramp(), LINEAR, floor=0.05)
    assert weights.min() == pytest.approx(0.05 * weights.max())
    assert weights.mean() == pytest.approx(1)
    flat = RecoveryCurve(np.array([1.0, -1.0]), np.array([0.3, 0.3]))
    assert timestep_weights(flat, LINEAR).tolist() == [1] * 1000


def test_weights_follow_the_mask_range():
    """A mask of width 2 is lost at noise twice as strong: later in the schedule."""
    unit = timestep_weights(ramp(), LINEAR, (0.0, 1.0))
    wide = timestep_weights(ramp(), LINEAR, (-1.0, 1.0))
    place = np.arange(1000)
    assert (wide * place).mean() > (unit * place).mean() + 20
    shifted = mask_log_snr(LINEAR, (-1.0, 1.0)) - mask_log_snr(LINEAR, (0.0, 1.0))
    np.testing.assert_allclose(shifted, 2 * math.log(2))


@pytest.mark.parametrize("name", ["linear", "cosine", "linear_zero_snr"])
def test_every_schedule_has_its_weights(name):
    schedule = noise_schedule(name, 100)
    weights = timestep_weights(ramp(), schedule)
    assert np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1)
    peak = float(mask_log_snr(schedule, (0.0, 1.0))[weights.argmax()])
    assert -5 < peak < 5


def test_few_weights_are_spread_over_the_schedule():
    spread = spread_weights(np.array([1.0, 3.0]), 4)
    # At 1/8, 3/8, 5/8, 7/8 between 1 at 1/4 and 3 at 3/4: 1, 1.5, 2.5, 3.
    np.testing.assert_allclose(spread, np.array([1, 1.5, 2.5, 3]) / 2)
    kept = np.array([0.5, 1.5, 1.0])
    np.testing.assert_allclose(spread_weights(kept, 3), kept)


def along_time(error):
    """A curve whose error at the timesteps of the schedule is this."""
    return RecoveryCurve(mask_log_snr(LINEAR, (0.0, 1.0)), error)


def test_recommended_steps_by_hand():
    even = along_time(np.arange(1000) / 999)
    assert recommended_steps(even, LINEAR, share=0.101) == 10
    assert recommended_steps(even, LINEAR, share=0.251) == 4
    # What the network does not know at no noise at all is no step's loss.
    floor = along_time(0.2 + np.arange(1000) / 999)
    assert recommended_steps(floor, LINEAR, share=0.101) == 10
    # All is lost between two timesteps: no number of steps cuts it.
    cliff = along_time((np.arange(1000) >= 500).astype(float))
    assert recommended_steps(cliff, LINEAR) == 1000
    # Lost within the middle tenth alone: ten times as many steps are needed.
    middle = along_time(np.clip((np.arange(1000) - 449) / 100, 0, 1))
    assert 90 <= recommended_steps(middle, LINEAR, share=0.1) <= 110


def test_equal_levels_by_hand():
    even = along_time(np.arange(1000) / 999)
    assert equal_levels(even, LINEAR, share=0.25) == [999, 750, 500, 250]
    cliff = along_time((np.arange(1000) >= 500).astype(float))
    assert equal_levels(cliff, LINEAR) == [500]


def test_where_all_is_lost_and_how_to_end_there():
    curve = ramp(first=-6, last=-12)
    level = converged_log_snr(curve, 0.2, tolerance=0.05)
    assert level == pytest.approx(-11.7, abs=0.06)
    assert converged_log_snr(curve, 0.3) is None
    last = float(LINEAR.log_snr()[-1])
    assert last > level
    scale = mask_scale(level, LINEAR)
    assert last + 2 * math.log(scale) == pytest.approx(level)
    assert scale < 1
    end = beta_end(level, 1000)
    ended = noise_schedule("linear", 1000, (1e-4, end))
    assert float(ended.log_snr()[-1]) == pytest.approx(level, abs=1e-6)
    # Where it ends late enough already, nothing changes.
    assert mask_scale(-5.0, LINEAR) == 1
    assert beta_end(-5.0, 1000) == 0.02


def test_a_mask_is_refined_at_the_noise_that_is_as_wrong():
    curve = ramp()  # 0.2 over 8 units, from 4 to -4
    assert refine_log_snr(curve, 0.1) == pytest.approx(0)
    assert refine_log_snr(curve, 0.05) == pytest.approx(2)
    # Of 30 % foreground with a Dice of 0.9, 6 % of the pixels are wrong.
    assert mask_error(0.3, 0.9) == pytest.approx(0.06)


def test_the_image_helps_from_where_the_curves_part():
    free = ramp()
    held = RecoveryCurve(free.log_snr, np.minimum(free.error, 0.1))
    # They part at 0; 5 % of 0.2 later, 0.4 on.
    assert parting_log_snr(free, held, 0.2) == pytest.approx(-0.4, abs=0.06)
    assert parting_log_snr(free, free, 0.2) == free.log_snr[-1]
