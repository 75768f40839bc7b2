"""The stage that teaches the pixel decoder, from stored features of chosen pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.diffusion import generator
from diffseg.errors import DiffsegError, UserError
from diffseg.networks.pixel_decoder import PixelDecoder
from diffseg.progress import Progress, Work
from diffseg_training.cache import Cache
from diffseg_training.settings.cldf import Decoding
from diffseg_training.weak.absent import offsets_of_absent, shows
from diffseg_training.weak.contrast import contrastive_loss
from diffseg_training.weak.pixels import pixel_files

_ORDER, _SOME = 21, 22  # keys of random numbers
_LEAST_DEVIATION = 1e-3  # of a channel; below, it says nothing


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What the stage has learnt.

    Parameters
    ----------
    references : (K + 1, E) float32 Tensor
        Mean embedding of the pixels of each class, background first.
    offsets : (K + 1,) float32 Tensor
        Of the log-probability of each class; see `offsets_of_absent`.
    losses : tuple of float
        Mean of each epoch.
    steps : int
    """

    references: Tensor
    offsets: Tensor
    losses: tuple[float, ...]
    steps: int


def iter_decode(
    folder: Path,
    decoder: PixelDecoder,
    classes: int,
    options: Decoding,
    temperature: float,
    *,
    seed: int,
    device: str,
    local_weight: float = 0.0,
) -> Work[Decoded]:
    """Train a decoder by the contrastive loss; SGD, as CLDF has it.

    Parameters
    ----------
    folder : Path
        Of the files that `iter_pixels` wrote.
    decoder : PixelDecoder
        Changed in place: its standardisation is measured, its layers are trained.
    classes : int
        Foreground classes K.
    options : Decoding
    temperature : float
    seed : int
    device : str
    local_weight : float
        See `offsets_of_absent`.

    Raises
    ------
    UserError
        A class has no pixels to learn from, or no slice shows nothing where such
        slices are asked.
    DiffsegError
        The loss is not finite.
    """
    every, store = pixel_files(folder), Cache(folder)
    names = every if options.negatives else [n for n in every if shows(store, n)]
    decoder.to(device).train().requires_grad_(True)
    standardise(decoder, names, store)
    optimiser = torch.optim.SGD(
        decoder.parameters(), lr=options.learning_rate, momentum=options.momentum
    )
    total = options.epochs * -(-len(names) // options.batch)
    losses, done = [], 0
    for epoch in range(options.epochs):
        seen = []
        for batch in _batches(names, options, seed, epoch):
            some = [_some(store, name, options, (seed, _SOME, epoch)) for name in batch]
            loss = _loss(decoder, some, temperature, options, device)
            if not bool(torch.isfinite(loss)):
                raise DiffsegError(
                    f"the contrastive loss is not finite in epoch {epoch + 1}: lower "
                    "objective.decoder.learning_rate"
                )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            seen.append(float(loss.detach()))
            done += 1
            yield Progress("decoder", done, total, f"loss {seen[-1]:.3f}")
        losses.append(float(np.mean(seen)))
    decoder.eval().requires_grad_(False)
    references = class_means(decoder, names, store, classes, device)
    offsets = offsets_of_absent(decoder, every, store, references, temperature,
                                options.absent, device, local_weight)  # fmt: skip
    return Decoded(references, offsets, tuple(losses), done)


@torch.no_grad()
def standardise(decoder: PixelDecoder, names: Sequence[str], store: Cache) -> None:
    """Measure mean and deviation of each channel over all chosen pixels."""
    count, first, second = 0, np.zeros(1), np.zeros(1)
    for name in names:
        features = store.read(name, "features").astype(np.float64)
        count += len(features)
        first = first + features.sum(axis=0)
        second = second + (features**2).sum(axis=0)
    mean = first / max(count, 1)
    variance = np.maximum(second / max(count, 1) - mean**2, 0)
    deviation = np.maximum(np.sqrt(variance), _LEAST_DEVIATION)
    decoder.mean.copy_(torch.from_numpy(mean))
    decoder.deviation.copy_(torch.from_numpy(deviation))


@torch.no_grad()
def class_means(
    decoder: PixelDecoder,
    names: Sequence[str],
    store: Cache,
    classes: int,
    device: str,
) -> Tensor:
    """Mean embedding (K + 1, E) of the chosen pixels of background and each class.

    Raises
    ------
    UserError
        A class has none.
    """
    sums = torch.zeros(classes + 1, decoder.width, device=device)
    counts = torch.zeros(classes + 1, device=device)
    for name in names:
        features, said = (store.read(name, what) for what in ("features", "classes"))
        embedded = decoder(torch.from_numpy(features).to(device).float())
        index = torch.from_numpy(said.astype(np.int64)).to(device)
        sums.index_add_(0, index, embedded)
        counts.index_add_(0, index, torch.ones_like(index, dtype=counts.dtype))
    if not bool((counts > 0).all()):
        none = [str(int(i)) for i in torch.nonzero(counts == 0)[:, 0]]
        raise UserError(
            f"no slice has pixels of class {', '.join(none)} to learn from: lower "
            "objective.selection's thresholds, or leave the class out"
        )
    return (sums / counts[:, None]).cpu()


def _loss(
    decoder: PixelDecoder,
    some: Sequence[tuple[NDArray[np.float16], NDArray[np.int64]]],
    temperature: float,
    options: Decoding,
    device: str,
) -> Tensor:
    """Contrastive loss of pixels, features and classes of each slice."""
    features = torch.from_numpy(np.concatenate([f for f, _ in some])).to(device)
    said = torch.from_numpy(np.concatenate([c for _, c in some])).to(device)
    embedded = decoder(features.float())
    return contrastive_loss(embedded, said, temperature, balanced=options.balanced)


def _batches(
    names: Sequence[str], options: Decoding, seed: int, epoch: int
) -> Iterator[list[str]]:
    order = torch.randperm(len(names), generator=generator(seed, _ORDER, epoch))
    for first in range(0, len(names), options.batch):
        yield [names[int(i)] for i in order[first : first + options.batch]]


def _some(
    store: Cache, name: str, options: Decoding, key: tuple[int, ...]
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Pixels of a slice for one step: foreground up to half, background the rest."""
    classes = store.read(name, "classes").astype(np.int64)
    most = max(2, options.pixels // options.batch)
    source = np.random.default_rng([*key, *(int(n) for n in name.split("-"))])
    inside, outside = np.flatnonzero(classes > 0), np.flatnonzero(classes == 0)
    if len(classes) > most:
        share = min(len(inside), max(most // 2, most - len(outside)))
        inside = source.choice(inside, share, replace=False)
        outside = source.choice(outside, most - share, replace=False)
    index = np.sort(np.concatenate([inside, outside]))
    # Only what is asked for is read of the file.
    return np.asarray(store.read(name, "features")[index]), classes[index]
