"""CLDF's answer: pixels are embedded and clustered, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from diffseg.diffusion import NoiseSchedule
from diffseg.domain.slice_labels import PRESENT
from diffseg.networks.cldf import Cldf
from diffseg.segmenters.weak.clusters import clustered
from diffseg.segmenters.weak.features import (
    ClassifierMaps,
    CleanMaps,
    DiffusionMaps,
    FieldOf,
    MapSource,
    mean_maps,
)
from diffseg.segmenters.weak.looking import Floats, Look, SourceOf, States


def map_source(network: Cldf, schedule: NoiseSchedule) -> MapSource:
    """Where a network's features of pixels come from."""
    if network.features == "encoder":
        return CleanMaps(network.encoder_maps, network.widths)
    if network.features == "classifier":
        return ClassifierMaps(network.classifier, schedule, network.blocks)
    return DiffusionMaps(network.diffusion, schedule, network.blocks)


def embeddings(look: Look, image: Tensor, states: States, noise: FieldOf) -> Tensor:
    """Embeddings (B, E, Y, X) float32 of all pixels of slices (B, C, Y, X)."""
    network = cast("Cldf", look.network)
    told = torch.from_numpy(states.astype(np.int64)).to(image.device)
    source = map_source(network, look.schedule)
    maps = mean_maps(source, image, told, look.timesteps, noise)
    return network.decoder.from_maps(maps, image.shape[2:]).float()


def probabilities(
    embedded: Floats, states: States, network: Cldf, source: np.random.Generator
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
    """
    size = embedded.shape[1:]
    found = np.zeros((len(states) + 1, *size), np.float32)
    wanted = [0, *(1 + np.flatnonzero(states == PRESENT))]
    flat = embedded.reshape(len(embedded), -1).T
    references = network.references.float().cpu().numpy()[wanted]
    shares = clustered(
        flat,
        references,
        source,
        temperature=network.temperature,
        starts=network.starts,
        iterations=network.iterations,
        offsets=network.offsets.float().cpu().numpy()[wanted],
    )
    found[wanted] = shares.T.reshape(len(wanted), *size)
    return found


def by_embedding(
    look: Look,
    image: Tensor,
    states: States,
    noise: FieldOf,
    source_of: SourceOf,
    size: Sequence[int],
) -> Floats:
    """Class probabilities of slices; see `diffseg.segmenters.weak.looking.Answer`."""
    network = cast("Cldf", look.network)
    embedded = embeddings(look, image, states, noise)
    cut = embedded[..., : size[0], : size[1]].cpu().numpy()
    return np.stack(
        [
            probabilities(one, states[place], network, source_of(place))
            for place, one in enumerate(cut)
        ]
    )
