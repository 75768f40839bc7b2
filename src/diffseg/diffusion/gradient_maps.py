"""Where a noisy image would have to change to be more of a class.

The gradient of a classifier's log-probability with respect to the noisy image, which
guides diffusion (Dhariwal and Nichol 2021, section 4.1), as a map; CLDF averages it
over noise levels (section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from diffseg.diffusion.schedules import NoiseSchedule

Score = Callable[[Tensor, Tensor], Tensor]
"""Log-probabilities (B,) of noisy images (B, C, *S) at timesteps (B,)."""

Sign = Literal["absolute", "positive"]


def image_gradient(score: Score, noisy: Tensor, t: Tensor) -> Tensor:
    """Gradient (B, C, *S) of each image's own log-probability at its pixels.

    With respect to the noisy image, not to the clean one within it: the latter's is
    smaller by ``sqrt(abar_t)``. It may be asked for where gradients are off.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # A tensor of inference mode can be in no graph; a copy of it can.
        x = noisy.clone().detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(x, t).sum(), x)
    return gradient


def mean_gradient_map(
    score: Score,
    image: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    noise: Callable[[int], Tensor],
    *,
    draws: int = 1,
    sign: Sign = "absolute",
    equal: bool = False,
) -> Tensor:
    """Mean over noise levels of the gradient's size at each pixel (CLDF's MG).

    ``MG = 1/(K D) sum_t sum_d sum_c |d score(x_t, t) / d x_t|`` with
    ``x_t = sqrt(abar_t) x + sqrt(1 - abar_t) noise(d)``.

    Parameters
    ----------
    score : function
        As ``log_probability`` of a noisy classifier, of what the images are said to
        show.
    image : (B, C, *S) Tensor
    schedule : NoiseSchedule
    timesteps : sequence of K int
    noise : function
        Gives the i-th standard normal field of the image's shape, i from 0 to
        ``K * D - 1``.
    draws : int
        Draws of noise D at each timestep.
    sign : {"absolute", "positive"}
        Of the gradient: its absolute value, or its positive part.
    equal : bool
        Whether each image's gradient weighs the same at every noise level: it is
        divided by its mean over the pixels first.

    Returns
    -------
    (B, *S) Tensor, not negative
    """
    total = torch.zeros_like(image[:, 0])
    count = 0
    for timestep in timesteps:
        t = torch.full((len(image),), timestep, device=image.device)
        for _ in range(draws):
            noisy = schedule.add_noise(image, noise(count), t)
            gradient = image_gradient(score, noisy, t)
            size = gradient.abs() if sign == "absolute" else gradient.clamp(min=0)
            size = size.sum(1)
            if equal:
                mean = size.flatten(1).mean(1)
                size = size / mean.clamp(min=1e-30).view(-1, *(1,) * (size.ndim - 1))
            total = total + size
            count += 1
    return total / count
