"""Slices looked at for a cache: mean features inside masks, a person's or of words.

DiCLIP, section III-D: of an image whose labels alone are known, the masks are those
that words give without any training; a mask that a person corrected stands for itself.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.domain.cache_keys import Normalisation
from diffseg.domain.prompts import PromptBook, Prompts, prompts_for
from diffseg.domain.slice_labels import PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.networks.cache_adapter import normalised
from diffseg.segmenters.text.answering import Answerer
from diffseg.segmenters.text.cache import CachedImage
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.segmenters.text.loading import DiclipParts
from diffseg.segmenters.text.looking import Looker
from diffseg.segmenters.text.masked_means import (
    MaskedMeans,
    masked_means,
    masks_on_grid,
)
from diffseg.segmenters.text.members import RememberedTexts
from diffseg.segmenters.text.prompts import TextEmbeddings, embedded_prompts
from diffseg.segmenters.text.seen import Noise, Seen
from diffseg.segmenters.text.similarity import mean_direction

Looking = Generator[None, None, MaskedMeans]


@dataclass(frozen=True, slots=True, eq=False)
class CacheSlice:
    """A slice that a cache is made from.

    Parameters
    ----------
    image : (C, Y, X) float32 Tensor
        In [0, 1], C being 1 or 3.
    origin : CachedImage
    states : (K,) uint8 ndarray, optional
        What is known of each class; see `diffseg.domain.slice_labels`.
    classes : (Y, X) uint8 ndarray, optional
        Class indices that a person drew or accepted, in the place of `states`.
    known : (Y, X) bool ndarray, optional
        Pixels that were reviewed; all without it.
    """

    image: Tensor
    origin: CachedImage
    states: NDArray[np.uint8] | None = None
    classes: NDArray[np.uint8] | None = None
    known: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if (self.states is None) == (self.classes is None):
            raise ValueError(f"image {self.origin.id}: give states or classes")


class CacheLooker:
    """Looks at slices with the backbones of a model, whatever answers in it.

    Parameters
    ----------
    parts : DiclipParts
    names : sequence of K str
        Classes of the model.
    store : FeatureStore
    steps : int
        Timesteps looked at, the model's first ones.
    seed : int
        Of the noise.

    Raises
    ------
    UserError
        A class has no words, or words that the CLIP does not know.
    """

    def __init__(
        self,
        parts: DiclipParts,
        names: Sequence[str],
        store: FeatureStore,
        *,
        steps: int = 1,
        seed: int = 0,
    ) -> None:
        # Whatever the model answers with: masks here are those of words alone, so that
        # a cache does not depend on the one that was there before.
        config = parts.config.model_copy(update={"answer": "maps"})
        self.names = tuple(names)
        self._looker = Looker(parts.clip, parts.diffusion, config, store)
        self._words = Answerer(config)
        self._noise = Noise(seed, 0, tuple(config.timesteps[:steps]))
        self.normalisation: Normalisation = (
            "image" if config.similarity == "surgery" else "patch"
        )
        self.prompts = _prompts(self.names, config.words.book)
        self.texts: TextEmbeddings = embedded_prompts(
            parts.clip, self.prompts, RememberedTexts(parts.clip, store)
        )

    @property
    def background(self) -> NDArray[np.float32] | None:
        """Mean direction (E,) of the background's words; None without any."""
        if not len(self.texts.background):
            return None
        mean: NDArray[np.float32] = mean_direction(self.texts.background).numpy()
        return mean

    def means(self, one: CacheSlice) -> Looking:
        """Mean features of a slice, class by class, and of its background.

        Where a class is unknown, the background may hold it, and is left out.

        Yields
        ------
        None
            Between evaluations of a backbone.

        Raises
        ------
        UserError
            The options of the model do not fit its backbones.
        """
        seen = yield from self._looker.look(one.image, self._noise)
        if one.classes is not None:
            masks, present, known = self._drawn(one, seen.grid)
        else:
            masks, present = self._told(one, seen)
            known = None
        features = normalised(seen.patches, seen.class_token, self.normalisation)
        found = masked_means(
            features.cpu(), masks, [one.origin], present=present, known=known
        )
        if one.states is not None and (one.states == UNKNOWN).any():
            return _without_background(found)
        return found

    def _drawn(
        self, one: CacheSlice, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Masks of a person on the grid, the classes in them, and what is known."""
        assert one.classes is not None
        indices = np.arange(1, len(self.names) + 1)[:, None, None]
        pixels = torch.from_numpy(one.classes[None] == indices)
        known = None
        if one.known is not None:
            whole = torch.from_numpy(np.ascontiguousarray(one.known))
            pixels = pixels & whole
            known = masks_on_grid(whole[None, None], grid)[:, 0]
        present = pixels.flatten(1).any(1)[None]
        return masks_on_grid(pixels[None], grid), present, known

    def _told(self, one: CacheSlice, seen: Seen) -> tuple[Tensor, Tensor]:
        """Masks by words of the classes that are said to be present."""
        assert one.states is not None
        count, extent = len(self.names), (one.image.shape[1], one.image.shape[2])
        present = torch.from_numpy(one.states == PRESENT)[None]
        masks = torch.zeros(1, count, *extent, dtype=torch.bool)
        wanted = torch.nonzero(present[0])[:, 0].tolist()
        if wanted:
            shares = self._words.by_maps(
                one.image, seen, self.texts, range(count), wanted
            )
            highest = shares[0].argmax(0).cpu()
            for place, index in enumerate(wanted, start=1):
                masks[0, index] = highest == place
        return masks_on_grid(masks, seen.grid), present


def _prompts(names: tuple[str, ...], book: PromptBook) -> Prompts:
    """Words of every class; `UserError` where one waits for a text."""
    found = prompts_for(names, book)
    mute = [n for n, words in zip(names, found.words, strict=True) if not words]
    if mute:
        raise UserError(
            f"class {mute[0]!r} has no words of its own, and a cache is of classes "
            "that have: assemble the model with words for it"
        )
    return found


def nothing(width: int, classes: int) -> MaskedMeans:
    """No mean at all, of features of `width` channels and K `classes`."""
    return MaskedMeans(
        np.zeros((0, width), np.float32),
        np.zeros(0, np.int64),
        (),
        (0,) * (classes + 1),
    )


def _without_background(found: MaskedMeans) -> MaskedMeans:
    kept = np.flatnonzero(found.classes != 0)
    return MaskedMeans(
        found.features[kept],
        found.classes[kept],
        tuple(found.images[int(place)] for place in kept),
        (0, *found.empty[1:]),
    )
