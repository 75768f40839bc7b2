"""The feed-forward twin: the same network and loss, and nothing to denoise.

The member tower is fed zeros at the last timestep, in training and in use, so that
what differs from the diffusion model is diffusion alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule
from diffseg.networks.compact_unet import CompactUNet
from diffseg_training.objectives import Batch
from diffseg_training.objectives.terms import segmentation_loss, with_image_tower
from diffseg_training.recipe import Objective


def loss(
    network: nn.Module,
    batch: Batch,
    schedule: NoiseSchedule,
    config: Objective,
    source: torch.Generator,
) -> tuple[Tensor, Mapping[str, float]]:
    """Segmentation loss of the answer to the image alone."""
    net = cast("CompactUNet", network)
    features = net.encode(batch.image)
    shape = (len(batch.image), net.classes, *batch.image.shape[2:])
    nothing = batch.image.new_zeros(shape)
    t = batch.classes.new_full((len(batch.image),), schedule.timesteps - 1)
    total = segmentation_loss(net.denoise(nothing, t, features), batch.classes, config)
    terms = {"first": float(total.detach())}
    return with_image_tower(total, terms, features, batch.classes, config)
