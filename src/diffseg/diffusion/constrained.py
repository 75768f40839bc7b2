"""Denoising under a constraint: the parts of a mask that are known stay as they are.

Every way is a small function over tensors; which of them a chain uses, and when, its
caller decides. Shares are probabilities of K classes, background first; what is known
is told by a (*S) mask and the one-hot truth (K, *S), the same for a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffseg.diffusion.fingerprint import MaskRange, mask_log_snr
from diffseg.diffusion.schedules import NoiseSchedule

LEAST = 0.01
"""Least share that a pull starts from: else nothing could move a class that is 0."""
_LEAST_LIKELY = 1e-4


def truncated(schedule: NoiseSchedule, share: float) -> NoiseSchedule:
    """The schedule up to a share in (0, 1] of its timesteps.

    A chain over it begins there, at a mask that is not yet all noise (SDEdit, Meng et
    al. 2022, algorithm 1); timesteps mean what they mean in the whole schedule.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it must lie in (0, 1]")
    return NoiseSchedule(schedule.alpha_bar[: schedule.at(share) + 1])


def share_at(
    schedule: NoiseSchedule, log_snr: float, mask_range: MaskRange = (0.0, 1.0)
) -> float:
    """Share of the schedule whose noise comes next to a log-SNR of a mask in [0, 1].

    So the level that a fingerprint recommends for refining a mask
    (`fingerprint_use.refine_log_snr`) becomes a noise level of another schedule.
    """
    away = abs(mask_log_snr(schedule, mask_range) - log_snr)
    return (int(away.argmin()) + 1) / schedule.timesteps


def replaced(
    x: Tensor,
    truth: Tensor,
    known: Tensor,
    noise: Tensor,
    t: Tensor,
    schedule: NoiseSchedule,
) -> Tensor:
    """Noisy masks with what is known at its noised truth (RePaint, eq. 8).

    Parameters
    ----------
    x, noise : (B, C, *S) Tensor
    truth : (C, *S) Tensor
        In the mask's range.
    known : (*S) bool Tensor
    t : (B,) int64 Tensor
    """
    noised = schedule.add_noise(truth.expand_as(x), noise, t)
    return torch.where(known, noised, x)


def held(shares: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Shares (B, K, *S) with what is known as it is: 1 of its class, exactly."""
    return torch.where(known, truth.to(shares.dtype).expand_as(shares), shares)


def pulled(shares: Tensor, pull: Tensor, strength: float) -> Tensor:
    """Shares whose log-odds are moved towards the strokes nearby.

    ``p'_k ~ p_k exp(strength pull_k)``: Bayes' rule, a stroke being evidence for its
    class of as many nats, less with the distance. Where nothing pulls, nothing moves.

    Parameters
    ----------
    shares : (B, K, *S) Tensor
    pull : (K, *S) Tensor in [0, 1]
    strength : float
        Nats, 0 or more.
    """
    moved = shares.clamp_min(LEAST) * torch.exp(strength * pull)
    moved = moved / moved.sum(1, keepdim=True)
    felt = pull.amax(0) > LEAST
    return torch.where(felt, moved, shares)


def log_likelihood(shares: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean log-likelihood of what is known, in nats a voxel: (B,).

    Parameters
    ----------
    shares : (B, K, *S) Tensor
        Before they were held to it.
    """
    count = known.sum()
    if count == 0:
        return shares.new_zeros(len(shares))
    likely = (shares * truth).sum(1).clamp_min(_LEAST_LIKELY).log()
    mean: Tensor = (likely * known).flatten(1).sum(1) / count
    return mean


def moved_down(x: Tensor, gradient: Tensor, t: Tensor, size: float,
               schedule: NoiseSchedule) -> Tensor:  # fmt: skip
    """Noisy masks moved against a gradient.

    Diffusion posterior sampling (Chung et al. 2023, algorithm 1) with another step:
    the voxel that matters most moves by `size` standard deviations of its noise.
    """
    _, sigma = schedule.signal_and_noise(t, x)
    axes = tuple(range(1, gradient.ndim))
    largest = gradient.abs().amax(axes, keepdim=True).clamp_min(1e-20)
    return x - size * sigma * gradient / largest


def survivors(log_weights: Tensor, count: int, source: torch.Generator) -> list[int]:
    """Which of N members stay when `count` are drawn by their weights.

    Systematic resampling (Kitagawa 1996): one random number; a member of weight w is
    drawn ``count w`` times, rounded up or down.

    Parameters
    ----------
    log_weights : (N,) Tensor
        Up to a constant.
    source : torch.Generator
        Of the CPU.

    Returns
    -------
    list of int
        Rising; the heaviest may be named more than once.
    """
    weights = torch.softmax(log_weights.double(), 0)
    start = float(torch.rand((), generator=source, dtype=torch.float64))
    points = (torch.arange(count, dtype=torch.float64) + start) / count
    places = torch.searchsorted(weights.cumsum(0), points, right=True)
    chosen: list[int] = places.clamp_max(len(weights) - 1).tolist()
    return chosen
