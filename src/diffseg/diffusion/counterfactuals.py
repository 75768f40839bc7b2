"""Where an image changes when it is made to show another class: two baselines of CLDF.

Hu et al. 2023 let two deterministic chains go down from the same noisy image, one under
the image's condition and one under a perturbed condition, and add up how they differ
(CDM). Wolleb et al. 2022 encode the image, let a classifier guide it towards health,
and take the difference to what comes out. Both are maps of changes, so that neither
needs a mask; both are prone to changes of the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from diffseg.diffusion.gradient_maps import Score, image_gradient
from diffseg.diffusion.parameterisation import to_eps
from diffseg.diffusion.samplers import Denoise
from diffseg.diffusion.schedules import NoiseSchedule


def levels_down(level: int, steps: int) -> tuple[int, ...]:
    """`steps` steps from a timestep down: ``steps + 1`` timesteps, the last is -1.

    -1 stands for the clean image.

    Raises
    ------
    ValueError
        There are not so many timesteps.
    """
    if not 1 <= steps <= level + 1:
        raise ValueError(f"steps is {steps}; give 1 to {level + 1}")
    down = (round(level - (level + 1) * i / steps) for i in range(steps))
    return (*down, -1)


def ddim_step(
    x: Tensor, x0: Tensor, t: int, to: int, schedule: NoiseSchedule
) -> Tensor:
    """Deterministic step (Song et al. 2021, eq. 12) from timestep `t` to `to`.

    Up or down; to -1 is the clean image.

    Parameters
    ----------
    x, x0 : (B, C, *S) Tensor
        Noisy images at `t`, and estimates of the clean ones.
    """
    if to < 0:
        return x0
    times = torch.full((len(x),), t, device=x.device)
    eps = to_eps(x0, x, times, schedule)
    return schedule.add_noise(x0, eps, torch.full_like(times, to))


def perturbed_condition_map(
    denoise: Denoise,
    perturbed: Denoise,
    image: Tensor,
    noise: Tensor,
    schedule: NoiseSchedule,
    levels: Sequence[int],
    *,
    share: float,
) -> Tensor:
    """How two chains under neighbouring conditions part from each other (Hu's CDM).

    ``a = sum_t (x_{t-1} - x'_{t-1}) / (1 - tau)``, summed over channels, with its sign:
    both chains begin as the same noisy image, `denoise` is under condition
    ``e(present)`` and `perturbed` under ``tau e(present) + (1 - tau) e(absent)``.

    Parameters
    ----------
    denoise, perturbed : function
        Estimates of the clean image from noisy ones at timesteps (B,).
    image, noise : (B, C, *S) Tensor
    schedule : NoiseSchedule
    levels : sequence of int
        Timesteps from the noisiest down, as `levels_down` gives them.
    share : float
        tau, in [0, 1). The public code takes 0.95.

    Returns
    -------
    (B, *S) Tensor
    """
    t = torch.full((len(image),), levels[0], device=image.device)
    one = other = schedule.add_noise(image, noise, t)
    total = torch.zeros_like(image)
    for level, below in pairwise(levels):
        t = torch.full_like(t, level)
        one = ddim_step(one, denoise(one, t), level, below, schedule)
        other = ddim_step(other, perturbed(other, t), level, below, schedule)
        total = total + (one - other) / (1 - share)
    return total.sum(1)


def anomaly_map(
    denoise: Denoise,
    healthy: Score,
    image: Tensor,
    schedule: NoiseSchedule,
    levels: Sequence[int],
    *,
    scale: float,
    noise: Tensor | None = None,
) -> Tensor:
    """How an image differs from what a classifier makes of it, guided to health.

    ``sum_c |x - x_healthy|``: DDIM from the noisy image down, where the predicted noise
    gives way to ``eps - sqrt(1 - abar) s grad log p(healthy | x_t)`` (Wolleb et al.
    2022, algorithm 1).

    Parameters
    ----------
    denoise : function
        See `perturbed_condition_map`.
    healthy : function
        Log-probability (B,) that noisy images show nothing.
    image : (B, C, *S) Tensor
    schedule : NoiseSchedule
    levels : sequence of int
        Timesteps from the noisiest down, as `levels_down` gives them.
    scale : float
        s; the public code takes 100.
    noise : (B, C, *S) Tensor, optional
        With it the image is noised by it; without, encoded by DDIM upwards, as the
        paper does.

    Returns
    -------
    (B, *S) Tensor, not negative
    """
    if noise is None:
        x = encoded(denoise, image, schedule, levels)
    else:
        t = torch.full((len(image),), levels[0], device=image.device)
        x = schedule.add_noise(image, noise, t)
    for level, below in pairwise(levels):
        t = torch.full((len(image),), level, device=image.device)
        a, sigma = schedule.signal_and_noise(t, x)
        eps = to_eps(denoise(x, t), x, t, schedule)
        guided = eps - sigma * scale * image_gradient(healthy, x, t)
        x0 = (x - sigma * guided) / a
        x = ddim_step(x, x0, level, below, schedule)
    return (image - x).abs().sum(1)


def encoded(
    denoise: Denoise, image: Tensor, schedule: NoiseSchedule, levels: Sequence[int]
) -> Tensor:
    """Noisy images at the first of `levels` from which DDIM comes back to the image.

    DDIM the other way: the noise that is predicted at one level leads to the next.
    """
    upwards = [level for level in reversed(levels) if level >= 0]
    x, at = image, upwards[0]
    # The clean image is taken as if it were the least noisy one.
    for level in upwards:
        t = torch.full((len(image),), at, device=image.device)
        x0 = denoise(x, t)
        if at == level:
            times = torch.full_like(t, level)
            x = schedule.add_noise(image, to_eps(x0, x, times, schedule), times)
        else:
            x = ddim_step(x, x0, at, level, schedule)
        at = level
    return x
