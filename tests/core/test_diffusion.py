"""Schedules, parameterisations and samplers against their formulas and diffusers."""

import math
from collections import deque

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffseg.diffusion import (
    coherent_noise,
    ddim,
    ddpm,
    dpm_solver_pp,
    generator,
    member_noise,
    noise_schedule,
    one_step,
    restart,
    target,
    to_eps,
    to_x0,
    zero_terminal_snr,
)
from diffseg.errors import UserError

SHAPE = (2, 3, 4, 5, 6)
NAMES = ("linear", "scaled_linear", "cosine", "linear_zero_snr")


def last(chain):
    return deque(chain, maxlen=1).pop()


def imperfect(x, t):
    """A denoiser that depends on x and t, so that every step of a chain matters."""
    return torch.tanh(0.3 * x + 0.1 * torch.sin(t.float()).view(-1, 1, 1, 1, 1))


def fields(seed=0):
    return lambda draw: torch.randn(
        SHAPE, generator=torch.Generator().manual_seed(100 * seed + draw)
    ).double()


@pytest.mark.parametrize("name", NAMES)
def test_schedules_fall_from_clean_to_noise(name):
    schedule = noise_schedule(name, 1000)
    assert schedule.alpha_bar[0] > 0.99
    assert bool((schedule.alpha_bar.diff() < 0).all())
    snr = schedule.log_snr()
    assert bool((snr.diff() < 0).all())


def test_terminal_values_are_those_of_the_formulas():
    assert noise_schedule("linear").alpha_bar[-1].sqrt().item() == pytest.approx(
        0.0064, abs=1e-4
    )
    assert noise_schedule("scaled_linear").alpha_bar[-1].sqrt().item() == pytest.approx(
        0.0683, abs=1e-4
    )
    for name in ("cosine", "linear_zero_snr"):
        assert noise_schedule(name).alpha_bar[-1] == 0
    short = noise_schedule("linear", 100).alpha_bar
    assert short[-1].sqrt().item() == pytest.approx(0.0045, abs=1e-4)


def test_schedules_agree_with_diffusers():
    theirs = diffusers.DDPMScheduler(
        1000, beta_schedule="linear", beta_start=1e-4, beta_end=0.02
    ).alphas_cumprod
    ours = noise_schedule("linear").alpha_bar
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-7)
    theirs = diffusers.DDIMScheduler(
        1000,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        rescale_betas_zero_snr=True,
    ).alphas_cumprod
    ours = zero_terminal_snr(noise_schedule("linear")).alpha_bar
    # They set a tiny value at the end where the definition gives zero.
    torch.testing.assert_close(ours.float()[:-1], theirs[:-1], rtol=1e-3, atol=1e-5)


def test_unknown_schedule_and_too_many_steps_are_the_users():
    with pytest.raises(UserError, match="linear, scaled_linear"):
        noise_schedule("exponential")
    with pytest.raises(UserError, match="1 to 10"):
        noise_schedule("cosine", 10).spaced(11)


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(["x0", "eps", "v"]),
    t=st.integers(0, 900),
    seed=st.integers(0, 99),
)
def test_every_parameterisation_leads_back_to_x0(kind, t, seed):
    schedule = noise_schedule("linear")
    source = torch.Generator().manual_seed(seed)
    x0 = torch.randn(SHAPE, generator=source).double()
    eps = torch.randn(SHAPE, generator=source).double()
    times = torch.full((2,), t)
    x_t = schedule.add_noise(x0, eps, times)
    output = target(kind, x0, eps, times, schedule)
    torch.testing.assert_close(to_x0(kind, output, x_t, times, schedule), x0)
    torch.testing.assert_close(to_eps(x0, x_t, times, schedule), eps)


def test_eps_is_refused_at_zero_snr():
    schedule = noise_schedule("cosine")
    x = torch.zeros(SHAPE)
    with pytest.raises(ValueError, match="zero SNR"):
        to_x0("eps", x, x, torch.full((2,), 999), schedule)


