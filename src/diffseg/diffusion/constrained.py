"""Denoising under a constraint: the parts of a mask that are known stay as they are.

Every way is a small function over tensors; which of them a chain uses, and when, its
caller decides. Shares are probabilities of K classes, background first; what is known
is told by a (*S) mask and the one-hot truth (K, *S), the same for a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion.fingerprint import MaskRange, mask_log_snr
from diffseg.diffusion.schedules import NoiseSchedule

LEAST = 0.01
"""Least share that a pull starts from: else nothing could move a class that is 0."""
_LEAST_LIKELY = 1e-4
_FAINT = 1e-3  # least share that a regression starts from
_TAIL = 4.0  # standard deviations at which a kernel ends


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


def regressed(
    shares: Tensor,
    truth: Tensor,
    known: Tensor,
    widths: Sequence[float],
    *,
    gain: float,
    shrink: float,
    rounds: int,
) -> Tensor:
    """Shares whose log-odds follow what was wrong with them at known voxels nearby.

    ``f <- f + gain (G * known (truth - softmax f)) / (G * known + shrink)``, some times
    over: kernel regression (Nadaraya 1964, Watson 1964) of the residuals, that shrinks
    to nothing far from all that is known. Where an estimate is right nothing moves;
    where it errs along an edge, the edge moves in the slices beside, too.

    Parameters
    ----------
    shares : (B, K, Z, Y, X) Tensor
    truth : (K, Z, Y, X) Tensor
        One-hot; meant where it is `known`.
    known : (Z, Y, X) bool Tensor
    widths : (z, y, x)
        Standard deviations of the kernel G, in voxels.
    gain : float
        Nats that a residual of 1 adds where all voxels around share it.
    shrink : float
        Weight of nothing being wrong, in shares of a neighbourhood known as a whole.
    rounds : int
    """
    log_shares = shares.clamp_min(_FAINT).log()
    seen = known.to(shares.dtype)
    weight = _blurred(seen[None, None], widths) + shrink
    for _ in range(rounds):
        residual = (truth - log_shares.softmax(1)) * seen
        log_shares = log_shares + gain * _blurred(residual, widths) / weight
    return log_shares.softmax(1)


def _blurred(array: Tensor, widths: Sequence[float]) -> Tensor:
    """Gaussian-smoothed along the last three axes, with zeros beyond the ends."""
    batch, channels = array.shape[:2]
    one = array.reshape(batch * channels, 1, *array.shape[2:])
    for axis, width in enumerate(widths):
        reach = math.ceil(_TAIL * width)
        places = torch.arange(-reach, reach + 1, dtype=array.dtype, device=array.device)
        kernel = torch.exp(-(places**2) / (2 * width**2))
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = len(kernel)
        padding = [reach if other == axis else 0 for other in range(3)]
        one = functional.conv3d(
            one, (kernel / kernel.sum()).view(shape), padding=padding
        )
    return one.reshape(array.shape)


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
