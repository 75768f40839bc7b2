"""Denoising a mask given the image: the published diffusion segmenters (E2).

The mask has one channel for each foreground class and stands in
``recipe.sampling.mask_range``. Of each sample one timestep and one noise is drawn,
from its own source.

- The prediction's error, l2 or l1.
- The variational bound, of networks that learn the variance (Nichol and Dhariwal
  2021, equation 16), whose gradient does not reach the prediction.
- The condition network's own mask, of networks that have one: ten times its squared
  error (MedSegDiff).

Timestep weights, explicit or from a fingerprint, either weigh the error of the clean
mask x0, to which the errors of eps and v are brought by ``(1 - abar) / abar`` and
``1 - abar``, or are the chances of the timesteps, with no weights on the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from diffseg.diffusion import (
    NoiseSchedule,
    Prediction,
    schedule_of,
    target,
    to_x0,
)
from diffseg.diffusion.fingerprint import Floats
from diffseg.diffusion.fingerprint_use import spread_weights, timestep_weights
from diffseg.diffusion.variational import variational_bits
from diffseg.networks.conditioned import Conditioned
from diffseg_training.fingerprint import read_fingerprint
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.terms import (
    Calibrated,
    checked_conditioned,
    coded_mask,
    drawn_timesteps,
    normal,
    predicted,
    sample_errors,
)
from diffseg_training.recipe import Recipe
from diffseg_training.settings.denoising import Settings


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network does not denoise masks, or the recipe predicts classes, or its
        fingerprint cannot be read.
    """
    config, sampling = recipe.objective, recipe.sampling
    assert isinstance(config, Settings)
    schedule = schedule_of(sampling)
    kind = predicted(recipe)
    weights = recipe_weights(config, schedule, sampling.mask_range)
    factors = chances = None
    if weights is not None and config.weighting == "loss":
        factors = error_factors(weights, kind, schedule, config)
    elif weights is not None:
        chances = torch.from_numpy(weights)
    checked_conditioned(network, recipe)
    return Denoising(config, schedule, kind, sampling.mask_range, factors, chances)


def recipe_weights(
    config: Settings, schedule: NoiseSchedule, mask_range: tuple[float, float]
) -> Floats | None:
    """Weights (T,) of a recipe's timesteps, mean 1, or None without any."""
    if config.timestep_weights:
        return spread_weights(np.array(config.timestep_weights), schedule.timesteps)
    if config.fingerprint is not None:
        curve = read_fingerprint(config.fingerprint).curve()
        return timestep_weights(curve, schedule, mask_range)
    return None


def error_factors(
    weights: Floats, kind: Prediction, schedule: NoiseSchedule, config: Settings
) -> Tensor:
    """Factors (T,) of the prediction's error that weigh the error of x0, mean 1.

    An error of eps is one of x0 times ``sqrt(abar / (1 - abar))``, one of v is one of
    x0 over ``sqrt(1 - abar)``. The gain from eps is bounded by `largest_gain`: where
    there is hardly a signal, it is all that would be learnt.
    """
    bar = schedule.alpha_bar.numpy()
    gain = np.ones_like(bar)
    if kind == "eps":
        gain = np.minimum((1 - bar) / np.maximum(bar, 1e-30), config.largest_gain)
    elif kind == "v":
        gain = 1 - bar
    factors = weights * (np.sqrt(gain) if config.loss == "l1" else gain)
    return torch.from_numpy(factors / factors.mean()).float()


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One evaluation of a network: what it was shown, said, and how wrong it was."""

    x0: Tensor
    noisy: Tensor
    t: Tensor
    prediction: Tensor
    placed: Tensor
    own: Tensor | None
    errors: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Denoising:
    """The loss of one recipe.

    Parameters
    ----------
    config : Settings
    schedule : NoiseSchedule
    kind : {"eps", "v", "x0"}
    mask_range : (low, high)
    factors : (T,) Tensor, optional
        Of the prediction's error.
    chances : (T,) Tensor, optional
        Of the timesteps.
    """

    config: Settings
    schedule: NoiseSchedule
    kind: Prediction
    mask_range: tuple[float, float]
    factors: Tensor | None = None
    chances: Tensor | None = None

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean loss of the samples, each at a timestep of its own."""
        drawn = drawn_timesteps(self.chances, self.schedule.timesteps, batch.sources)
        seen = self._asked(cast("Conditioned", network), batch, drawn)
        errors = seen.errors
        if self.factors is not None:
            errors = errors * self.factors.to(seen.t.device)[seen.t]
        total = errors.mean()
        terms = {"prediction": float(total.detach())}
        if seen.placed.shape[1] and self.config.variational:
            bits = self._bits(seen, batch.weights)
            total = total + self.config.variational * bits
            terms["variational"] = float(bits.detach())
        if seen.own is not None and self.config.calibration:
            outside, inside = self.mask_range
            unit = (seen.x0 - outside) / (inside - outside)
            mine = sample_errors(seen.own, unit, "l2", batch.weights).mean()
            total = total + self.config.calibration * mine
            terms["calibration"] = float(mine.detach())
        return total, terms

    def errors(self, network: nn.Module, batch: Batch, t: Tensor) -> Tensor:
        """Error of each sample at timesteps (B,), without weights: (B,)."""
        return self._asked(cast("Conditioned", network), batch, t).errors

    def _asked(self, net: Conditioned, batch: Batch, t: Tensor) -> _Seen:
        channels = net.mask_channels
        x0 = coded_mask(batch.classes, channels, self.mask_range)
        t, noise = t.to(x0.device), normal(x0, batch.sources)
        noisy = self.schedule.add_noise(x0, noise, t)
        features, own = net.encode(batch.image), None
        if isinstance(net, Calibrated):
            answer, own = net.denoise_calibrated(noisy, t, features)
        else:
            answer = net.denoise(noisy, t, features)
        prediction, placed = answer.float().tensor_split([channels], dim=1)
        wanted = target(self.kind, x0, noise, t, self.schedule)
        errors = sample_errors(prediction, wanted, self.config.loss, batch.weights)
        return _Seen(x0, noisy, t, prediction, placed, own, errors)

    def _bits(self, seen: _Seen, weights: Tensor | None) -> Tensor:
        schedule, t = self.schedule, seen.t
        bits = variational_bits(
            seen.x0,
            seen.noisy,
            t,
            estimate=to_x0(
                self.kind, seen.prediction.detach(), seen.noisy, t, schedule
            ),
            placed=seen.placed,
            schedule=schedule,
            mask_range=self.mask_range,
            weights=weights,
        ).mean()
        scale = schedule.timesteps / 1000
        return bits * scale if self.config.variational_rescaled else bits
