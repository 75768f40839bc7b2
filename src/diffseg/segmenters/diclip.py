"""`diclip`: masks from words, by a vision-language and a text-to-image model.

DiCLIP: patches of CLIP, told by a diffusion model's attention which of them belong
together, are compared with words and with a cache of features; nothing has to be
trained, a cache, an adapter and a head may be.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, ModelCard, Proposal, Request
from diffseg.domain.asking import Asked, asked_of
from diffseg.domain.slice_labels import States
from diffseg.models import ModelFolder
from diffseg.progress import Work, run
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.pipeline import Host, iter_propose_with
from diffseg.segmenters.probing import Probing
from diffseg.segmenters.source import MemberSource, Slab
from diffseg.segmenters.text.asking import asked_by
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.segmenters.text.loading import DiclipParts, load_parts
from diffseg.segmenters.text.looking import Looker
from diffseg.segmenters.text.members import RememberedTexts, TextMembers
from diffseg.segmenters.text.outlook import Paces, foretold
from diffseg.segmenters.text.prompts import embedded_prompts
from diffseg.segmenters.weak.fitting import said_of


@dataclass(frozen=True, slots=True, eq=False)
class Diclip:
    """A DiCLIP with its backbones, on a device.

    Parameters
    ----------
    card : ModelCard
    network : DiclipParts
    host : Host
    store : FeatureStore, optional
        Where features are kept; the user's without it.
    paces : dict
        What one member of a slice took, by the slice's size; filled by `estimate`.
    """

    card: ModelCard
    network: DiclipParts
    host: Host
    store: FeatureStore = field(default_factory=FeatureStore)
    paces: Paces = field(default_factory=dict, repr=False)

    @classmethod
    def from_model(cls, folder: ModelFolder, device: str) -> Self:
        """Load the model in `folder`, every part verified, onto `device`.

        Raises
        ------
        UserError
            A part is missing, another one than the card's, or does not fit.
        """
        began = time.perf_counter()
        parts = load_parts(folder, device)
        seconds = time.perf_counter() - began
        loaded = cls(folder.card, parts, Host(device, torch.get_num_threads(), seconds))
        loaded.looker()  # so that options that do not fit are refused here
        return loaded

    @property
    def device(self) -> str:
        """Where the backbones run: cpu, cuda or mps."""
        return self.host.device

    def looker(self) -> Looker:
        """Return what looks at slices; its `Seen` is the same for all words."""
        parts = self.network
        return Looker(parts.clip, parts.diffusion, parts.config, self.store)

    def source(self, asked: Asked, said: States | None = None) -> MemberSource:
        """Return what draws the members of one request.

        Parameters
        ----------
        asked : Asked
            What is looked for; see `asked_by`.
        said : (Z, K) uint8 ndarray, optional
            What is known of each slice.
        """
        texts = RememberedTexts(self.network.clip, self.store)
        return self._members(self.looker(), texts, asked, said)

    def _members(
        self,
        looker: Looker,
        texts: RememberedTexts,
        asked: Asked,
        said: States | None,
    ) -> TextMembers:
        return TextMembers(
            looker,
            self.network.answerer,
            texts,
            self.network.clip,
            asked,
            classes=len(self.card.labels),
            channels=self.card.preparation.channels,
            said=said,
        )

    def check_texts(self, asked: Asked) -> None:
        """Refuse words that the CLIP cannot read; `UserError` names them."""
        if asked.prompts is not None and self.network.config.answer == "maps":
            texts = RememberedTexts(self.network.clip, self.store)
            embedded_prompts(self.network.clip, asked.prompts, texts)

    def draw(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[Floats]:
        """Whole members (K + 1, Z, Y, X) of one prepared image; all classes."""
        names, book = self.card.labels.names, self.network.config.words.book
        source = self.source(asked_of(names, book, None, ImageLabels()))
        planes: list[list[Floats]] = [[] for _ in range(members)]
        turn = 0
        for piece in source(image, members=members, steps=steps, seed=seed):
            if isinstance(piece, Slab):
                planes[turn % members].append(piece.probability)
                turn += 1
        for one in planes:
            yield np.concatenate(one, axis=1)

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels.

        Raises
        ------
        UserError
            The text says nothing that the model can look for.
        """
        asked = asked_by(self.card, request)
        source = self.source(asked, said_of(request, self.card))
        return iter_propose_with(self.card, source, request, self.host)

    def estimate(self, request: Request) -> Probing:
        """Estimate time and memory; a slice of each size is timed once.

        Yields wherever it may be left.

        Raises
        ------
        UserError
            The text says nothing that the model can look for.
        """
        asked = asked_by(self.card, request)
        # Without a store: what is kept would tell how long reading takes.
        idle = Looker(
            self.network.clip, self.network.diffusion, self.network.config,
            FeatureStore(limit=0),
        )  # fmt: skip
        texts = RememberedTexts(self.network.clip, self.store)

        def source(which: Asked) -> TextMembers:
            return self._members(idle, texts, which, None)

        return (yield from foretold(self, request, asked, source, self.paces))

    def propose(self, request: Request) -> Proposal:
        """Answer a request here and now."""
        return run(self.iter_propose(request))
