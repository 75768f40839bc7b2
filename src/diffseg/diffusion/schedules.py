"""Noise schedules: how much of the mask is left at each timestep.

``x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps`` (Ho et al. 2020, eq. 4), with
timesteps counted 0 .. T-1, so that T-1 is the noisiest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffseg.domain import Sampling
from diffseg.errors import UserError


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """Cumulative signal power of each timestep, `alpha_bar` (T,) float64, falling."""

    alpha_bar: Tensor

    def __post_init__(self) -> None:
        bar = self.alpha_bar
        falling = bool((bar[1:] < bar[:-1]).all())
        if bar.ndim != 1 or not falling or bar[0] > 1 or bar[-1] < 0:
            raise ValueError("alpha_bar must fall within [0, 1]")

    @property
    def timesteps(self) -> int:
        """Number of timesteps T."""
        return len(self.alpha_bar)

    def log_snr(self) -> Tensor:
        """``log(abar / (1 - abar))`` of each timestep; -inf at zero terminal SNR."""
        return torch.logit(self.alpha_bar)

    def signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """``sqrt(abar_t)`` and ``sqrt(1 - abar_t)``, (B,) shaped to scale `like`."""
        bar = self.alpha_bar.to(like.device)[t]
        shape = (-1, *(1,) * (like.ndim - 1))
        signal, noise = bar.sqrt(), (1 - bar).sqrt()
        return signal.reshape(shape).to(like.dtype), noise.reshape(shape).to(like.dtype)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Noisy mask at timesteps `t` (B,): (B, ...), (B, ...) -> (B, ...)."""
        signal, sigma = self.signal_and_noise(t, x0)
        return signal * x0 + sigma * noise

    def at(self, share: float) -> int:
        """Timestep at a share of the schedule in (0, 1]; 1 is the noisiest."""
        return min(max(round(share * self.timesteps) - 1, 0), self.timesteps - 1)

    def spaced(self, steps: int) -> list[int]:
        """`steps` timesteps from T-1 downwards, evenly ("trailing") spaced."""
        if not 1 <= steps <= self.timesteps:
            raise UserError(f"steps is {steps}; give 1 to {self.timesteps}")
        return [self.at((steps - i) / steps) for i in range(steps)]


def _from_betas(betas: Tensor) -> NoiseSchedule:
    return NoiseSchedule(torch.cumprod(1 - betas, 0))


def linear(timesteps: int, start: float = 1e-4, end: float = 0.02) -> NoiseSchedule:
    """Betas in a line, rescaled so that T keeps the same end (guided diffusion)."""
    scale = 1000 / timesteps
    ends = (start * scale, min(end * scale, 0.999))
    return _from_betas(torch.linspace(*ends, timesteps, dtype=torch.float64))


def scaled_linear(
    timesteps: int, start: float = 0.00085, end: float = 0.012
) -> NoiseSchedule:
    """Square roots of the betas in a line (latent diffusion)."""
    roots = torch.linspace(start**0.5, end**0.5, timesteps, dtype=torch.float64)
    return _from_betas(roots**2)


def cosine(timesteps: int) -> NoiseSchedule:
    """``abar = cos(pi/2 (t+1)/T)^2``: reaches zero SNR exactly at T-1."""
    share = torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps
    bar = torch.cos(share * (math.pi / 2)) ** 2
    bar[-1] = 0.0
    return NoiseSchedule(bar)


def zero_terminal_snr(schedule: NoiseSchedule) -> NoiseSchedule:
    """Shift and scale ``sqrt(abar)`` so that the last one is 0 and the first stays.

    Lin et al. 2024, algorithm 1. Only for x0 and v prediction: eps carries no
    information about x0 where the SNR is zero.
    """
    root = schedule.alpha_bar.sqrt()
    first, last = root[0], root[-1]
    root = (root - last) * first / (first - last)
    return NoiseSchedule(root**2)


_LINEAR = {"linear": linear, "scaled_linear": scaled_linear}
_OTHERS: dict[str, Callable[[int], NoiseSchedule]] = {
    "cosine": cosine,
    "linear_zero_snr": lambda timesteps: zero_terminal_snr(linear(timesteps)),
}


def noise_schedule(
    name: str, timesteps: int = 1000, betas: tuple[float, float] | None = None
) -> NoiseSchedule:
    """Schedule by name: linear, scaled_linear, cosine or linear_zero_snr.

    Parameters
    ----------
    name : str
    timesteps : int
    betas : (first, last), optional
        Of linear and scaled_linear, at 1000 timesteps.

    Raises
    ------
    UserError
        No such schedule, or betas for one that has none, or out of (0, 1).
    """
    if name not in {*_LINEAR, *_OTHERS}:
        known = ", ".join((*_LINEAR, *_OTHERS))
        raise UserError(f"schedule {name!r} is not one of {known}")
    if betas is None:
        return (_LINEAR | _OTHERS)[name](timesteps)
    if name not in _LINEAR:
        raise UserError(f"schedule {name} has no betas; leave them out")
    if not 0 < betas[0] <= betas[1] < 1:
        raise UserError(f"betas are {betas}; give a first and a last one within (0, 1)")
    return _LINEAR[name](timesteps, *betas)


def schedule_of(sampling: Sampling) -> NoiseSchedule:
    """The schedule that a card's or a recipe's sampling names; see `noise_schedule`."""
    return noise_schedule(sampling.schedule, sampling.timesteps, sampling.betas)
