"""CLDF's answer: pixels are embedded and clustered, slice by slice."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion import NoiseSchedule
from diffseg.domain.slice_labels import PRESENT
from diffseg.networks.cldf import Cldf
from diffseg.segmenters.refining.pixels import refine_each
from diffseg.segmenters.weak.clusters import clustered
from diffseg.segmenters.weak.features import (
    ClassifierMaps,
    CleanMaps,
    DiffusionMaps,
    MapSource,
    mean_maps,
)
from diffseg.segmenters.weak.looking import Floats, Look, Slices, States


def map_source(network: Cldf, schedule: NoiseSchedule) -> MapSource:
    """Where a network's features of pixels come from."""
    if network.features == "encoder":
        return CleanMaps(network.encoder_maps, network.widths)
    if network.features == "classifier":
        return ClassifierMaps(network.classifier, schedule, network.blocks)
    return DiffusionMaps(network.diffusion, schedule, network.blocks)


def embeddings(look: Look, slices: Slices) -> Tensor:
    """Embeddings (B, E, Y', X') float32 of all pixels of slices."""
    network, image = cast("Cldf", look.network), slices.image
    told = torch.from_numpy(slices.states.astype(np.int64)).to(image.device)
    source = map_source(network, look.schedule)
    maps = mean_maps(source, image, told, look.timesteps, slices.noise)
    return network.decoder.from_maps(maps, image.shape[2:]).float()


def local_log_odds(slices: Slices, weight: float) -> Tensor | None:
    """Log-odds (B, K, Y', X') that a local classifier adds, weighed; bilinear."""
    if slices.local is None:
        return None
    found = functional.interpolate(
        slices.local.float(), slices.image.shape[2:], mode="bilinear"
    )
    return weight * found


def probabilities(
    embedded: Floats,
    states: States,
    network: Cldf,
    source: np.random.Generator,
    local: Floats | None = None,
) -> Floats:
    """Class probabilities (K + 1, Y, X) of one slice, background first.

    Parameters
    ----------
    embedded : (E, Y, X) float32 ndarray
    states : (K,) uint8 ndarray
        Classes to look for.
    network : Cldf
        Its references, offsets and K-means' settings.
    source : np.random.Generator
    local : (K, Y, X) float32 ndarray, optional
        Log-odds that are added.
    """
    size = embedded.shape[1:]
    found = np.zeros((len(states) + 1, *size), np.float32)
    wanted = [0, *(1 + np.flatnonzero(states == PRESENT))]
    flat = embedded.reshape(len(embedded), -1).T
    references = network.references.float().cpu().numpy()[wanted]
    offsets = network.offsets.float().cpu().numpy()[wanted]
    if local is not None:
        added = np.concatenate([np.zeros((1, *size), np.float32), local])[wanted]
        offsets = offsets + added.reshape(len(wanted), -1).T
    shares = clustered(
        flat,
        references,
        source,
        temperature=network.temperature,
        starts=network.starts,
        iterations=network.iterations,
        offsets=offsets,
    )
    found[wanted] = shares.T.reshape(len(wanted), *size)
    return found


def by_embedding(look: Look, slices: Slices) -> Floats:
    """Class probabilities of slices; see `diffseg.segmenters.weak.looking.Answer`."""
    network = cast("Cldf", look.network)
    rows, columns = slices.size
    embedded = embeddings(look, slices)[..., :rows, :columns].cpu().numpy()
    added = local_log_odds(slices, network.local_weight)
    local = None if added is None else added[..., :rows, :columns].cpu().numpy()
    found = np.stack(
        [
            probabilities(
                one,
                slices.states[place],
                network,
                slices.source_of(place),
                None if local is None else local[place],
            )
            for place, one in enumerate(embedded)
        ]
    )
    return refined(found, slices.image[..., :rows, :columns], network)


def refined(found: Floats, image: Tensor, network: Cldf) -> Floats:
    """Class probabilities (B, K + 1, Y, X) after pixels that look alike agreed.

    Features come from maps far coarser than the image, and so do edges of what they
    draw.
    """
    if not network.refinement_iterations:
        return found
    refined = refine_each(
        torch.from_numpy(found).to(image.device),
        image,
        iterations=network.refinement_iterations,
        dilations=network.refinement_dilations,
    )
    return cast("Floats", refined.cpu().numpy())
