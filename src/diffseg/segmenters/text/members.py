"""Members of a text-prompted method for one image, slice by slice.

The first member is the method as it is published: its first noise levels, all templates
and all words. The others differ in their noise, in the noise levels that they look at,
and in the templates and words in which a class is told.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from diffseg.domain.asking import Asked
from diffseg.domain.prompts import Prompts
from diffseg.domain.slice_labels import ABSENT, States
from diffseg.models.clip_weights import Clip
from diffseg.progress import Progress
from diffseg.segmenters.groups import in_groups, too_little_memory
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.source import NOTICE, Drawn, Slab, Step
from diffseg.segmenters.text.answering import Answerer
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.segmenters.text.looking import Looker
from diffseg.segmenters.text.prompts import TextEmbeddings, embedded_prompts
from diffseg.segmenters.text.seen import Noise, channels_shown
from diffseg.segmenters.weak.members import levels_of

_WORDS = 3  # key that parts a member's choice of words from its other choices


class RememberedTexts:
    """Embeddings of texts, one by one: none depends on what is asked beside it.

    Parameters
    ----------
    clip : Clip
    store : FeatureStore
    """

    def __init__(self, clip: Clip, store: FeatureStore) -> None:
        self._clip, self._store = clip, store
        self._known: dict[str, Tensor] = {}

    def __call__(self, texts: list[str]) -> Tensor:
        """Embeddings (n, E) float32 of n texts, on the CPU."""
        return torch.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> Tensor:
        if text not in self._known:
            key = {
                "text": text,
                "clip": self._clip.identity,
                "device": self._clip.device.type,
            }
            found = self._store.get(key)
            if found is None:
                embedded = self._clip.embedded_texts([text])[0].float().cpu()
                found = {"embedding": embedded}
                self._store.put(key, found)
            self._known[text] = found["embedding"]
        return self._known[text]


def member_prompts(prompts: Prompts, seed: int, member: int) -> Prompts:
    """Templates and words that a member is told; the first one is told all.

    Of templates and of the words of each class about a half is left out.
    """
    if member == 0:
        return prompts
    random = np.random.default_rng([seed, member, _WORDS])

    def some(of: Sequence[str]) -> tuple[str, ...]:
        count = math.ceil(len(of) / 2)
        chosen = sorted(random.permutation(len(of))[:count].tolist())
        return tuple(of[index] for index in chosen)

    return replace(
        prompts,
        templates=some(prompts.templates),
        words=tuple(some(words) for words in prompts.words),
    )


def member_levels(
    timesteps: Sequence[int], steps: int, seed: int, member: int
) -> tuple[int, ...]:
    """Noise levels that a member looks at: the first ones, or as many of all."""
    if member == 0:
        return tuple(timesteps[:steps])
    return levels_of(timesteps, steps, seed, member)


class TextMembers:
    """Draws members of a text-prompted method: a `MemberSource`, one a request.

    Parameters
    ----------
    looker : Looker
    answerer : Answerer
    texts : RememberedTexts
    clip : Clip
    asked : Asked
        What is looked for.
    classes : int
        Foreground classes K of the model.
    channels : tuple of str
        Of the prepared image.
    said : (Z, K) uint8 ndarray, optional
        What is known of each slice: indices into
        `diffseg.domain.slice_labels.CODES`.
    """

    def __init__(
        self,
        looker: Looker,
        answerer: Answerer,
        texts: RememberedTexts,
        clip: Clip,
        asked: Asked,
        *,
        classes: int,
        channels: tuple[str, ...],
        said: States | None = None,
    ) -> None:
        self._looker, self._answerer = looker, answerer
        self._texts, self._clip = texts, clip
        self._asked, self._classes, self._said = asked, classes, said
        self._channels = channels
        self._embedded: dict[int, TextEmbeddings] = {}

    def __call__(
        self,
        image: Floats,
        *,
        members: int,
        steps: int,
        seed: int,
        planes: range | None = None,
    ) -> Iterator[Drawn]:
        """Draw members (K + 1, Z, Y, X) of one prepared image (C, Z, Y, X)."""
        asked = range(image.shape[1]) if planes is None else planes
        runs = [range(plane, plane + 1) for plane in asked]

        def group(on: range, first: int) -> Iterator[Slab | Step | None]:
            work = self._member(image, on.start, first, steps, seed)
            shares = yield from work
            yield Slab(on.start, shares)

        for piece in in_groups(runs, members, group, _give_up, lambda: None):
            yield from self._notices()
            yield piece

    def _notices(self) -> Iterator[Progress]:
        for line in self._looker.store.told():
            yield Progress(NOTICE, message=line)

    def _member(
        self, image: Floats, plane: int, member: int, steps: int, seed: int
    ) -> Generator[None, None, Floats]:
        """Probabilities (K + 1, 1, Y, X) of a member in a plane."""
        extent = image.shape[2:]
        answer = np.zeros((self._classes + 1, 1, *extent), np.float32)
        answer[0] = 1
        wanted = self._wanted(plane)
        if not wanted:
            return answer
        config = self._answerer.config
        shown = channels_shown(image[:, plane], config.shown, self._channels)
        noise = Noise(
            seed, member, member_levels(config.timesteps, steps, seed, member)
        )
        yield None
        seen = yield from self._looker.look(shown, noise)
        if config.answer == "head":
            shares = self._answerer.by_head(shown, seen, wanted)
        else:
            texts = self._texts_of(member, seed)
            shares = self._answerer.by_maps(
                shown, seen, texts, self._asked.indices, wanted
            )
        rows = [0, *(1 + index for index in wanted)]
        answer[rows, 0] = shares[0].float().cpu().numpy()
        return answer

    def _wanted(self, plane: int) -> tuple[int, ...]:
        """Classes that are looked for in a plane."""
        if self._said is None:
            return self._asked.wanted
        here = self._said[plane]
        return tuple(index for index in self._asked.wanted if here[index] != ABSENT)

    def _texts_of(self, member: int, seed: int) -> TextEmbeddings:
        if member not in self._embedded:
            assert self._asked.prompts is not None
            prompts = member_prompts(self._asked.prompts, seed, member)
            self._embedded[member] = embedded_prompts(self._clip, prompts, self._texts)
        return self._embedded[member]


def _give_up(_: str) -> Progress:
    raise too_little_memory("slice", shown_whole=True)
