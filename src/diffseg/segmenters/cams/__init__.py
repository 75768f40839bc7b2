"""Class activation maps: where in a slice a classifier sees what it says is present.

Every source is a function from a network and images (N, C, H, W) to maps (N, H, W) of
one structure; `cam_maps` calls it by name, batch by batch, and brings each map to 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffseg.errors import UserError, nearest
from diffseg.segmenters.cams.gradients import fused_layer_cam, grad_cam, layer_cam
from diffseg.segmenters.cams.learned import ame_cam, local_map, seam
from diffseg.segmenters.cams.masking import score_cam

Floats = NDArray[np.float32]
Source = Callable[[Any, Tensor, int], Tensor]
"""From a network in evaluation, images (B, C, H, W) and the index of a structure to
maps (B, H, W) >= 0, of no scale in particular."""

SOURCES: Mapping[str, Source] = {
    "grad_cam": grad_cam,
    "score_cam": score_cam,
    "score_cam_64": partial(score_cam, most=64),
    "layer_cam": layer_cam,
    "layer_cam_stages": fused_layer_cam,
    "seam": seam,
    "seam_raw": partial(seam, refined=False),
    "ame_cam": ame_cam,
    "local_map": local_map,
}


def cam_maps(
    source: str,
    network: nn.Module,
    images: Tensor | Floats,
    index: int = 0,
    *,
    batch: int = 16,
    scale: float | None = None,
) -> Floats:
    """Maps of one structure, each slice by itself.

    Parameters
    ----------
    source : str
        One of `SOURCES`.
    network : nn.Module
        One that the source can ask: `Staged` for the gradients and ScoreCAM, `Seam`,
        `AmeCam`. It is evaluated where it lies, and left in the mode that it was in.
    images : (N, C, H, W) float32
        Prepared slices.
    index : int
        Class index of the structure.
    batch : int
        Slices at once.
    scale : float, optional
        What becomes 1, of all slices alike. Without it each slice's smallest value
        becomes 0 and its largest 1, whatever they are; a constant map becomes 0.

    Returns
    -------
    (N, H, W) float32 ndarray in 0..1

    Raises
    ------
    UserError
        There is no such source, or the network is not one that it can ask.
    """
    raw = raw_maps(source, network, images, index, batch=batch)
    if scale is not None:
        scaled: Floats = np.clip(raw / np.float32(scale), 0, 1).astype(np.float32)
        return scaled
    return unit_maps(raw)


def raw_maps(
    source: str,
    network: nn.Module,
    images: Tensor | Floats,
    index: int = 0,
    *,
    batch: int = 16,
) -> Floats:
    """Maps (N, H, W) >= 0 of one structure as the source gives them; see `cam_maps`."""
    if source not in SOURCES:
        raise UserError(
            f"CAM {source!r} is not one of {', '.join(SOURCES)}"
            + nearest(source, SOURCES)
        )
    device = next(network.parameters()).device
    shown = torch.as_tensor(images)
    if not len(shown):
        return np.zeros((0, *shown.shape[2:]), np.float32)
    found: list[Floats] = []
    mode = network.training
    network.eval()  # else what is in a batch would have a say in each other's maps
    try:
        for part in torch.split(shown, batch):
            maps = SOURCES[source](network, part.to(device, torch.float32), index)
            found.append(maps.detach().float().cpu().numpy())
    finally:
        network.train(mode)
    return cast("Floats", np.concatenate(found))


def unit_maps(maps: Floats) -> Floats:
    """Maps (N, H, W), each brought to 0..1 by itself; a constant one becomes 0."""
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    unit: Floats = ((maps - low) / np.where(span > 0, span, 1)).astype(np.float32)
    return unit


__all__ = ["SOURCES", "Source", "cam_maps", "raw_maps", "unit_maps"]