def test_ddim_agrees_with_diffusers():
    schedule = noise_schedule("linear")
    theirs = diffusers.DDIMScheduler(
        1000,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="sample",
        timestep_spacing="trailing",
    )
    theirs.set_timesteps(10)
    x = fields()(0)
    for t in theirs.timesteps:
        step = theirs.step(imperfect(x, t.repeat(2)), t, x)
        x = step.prev_sample
    ours = last(ddim(imperfect, fields(), schedule, 10))
    torch.testing.assert_close(ours, step.pred_original_sample, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("large", [False, True])
def test_ddpm_step_is_the_posterior_of_diffusers(large):
    """One respaced ancestral step: the same mean and the same variance."""
    theirs = diffusers.DDPMScheduler(
        1000,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        clip_sample=False,
        prediction_type="sample",
        variance_type="fixed_large" if large else "fixed_small",
        timestep_spacing="trailing",
    )
    theirs.set_timesteps(5)
    schedule = noise_schedule("linear")
    seen = []

    def denoise(x, t):
        seen.append(x)
        return imperfect(x, t)

    last(
        ddpm(
            denoise,
            fields(),
            schedule,
            5,
            variance="fixed_large" if large else "fixed_small",
        )
    )
    t = theirs.timesteps[0]
    draws = []
    for _ in range(2):
        noise_seed = torch.Generator().manual_seed(3 + len(draws))
        draws.append(
            theirs.step(
                imperfect(seen[0], t.repeat(2)), t, seen[0], generator=noise_seed
            ).prev_sample
        )
    # Their noise cancels in the mean of a draw and its mirror: compare through it.
    eps = [
        torch.randn(
            SHAPE, generator=torch.Generator().manual_seed(3 + i), dtype=torch.float64
        )
        for i in range(2)
    ]
    sigma = ((draws[0] - draws[1]) / (eps[0] - eps[1])).mean()
    mean = draws[0] - sigma * eps[0]
    ours = seen[1] - sigma * fields()(1)
    torch.testing.assert_close(ours, mean, rtol=1e-3, atol=1e-4)


# Their scheduler turns a tensor into an array in a way NumPy 2 warns about.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_dpm_solver_agrees_with_diffusers():
    schedule = noise_schedule("linear")
    theirs = diffusers.DPMSolverMultistepScheduler(
        1000,
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type="sample",
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
        timestep_spacing="trailing",
        lower_order_final=False,
    )
    theirs.set_timesteps(8)
    kept = schedule.spaced(8)
    assert theirs.timesteps.tolist() == kept
    x = fields()(0)
    for t in theirs.timesteps[:-1]:
        x = theirs.step(imperfect(x, t.repeat(2)), t, x).prev_sample
    answer = imperfect(x, theirs.timesteps[-1].repeat(2))
    ours = last(dpm_solver_pp(imperfect, fields(), schedule, 8))
    torch.testing.assert_close(ours, answer.to(ours), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_finds_a_mask_that_the_denoiser_knows(name):
    """With a perfect denoiser every chain ends at the clean mask, zero SNR included."""
    schedule = noise_schedule(name)
    truth = torch.sign(fields(7)(0))
    chains = [
        one_step(lambda x, t: truth, fields(), schedule),
        ddpm(lambda x, t: truth, fields(), schedule, 6),
        ddim(lambda x, t: truth, fields(), schedule, 6, eta=0.5),
        dpm_solver_pp(lambda x, t: truth, fields(), schedule, 6),
        restart(lambda x, t: truth, fields(), schedule, [999, 500]),
    ]
    for chain in chains:
        torch.testing.assert_close(last(chain), truth)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_chains_stay_finite_with_an_imperfect_denoiser(name):
    schedule = noise_schedule(name)
    for sampler in (ddpm, ddim, dpm_solver_pp):
        for x0 in sampler(imperfect, fields(), schedule, 7):
            assert bool(torch.isfinite(x0).all())


def test_restart_renoises_its_own_answer():
    schedule = noise_schedule("cosine")
    seen = []

    def denoise(x, t):
        seen.append((x, int(t[0])))
        return torch.full_like(x, 0.5)

    levels = [999, 499]
    last(restart(denoise, fields(), schedule, levels))
    assert [t for _, t in seen] == levels
    again = schedule.add_noise(
        torch.full(SHAPE, 0.5).double(), fields()(1), torch.full((2,), 499)
    )
    torch.testing.assert_close(seen[1][0], again)


def test_noise_of_a_member_does_not_depend_on_its_batch():
    together = member_noise(5, [0, 1, 2], 0, (2, 3, 4, 5))
    alone = member_noise(5, [1], 0, (2, 3, 4, 5))
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(alone, member_noise(5, [1], 1, (2, 3, 4, 5)))
    assert not torch.equal(alone, member_noise(6, [1], 0, (2, 3, 4, 5)))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_coherent_noise_is_normal_and_correlates_as_told(rho):
    noise = coherent_noise((60, 64, 64), generator(1), 0, rho).numpy()
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(1, abs=0.02)
    for gap in (1, 2, 3):
        pair = np.corrcoef(noise[:-gap].ravel(), noise[gap:].ravel())[0, 1]
        assert pair == pytest.approx(rho**gap, abs=0.02)


def test_coherent_noise_wants_a_correlation_below_one():
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        coherent_noise((3, 3), generator(1), 0, 1.0)


def test_share_of_schedule():
    schedule = noise_schedule("cosine", 1000)
    assert schedule.at(1.0) == 999
    assert schedule.at(1e-9) == 0
    assert schedule.spaced(4) == [999, 749, 499, 249]
    assert math.isinf(schedule.log_snr()[-1])


@pytest.mark.parametrize("place", [-1.0, -0.2, 1.0])
def test_a_learned_variance_lies_between_the_fixed_ones(place):
    """Its place is -1 for the posterior's variance and 1 for beta, in logarithms."""
    schedule = noise_schedule("linear", 50)

    def wide(x, t):
        return torch.cat([imperfect(x, t), torch.full_like(x, place)], 1)

    def second(variance, denoise):
        """State after the first step, whose noise is the same for all."""
        seen = []
        for _ in ddpm(
            lambda x, t: seen.append(x) or denoise(x, t),
            fields(),
            schedule,
            4,
            variance=variance,
        ):
            pass
        return seen[1]

    small, large = (second(v, imperfect) for v in ("fixed_small", "fixed_large"))
    learned = second("learned", wide)
    noise = fields()(1)
    t, below = schedule.spaced(4)[:2]
    bar, bar_below = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[below])
    beta = 1 - bar / bar_below
    sd_large, sd_small = beta**0.5, (beta * (1 - bar_below) / (1 - bar)) ** 0.5
    mean = large - sd_large * noise
    torch.testing.assert_close(mean, small - sd_small * noise)
    share = (place + 1) / 2
    sd = math.exp(share * math.log(sd_large) + (1 - share) * math.log(sd_small))
    torch.testing.assert_close(learned, mean + sd * noise)


def test_a_chain_ends_without_noise():
    schedule, draws = noise_schedule("linear", 50), []

    def noise(draw):
        draws.append(draw)
        return fields()(draw)

    assert len(list(ddpm(imperfect, noise, schedule, 4))) == 4
    assert draws == [0, 1, 2, 3]  # the first state, and three steps of four
