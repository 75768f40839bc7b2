"""The baselines' answer: an image is changed, and where it changes is the mask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from diffseg.diffusion import NoiseSchedule, Prediction, to_x0
from diffseg.diffusion.counterfactuals import (
    anomaly_map,
    levels_down,
    perturbed_condition_map,
)
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.networks.cdm import Cdm
from diffseg.networks.noisy_classifier import log_probability
from diffseg.segmenters.weak.looking import Answer, Floats, Look, Slices
from diffseg.segmenters.weak.thresholds import Threshold, stretched


def change_map(
    network: Cdm,
    schedule: NoiseSchedule,
    prediction: Prediction,
    image: Tensor,
    states: Tensor,
    index: int,
    noise: Tensor,
    steps: int,
) -> Tensor:
    """Where slices change when one class is taken from them, (B, Y, X).

    Parameters
    ----------
    network : Cdm
        Its kind and settings are read.
    schedule : NoiseSchedule
    prediction : {"eps", "v", "x0"}
        Of the diffusion model.
    image, noise : (B, C, Y, X) Tensor
    states : (B, K) int64 Tensor
        What the slices show.
    index : int
        The class.
    steps : int
        Of the chain.
    """
    net = network.diffusion
    without = states.clone()
    without[:, index] = ABSENT
    here, gone = (net.condition(one).to(image.dtype) for one in (states, without))
    denoise = partial(_estimate, network, schedule, prediction)
    levels = levels_down(network.level, steps)
    if network.kind == "perturbed":
        blend = network.share * here + (1 - network.share) * gone
        return perturbed_condition_map(
            denoise(here),
            denoise(blend),
            image,
            noise,
            schedule,
            levels,
            share=network.share,
        )
    told = torch.full_like(states, UNKNOWN)
    told[:, index] = ABSENT

    def healthy(x: Tensor, t: Tensor) -> Tensor:
        return log_probability(network.classifier(x, t).float(), told)

    return anomaly_map(
        denoise(gone),
        healthy,
        image,
        schedule,
        levels,
        scale=network.scale,
        noise=None if network.encoded else noise,
    )


def _estimate(
    network: Cdm, schedule: NoiseSchedule, prediction: Prediction, condition: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """Estimates of the clean image under a condition, within what images range over."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        answer = network.diffusion.denoise(x, t, condition)
        return to_x0(prediction, answer, x, t, schedule)

    return denoise


def by_change(prediction: Prediction, threshold: Threshold) -> Answer:
    """Answer by a map of changes, parted by a threshold slice by slice."""

    def answer(look: Look, slices: Slices) -> Floats:
        network = cast("Cdm", look.network)
        image, states, size = slices.image, slices.states, slices.size
        told = torch.from_numpy(states.astype(np.int64)).to(image.device)
        likely = np.zeros((len(image), network.classes, *size), np.float32)
        for index in range(network.classes):
            if not (states[:, index] == PRESENT).any():
                continue
            found = change_map(network, look.schedule, prediction, image, told, index,
                               slices.noise(0), look.steps)  # fmt: skip
            cut = found[:, : size[0], : size[1]].float().cpu().numpy()
            for place in np.flatnonzero(states[:, index] == PRESENT):
                one = stretched(cut[place])
                likely[place, index] = one * (one > threshold.of(one))
        return _parted(likely)

    return answer


def _parted(likely: Floats) -> Floats:
    """0 and 1 for background and each class: where several are high, the highest."""
    best = likely.argmax(axis=1)
    inside = likely.max(axis=1) > 0
    index = np.where(inside, best + 1, 0)
    count = likely.shape[1] + 1
    hard = index[:, None] == np.arange(count)[None, :, None, None]
    shares: Floats = hard.astype(np.float32)
    return shares
