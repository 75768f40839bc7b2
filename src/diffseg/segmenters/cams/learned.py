"""CAMs of networks that were trained to give them: SEAM, AME-CAM, the local one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks.ame_cam import AmeCam
from diffseg.networks.local_classifier import LocalClassifier
from diffseg.networks.seam import Seam
from diffseg.segmenters.cams.gradients import check_staged, resized


@torch.no_grad()
def seam(
    network: nn.Module, images: Tensor, index: int, *, refined: bool = True
) -> Tensor:
    """SEAM's rectified activation map, refined by pixel correlation unless asked not.

    Returns
    -------
    (B, H, W) Tensor >= 0, at the images' size
    """
    if not isinstance(network, Seam):
        raise UserError(f"CAM seam needs a network seam, not {_name(network)}")
    check_staged(network, index)
    maps = network.stages(images)
    found = functional.relu(network.activations(maps))
    if refined:
        found = network.refined(found, images, maps)
    return resized(found[:, index], images)


@torch.no_grad()
def local_map(network: nn.Module, images: Tensor, index: int) -> Tensor:
    """What a local classifier says of each place, where it speaks for the structure.

    Its zero is the network's own: a place is as likely with as without the structure.

    Returns
    -------
    (B, H, W) Tensor >= 0, at the images' size
    """
    if not isinstance(network, LocalClassifier):
        raise UserError(
            f"CAM local_map needs a network local_classifier, not {_name(network)}"
        )
    check_staged(network, index)
    found = network.activations(network.stages(images))[:, index]
    return functional.relu(resized(found, images))


@torch.no_grad()
def ame_cam(network: nn.Module, images: Tensor, index: int) -> Tensor:
    """Mean of the four exits' maps and of what they are aggregated to, each in 0..1.

    Returns
    -------
    (B, H, W) Tensor in 0..1
    """
    if not isinstance(network, AmeCam):
        raise UserError(f"CAM ame_cam needs a network ame_cam, not {_name(network)}")
    check_staged(network, index)
    exits = network.exit_maps(network.stages(images))
    each, together = network.aggregated(images, exits)
    every = torch.cat([each[:, index], together[:, index, None]], 1)
    return every.mean(1)


def _name(network: nn.Module) -> str:
    return type(network).__name__
