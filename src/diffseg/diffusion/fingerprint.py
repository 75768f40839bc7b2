"""The fingerprint of a segmentation task: how noise destroys its masks.

``F(noise level) = mean ||m - m_hat(x_t, t)||^2``: how well a mask is recovered from
its noised self (analysis of diffusion segmentation, sections 4.2 and 4.3). Masks are
told in [0, 1] and noise levels as log-SNR of such a mask, whatever range they were
noised in, so that curves of several methods and data sets lie on one axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion.noise import generator
from diffseg.diffusion.schedules import NoiseSchedule
from diffseg.progress import Progress, Work

Floats = NDArray[np.float64]
MaskRange = tuple[float, float]
Recover = Callable[[Tensor, Tensor], Tensor]
"""Clean masks (B, M, *S) of noisy ones at timesteps (B,), both in their mask range."""


@dataclass(frozen=True, slots=True, eq=False)
class RecoveryCurve:
    """Error of recovered masks against the noise level.

    Parameters
    ----------
    log_snr : (N,) float64 ndarray
        Of masks in [0, 1], falling: from clean to noisy.
    error : (N,) float64 ndarray
        Mean squared error of masks in [0, 1].
    """

    log_snr: Floats
    error: Floats

    def __post_init__(self) -> None:
        if self.log_snr.shape != self.error.shape or self.log_snr.ndim != 1:
            raise ValueError("log_snr and error differ in shape")
        if len(self.log_snr) < 2 or not bool((np.diff(self.log_snr) < 0).all()):
            raise ValueError("log_snr must fall, over two points or more")

    def rising(self) -> RecoveryCurve:
        """The curve without its dips: the best estimate loses with every noise."""
        return RecoveryCurve(self.log_snr, np.maximum.accumulate(self.error))

    def at(self, log_snr: Floats) -> Floats:
        """Error at other noise levels; beyond the ends, that of the ends."""
        return np.interp(log_snr, self.log_snr[::-1], self.error[::-1])


def mask_log_snr(schedule: NoiseSchedule, mask_range: MaskRange) -> Floats:
    """Log-SNR of every timestep, (T,), as of a mask in [0, 1].

    A mask of width w in ``x_t = a x_0 + s eps`` is as visible as one of width 1 under
    noise 1 / w: the shift is ``2 log w``.
    """
    low, high = mask_range
    shifted: Floats = schedule.log_snr().numpy() + 2 * np.log(high - low)
    return shifted


def unit_mask(mask: Tensor, mask_range: MaskRange) -> Tensor:
    """Estimates clipped to their mask range, then told in [0, 1]."""
    low, high = mask_range
    return (mask.clamp(low, high) - low) / (high - low)


def iter_recovery_error(
    recover_for: Callable[[slice], Recover],
    masks: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[int],
    *,
    mask_range: MaskRange = (0.0, 1.0),
    seed: int = 0,
    draws: int = 1,
    batch: int = 16,
) -> Work[Floats]:
    """Measure the error of recovered masks at each of some timesteps.

    Every mask meets the same noise at every timestep, so that neighbouring points
    differ by the noise level and not by chance. Estimates are clipped to the mask
    range first: eps divided by a vanishing signal would else hide all the rest.

    Parameters
    ----------
    recover_for : function
        Of some of the masks, as a slice, what recovers them; asked once a batch, so
        that features of images are computed once.
    masks : (N, M, *S) Tensor
        In [0, 1].
    schedule : NoiseSchedule
    timesteps : sequence of int
    mask_range : (low, high)
        In which the masks are noised and recovered.
    seed, draws : int
        Noise of every mask, and how many draws of it.
    batch : int
        Masks at once.

    Returns
    -------
    (len(timesteps),) float64 ndarray
        Mean over masks, channels, pixels and draws.
    """
    low, high = mask_range
    total = np.zeros(len(timesteps))
    starts = range(0, len(masks), batch)
    for draw in range(draws):
        for start in starts:
            part = slice(start, min(start + batch, len(masks)))
            clean = masks[part]
            noise = torch.stack(
                [
                    torch.randn(masks.shape[1:], generator=generator(seed, draw, i))
                    for i in range(part.start, part.stop)
                ]
            ).to(clean)
            recover = recover_for(part)
            for place, timestep in enumerate(timesteps):
                t = torch.full((len(clean),), timestep, device=clean.device)
                noisy = schedule.add_noise(clean * (high - low) + low, noise, t)
                found = unit_mask(recover(noisy, t).float(), mask_range)
                squares = ((found - clean) ** 2).flatten(1).mean(1)
                total[place] += float(squares.sum(dtype=torch.float64))
            done = draw * len(masks) + part.stop
            yield Progress("measure", done, draws * len(masks))
    return total / (draws * len(masks))


def prior_error(masks: Tensor) -> float:
    """Error of the best guess that sees nothing: ``mean_p pbar (1 - pbar)``.

    Parameters
    ----------
    masks : (N, M, *S) Tensor
        In {0, 1}; `pbar` is their mean, pixel by pixel.
    """
    mean = masks.double().mean(0)
    return float((mean * (1 - mean)).mean())


def smoothed(values: Floats, window: int) -> Floats:
    """Moving average over an odd number of points; narrower towards the ends."""
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; it must be odd and positive")
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    reach = np.minimum(np.minimum(place, place[::-1]), window // 2)
    averages: Floats = (sums[place + reach + 1] - sums[place - reach]) / (2 * reach + 1)
    return averages
