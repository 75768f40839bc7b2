"""The variational bound of networks that learn the variance of a step.

Nichol and Dhariwal 2021, sections 3.1 and 3.2: beside its prediction, the network puts
out where the log-variance of ``p(x_{t-1} | x_t)`` lies between its bounds. Only the
bound teaches it that; the prediction itself learns from its own error, so that the
mean is detached.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffseg.diffusion.schedules import NoiseSchedule

GRAY_LEVELS = 255
"""Steps between outside and inside that the last denoising is asked to tell apart."""


def step_variances(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """Variances of the forward step and of its posterior, for every timestep.

    Returns
    -------
    beta, posterior : (T,) float64 Tensor
        ``q(x_t | x_{t-1})``, and ``q(x_{t-1} | x_t, x_0)`` (Ho et al. 2020,
        equation 7), which is 0 at the first timestep.
    """
    bar = schedule.alpha_bar
    below = torch.cat([bar.new_ones(1), bar[:-1]])
    beta = 1 - bar / below
    return beta, beta * (1 - below) / (1 - bar)


def log_variance_bounds(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """Least and greatest log-variance of each step, (T,) float64 each.

    The least is the posterior's, at the first timestep that of the second; the
    greatest is ``log beta``.
    """
    beta, posterior = step_variances(schedule)
    least = torch.cat([posterior[1:2], posterior[1:]])
    return least.log(), beta.log()


def learned_log_variance(placed: Tensor, t: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Log-variance that a network's second half of channels places (equation 15).

    Parameters
    ----------
    placed : (B, M, *S) Tensor
        -1 is the least log-variance, 1 the greatest.
    t : (B,) int64 Tensor
    schedule : NoiseSchedule
    """
    least, greatest = log_variance_bounds(schedule)
    share = (placed + 1) / 2
    low, high = _of(least, t, placed), _of(greatest, t, placed)
    return share * high + (1 - share) * low


def posterior_mean(
    x0: Tensor, x_t: Tensor, t: Tensor, schedule: NoiseSchedule
) -> Tensor:
    """Mean of ``q(x_{t-1} | x_t, x_0)`` (Ho et al. 2020, equation 7)."""
    bar = schedule.alpha_bar
    below = torch.cat([bar.new_ones(1), bar[:-1]])
    beta = 1 - bar / below
    of_clean = below.sqrt() * beta / (1 - bar)
    of_noisy = (bar / below).sqrt() * (1 - below) / (1 - bar)
    return _of(of_clean, t, x0) * x0 + _of(of_noisy, t, x0) * x_t


def gaussian_divergence(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor
) -> Tensor:
    """Kullback-Leibler divergence of two normal distributions, in nats."""
    difference = log_variance - other_log_variance
    apart = (mean - other_mean) ** 2 * torch.exp(-other_log_variance)
    return 0.5 * (torch.exp(difference) - 1 - difference + apart)


def gray_level_nats(
    x0: Tensor, mean: Tensor, log_variance: Tensor, mask_range: tuple[float, float]
) -> Tensor:
    """Negative log-likelihood of the gray level of `x0`, in nats.

    The mask's range is cut into `GRAY_LEVELS` steps; what lies beyond its ends
    belongs to them (Ho et al. 2020, equation 13). For the range (-1, 1) these are
    the published steps; other ranges have their own, so that a scaled mask under
    equally scaled noise has the same likelihood.
    """
    low, high = mask_range
    half = (high - low) / GRAY_LEVELS / 2
    spread = torch.exp(0.5 * log_variance)
    above = torch.special.ndtr((x0 + half - mean) / spread)
    below = torch.special.ndtr((x0 - half - mean) / spread)
    inside = torch.where(x0 > high - half, 1 - below, above - below)
    inside = torch.where(x0 < low + half, above, inside)
    return -inside.clamp_min(1e-12).log()


def variational_bits(
    x0: Tensor,
    x_t: Tensor,
    t: Tensor,
    *,
    estimate: Tensor,
    placed: Tensor,
    schedule: NoiseSchedule,
    mask_range: tuple[float, float],
    weights: Tensor | None = None,
) -> Tensor:
    """Each sample's term of the variational bound at its timestep.

    Parameters
    ----------
    x0, x_t : (B, M, *S) Tensor
        Clean and noisy mask, in `mask_range`.
    t : (B,) int64 Tensor
    estimate : (B, M, *S) Tensor
        The network's clean mask; it is detached here.
    placed : (B, M, *S) Tensor
        The network's second half of channels.
    schedule : NoiseSchedule
    mask_range : (low, high)
    weights : (B, *S) Tensor, optional
        Of the voxels, mean 1 over the batch; 0 leaves one out.

    Returns
    -------
    (B,) float32 Tensor
        In bits a mask element (Nichol and Dhariwal 2021, equations 4 to 7).
    """
    least, _ = log_variance_bounds(schedule)
    log_variance = learned_log_variance(placed, t, schedule)
    mean = posterior_mean(estimate.detach(), x_t, t, schedule)
    divergence = gaussian_divergence(
        posterior_mean(x0, x_t, t, schedule), _of(least, t, x0), mean, log_variance
    )
    last = gray_level_nats(x0, mean, log_variance, mask_range)
    first = (t == 0).reshape(-1, *(1,) * (x0.ndim - 1))
    nats = torch.where(first, last, divergence)
    if weights is not None:
        nats = nats * weights[:, None]
    return nats.flatten(1).mean(1) / math.log(2)


def _of(values: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """Values (T,) at timesteps (B,), shaped to go with `like` (B, ...)."""
    picked = values.to(t.device)[t]
    return picked.reshape(-1, *(1,) * (like.ndim - 1)).to(like.dtype)
