"""The three things a network may predict, and the way from one to another.

With ``a = sqrt(abar)`` and ``s = sqrt(1 - abar)``: ``x_t = a x0 + s eps`` and
``v = a eps - s x0`` (Salimans & Ho 2022).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from diffseg.diffusion.schedules import NoiseSchedule

Prediction = Literal["x0", "eps", "v"]


def to_x0(
    kind: Prediction, output: Tensor, x_t: Tensor, t: Tensor, schedule: NoiseSchedule
) -> Tensor:
    """Clean mask from a network's output.

    Raises
    ------
    ValueError
        eps where the SNR is zero: there is nothing to divide by.
    """
    if kind == "x0":
        return output
    a, s = schedule.signal_and_noise(t, x_t)
    if kind == "v":
        return a * x_t - s * output
    if bool((a == 0).any()):
        raise ValueError("eps says nothing of x0 at zero SNR: predict x0 or v")
    return (x_t - s * output) / a


def to_eps(x0: Tensor, x_t: Tensor, t: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Noise that leads from `x0` to `x_t`."""
    a, s = schedule.signal_and_noise(t, x_t)
    return (x_t - a * x0) / s


def target(
    kind: Prediction, x0: Tensor, eps: Tensor, t: Tensor, schedule: NoiseSchedule
) -> Tensor:
    """What a network of this kind is trained to put out."""
    if kind == "x0":
        return x0
    if kind == "eps":
        return eps
    a, s = schedule.signal_and_noise(t, x0)
    return a * eps - s * x0
