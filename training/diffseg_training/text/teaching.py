"""What an image teaches DiCLIP's adapter and head: features, and a pseudo mask.

Features are those of the frozen backbones and kept on disk, so that each is computed
once; a pseudo mask is made of the model's maps and the image's labels, and of no mask.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffseg.domain.prompts import prompts_for
from diffseg.domain.slice_labels import PRESENT, UNKNOWN
from diffseg.networks.cache_adapter import CacheAdapter
from diffseg.progress import finished
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.answering import Answerer
from diffseg.segmenters.text.feature_store import FeatureStore, content_of
from diffseg.segmenters.text.looking import Looker
from diffseg.segmenters.text.members import RememberedTexts
from diffseg.segmenters.text.prompts import embedded_prompts
from diffseg.segmenters.text.pseudo_masks import IGNORE, pseudo_masks
from diffseg.segmenters.text.seen import Noise, Seen, channels_shown


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """One image, as the networks that learn meet it.

    Parameters
    ----------
    patches : (1, N, E) Tensor
        Of the enhanced stream.
    class_token : (1, E) Tensor
    raw : tuple of (1, N, D) Tensor
        After each block of the plain stream.
    grid : (y, x)
    classes : (Y, X) int64 Tensor
        The pseudo mask: 0 background, 1 to K, or `IGNORE`.
    """

    patches: Tensor
    class_token: Tensor
    raw: tuple[Tensor, ...]
    grid: tuple[int, int]
    classes: Tensor


class PseudoTeacher:
    """Looks at images with a model's backbones, and makes masks of its maps.

    Parameters
    ----------
    model : Diclip
        With a cache.
    store : FeatureStore
    band : (low, high), optional
        Foreground probabilities between the two teach nothing; see `pseudo_masks`.
    seed : int
        Of the noise.
    """

    def __init__(
        self,
        model: Diclip,
        store: FeatureStore,
        *,
        band: tuple[float, float] | None = None,
        seed: int = 0,
    ) -> None:
        parts, card = model.network, model.card
        assert parts.cache is not None, "a model with a cache"
        self.names, self._channels = card.labels.names, card.preparation.channels
        self._config = parts.config.model_copy(update={"answer": "maps"})
        plain = parts.config.model_copy(update={"answer": "head"})
        self._maps = Looker(parts.clip, parts.diffusion, self._config, store)
        self._raw = Looker(parts.clip, None, plain, store)
        self._memory, self._store, self._band = parts.answerer.memory, store, band
        steps = self._config.timesteps[: card.sampling.steps]
        self._noise = Noise(seed, 0, tuple(steps))
        self._texts = embedded_prompts(
            parts.clip,
            prompts_for(self.names, self._config.words.book),
            RememberedTexts(parts.clip, store),
        )
        told = [
            self._config.model_dump(mode="json"),
            self.names,
            content_of(torch.tensor(parts.cache.keys)),
            content_of(torch.tensor(parts.cache.values)),
            [seed, band],
        ]
        text = json.dumps(told, sort_keys=True)
        self._identity = hashlib.sha256(text.encode()).hexdigest()

    def taught(
        self, image: Tensor, states: Tensor, adapter: CacheAdapter | None = None
    ) -> Taught:
        """What an image teaches.

        Parameters
        ----------
        image : (C, Y, X) Tensor
            As the model's card prepares it.
        states : (K,) int64 Tensor
            What is known of each class. Where one is unknown, the background may hold
            it, and teaches nothing.
        adapter : CacheAdapter, optional
            Whose maps, as it is now, make the mask; the cache's own without it.
        """
        plane = image.detach().float().cpu().numpy()
        shown = channels_shown(plane, self._config.shown, self._channels)
        seen = finished(self._maps.look(shown, self._noise))
        plain = finished(self._raw.look(shown, self._noise))
        key = {
            "pseudo": content_of(shown),
            "of": self._identity,
            "states": states.tolist(),
        }
        kept = None if adapter is not None else self._store.get(key)
        if kept is None:
            classes = self._mask(shown, seen, states, adapter)
            if adapter is None:
                self._store.put(key, {"classes": classes.to(torch.uint8).cpu()})
        else:
            classes = kept["classes"].to(seen.patches.device, torch.int64)
        return Taught(seen.patches, seen.class_token, plain.raw, seen.grid, classes)

    @torch.no_grad()
    def _mask(
        self,
        shown: Tensor,
        seen: Seen,
        states: Tensor,
        adapter: CacheAdapter | None,
    ) -> Tensor:
        """Pseudo mask (Y, X) of an image."""
        said = states.cpu().numpy()
        wanted = np.flatnonzero(said == PRESENT).tolist()
        place = seen.patches.device
        extent = (shown.shape[1], shown.shape[2])
        classes = torch.zeros(extent, dtype=torch.int64, device=place)
        if wanted:
            learning = adapter is not None and adapter.training
            if adapter is not None:
                adapter.eval()  # no dropout in what is learnt from
            answerer = Answerer(self._config, self._memory, adapter)
            shares = answerer.by_maps(
                shown, seen, self._texts, range(len(self.names)), wanted
            )
            if adapter is not None:
                adapter.train(learning)
            classes = self._chosen(shares, wanted)
        if (said == UNKNOWN).any():
            classes = torch.where(classes == 0, IGNORE, classes)
        return classes

    def _chosen(self, shares: Tensor, wanted: Sequence[int]) -> Tensor:
        """Class (Y, X) of each pixel from probabilities (1, 1 + W, Y, X)."""
        if self._band is None:
            found = shares.argmax(1)[0]
        else:
            every = torch.ones(1, len(wanted), dtype=torch.bool, device=shares.device)
            found = pseudo_masks(shares[:, 1:], every, self._band)[0]
        names = torch.zeros(256, dtype=torch.int64, device=found.device)
        names[1 : len(wanted) + 1] = torch.tensor(wanted, device=found.device) + 1
        names[IGNORE] = IGNORE
        return names[found]
