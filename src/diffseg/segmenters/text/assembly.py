"""What a model of the method `diclip` is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from diffseg.domain import Preparation
from diffseg.domain.card import COLOURS


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter or a head: its configuration and its weights."""

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a model is made of.

    Parameters
    ----------
    clip : str
        As `diffseg.models.clip_weights.load_clip` takes it.
    labels : sequence of str
        Classes; one that says nothing, such as ``object``, waits for a text.
    diffusion : str, optional
        As `diffseg.models.text_diffusion.load_text_diffusion` takes it, or a folder.
    prompts : str
        Kind of images that words ship for.
    words : Path, optional
        A prompts file, laid over those.
    variant : {"paper", "code"}
    options : mapping
        Of `DiclipConfig`, over those of the variant.
    channels : sequence of str
        Of the images.
    preparation : Preparation, optional
        In the place of one that follows from `prompts` and `channels`.
    cache : Path, optional
        Folder of a cache, built with the same backbones and options.
    adapter, head : Trained, optional
    copy : bool
        Whether folders are copied beside the card, and not referred to; a text-to-image
        model is not, where a head answers, which does without it.
    members : int
    about : mapping
        Fields of the card: modality, licence, data and so on.
    """

    clip: str
    labels: Sequence[str]
    diffusion: str | None = None
    prompts: str = "natural"
    words: Path | None = None
    variant: str = "paper"
    options: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[str] = COLOURS
    preparation: Preparation | None = None
    cache: Path | None = None
    adapter: Trained | None = None
    head: Trained | None = None
    copy: bool = True
    members: int = 4
    about: Mapping[str, Any] = field(default_factory=dict)
