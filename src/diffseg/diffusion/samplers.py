"""Samplers: from noise to a clean mask, each as short as its paper's algorithm box.

A sampler is a generator: it yields the present estimate of the clean mask x0 after
every evaluation of the network, the last one being its answer. `denoise(x_t, t)`
gives x0 for a batch at one timestep; `noise(draw)` gives the draw-th standard normal
field of the batch's shape, so that every random number is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from diffseg.diffusion.parameterisation import to_eps
from diffseg.diffusion.schedules import NoiseSchedule

Denoise = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[int], Tensor]
Chain = Generator[Tensor, None, None]
Variance = Literal["learned", "fixed_large", "fixed_small"]


def _batch(t: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), t, device=like.device, dtype=torch.long)


def one_step(denoise: Denoise, noise: Noise, schedule: NoiseSchedule) -> Chain:
    """x0 straight from pure noise at the last timestep."""
    x = noise(0)
    yield denoise(x, _batch(schedule.timesteps - 1, x))


def restart(
    denoise: Denoise, noise: Noise, schedule: NoiseSchedule, levels: Sequence[int]
) -> Chain:
    """Answer in one step, then re-noise the answer to each level and answer again.

    Fresh noise at every level: with x0 prediction this is the most stochastic
    member of the DDIM family. `levels` are timesteps, the first usually T-1.
    """
    x0: Tensor | None = None
    for draw, level in enumerate(levels):
        fresh = noise(draw)
        t = _batch(level, fresh)
        x0 = denoise(fresh if x0 is None else schedule.add_noise(x0, fresh, t), t)
        yield x0


def ddpm(
    denoise: Denoise,
    noise: Noise,
    schedule: NoiseSchedule,
    steps: int,
    *,
    variance: Variance = "fixed_small",
) -> Chain:
    """Ancestral sampling (Ho et al. 2020, algorithm 2) over `steps` kept timesteps.

    Betas are recomputed from the retained abar; the network sees the original
    timesteps. No noise follows the last step.

    Parameters
    ----------
    denoise : function
        With a learned variance it gives, after the channels of x0, as many in which
        -1 stands for the smallest log-variance and 1 for the largest.
    noise : function
    schedule : NoiseSchedule
    steps : int
    variance : {"fixed_small", "fixed_large", "learned"}
        Of a step: the posterior's, beta, or between their logarithms as the network
        says (Nichol and Dhariwal 2021, equation 15).
    """
    kept = schedule.spaced(steps)
    x = noise(0)
    for draw, (t, below) in enumerate(pairwise([*kept, -1]), start=1):
        answer = denoise(x, _batch(t, x))
        x0 = answer[:, : x.shape[1]]
        yield x0
        if below < 0:
            return
        bar, bar_below = (float(schedule.alpha_bar[i]) for i in (t, below))
        alpha = bar / bar_below  # of the respaced chain
        beta = 1 - alpha
        # Posterior q(x_below | x_t, x0), eq. 7.
        mean = (
            bar_below**0.5 * beta / (1 - bar) * x0
            + alpha**0.5 * (1 - bar_below) / (1 - bar) * x
        )
        small = beta * (1 - bar_below) / (1 - bar)
        if variance == "learned":
            share = (answer[:, x.shape[1] :] + 1) / 2
            log = share * math.log(beta) + (1 - share) * math.log(small)
            x = mean + torch.exp(log / 2) * noise(draw)
        else:
            large = variance == "fixed_large"
            x = mean + (beta if large else small) ** 0.5 * noise(draw)


def ddim(
    denoise: Denoise,
    noise: Noise,
    schedule: NoiseSchedule,
    steps: int,
    *,
    eta: float = 0.0,
) -> Chain:
    """DDIM (Song et al. 2021, eq. 12); `eta` 0 is deterministic, 1 is ancestral."""
    kept = schedule.spaced(steps)
    x = noise(0)
    for draw, (t, below) in enumerate(pairwise([*kept, -1]), start=1):
        times = _batch(t, x)
        x0 = denoise(x, times)
        yield x0
        if below < 0:
            return
        eps = to_eps(x0, x, times, schedule)
        bar, bar_below = (float(schedule.alpha_bar[i]) for i in (t, below))
        sigma = (  # eq. 16
            eta * ((1 - bar_below) / (1 - bar)) ** 0.5 * (1 - bar / bar_below) ** 0.5
        )
        x = bar_below**0.5 * x0 + (1 - bar_below - sigma**2) ** 0.5 * eps
        if sigma > 0:
            x = x + sigma * noise(draw)


def dpm_solver_pp(
    denoise: Denoise, noise: Noise, schedule: NoiseSchedule, steps: int
) -> Chain:
    """DPM-Solver++ (2M) (Lu et al. 2022, algorithm 2), second order, deterministic.

    From zero SNR the first step's width in log-SNR is infinite: the second-order
    correction of the step after it vanishes by itself.
    """
    kept = schedule.spaced(steps)
    half_log_snr = schedule.log_snr() / 2
    x = noise(0)
    previous: tuple[Tensor, float] | None = None
    for t, below in pairwise([*kept, -1]):
        x0 = denoise(x, _batch(t, x))
        yield x0
        if below < 0:
            return
        width = float(half_log_snr[below] - half_log_snr[t])
        data = x0
        if previous is not None:
            last_x0, last_width = previous
            ratio = last_width / width
            data = x0 + (x0 - last_x0) / (2 * ratio)
        bar, bar_below = (float(schedule.alpha_bar[i]) for i in (t, below))
        shrink = ((1 - bar_below) / (1 - bar)) ** 0.5
        signal = bar_below**0.5 - shrink * bar**0.5  # = -alpha (exp(-h) - 1)
        x = shrink * x + signal * data
        previous = (x0, width)
