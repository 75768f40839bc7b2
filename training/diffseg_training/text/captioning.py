"""Captions of a batch, from what each example shows after it was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffseg_training.text.caption_settings import CaptionSettings
from diffseg_training.text.captions import Caption, caption_of
from diffseg_training.text.facts import Facts, facts_of
from diffseg_training.text.picture_sets import PictureSet, read_sets


@dataclass(frozen=True, slots=True)
class Captioner:
    """Tells examples in words, by the settings of an objective.

    Parameters
    ----------
    sets : tuple of PictureSet
    places : bool
        Whether sides and sizes are told of what is learnt from.
    """

    sets: tuple[PictureSet, ...]
    places: bool

    def __call__(
        self, classes: Tensor, sources: Sequence[torch.Generator]
    ) -> tuple[list[Facts], list[Caption]]:
        """Facts and a caption of each example.

        Held-out examples, on which no gradient is taken, are told without sides and
        sizes: of their masks nothing is said that image-level labels do not say.

        Parameters
        ----------
        classes : (B, Y, X) int64 Tensor
            As the example shows them, so that a flipped one is told flipped.
        sources : sequence of B torch.Generator
            The phrasing of each is drawn from its own.
        """
        places = self.places and torch.is_grad_enabled()
        facts = [
            facts_of(one, self.sets, places=places) for one in classes.cpu().numpy()
        ]
        captions = [
            caption_of(one, np.random.default_rng(_seed(source)))
            for one, source in zip(facts, sources, strict=True)
        ]
        return facts, captions


def captioner_of(config: CaptionSettings) -> Captioner:
    """The captioner that an objective's settings ask for; `UserError` if none."""
    return Captioner(read_sets(config.words), config.places)


def _seed(source: torch.Generator) -> int:
    return int(torch.randint(2**31 - 1, (), generator=source))
