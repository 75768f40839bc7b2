"""A model of the method `diclip` from its folder, each part held against its card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from diffseg.domain import ModelCard
from diffseg.domain.diclip import BESIDE, Backbone, DiclipConfig, diclip_config
from diffseg.errors import UserError
from diffseg.models import ModelFolder, load_weights
from diffseg.models.clip_weights import Clip, load_clip
from diffseg.models.text_diffusion import TextDiffusion, load_text_diffusion
from diffseg.networks import build_network
from diffseg.networks.cache_adapter import CacheAdapter
from diffseg.networks.diclip_head import DiclipHead
from diffseg.segmenters.text.answering import Answerer
from diffseg.segmenters.text.cache import KeyValueCache
from diffseg.segmenters.text.cache_files import CACHE, load_cache
from diffseg.segmenters.text.retrieval import memory_of

Part = TypeVar("Part", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class DiclipParts:
    """All of a DiCLIP on a device.

    Parameters
    ----------
    config : DiclipConfig
    clip : Clip
    diffusion : TextDiffusion or None
        None, too, where no answer looks at it.
    answerer : Answerer
        Cache, adapter and head, where there are any.
    cache : KeyValueCache or None
    """

    config: DiclipConfig
    clip: Clip
    diffusion: TextDiffusion | None
    answerer: Answerer
    cache: KeyValueCache | None = None


def backbone_identities(config: DiclipConfig) -> dict[str, str]:
    """What a cache has to be built with: all that its features follow from.

    Backbones, and the options of the enhanced stream that make other features.
    """
    found = {"clip": config.clip.identity}
    options = ["side", "streams", "layers"]
    if config.joins and config.diffusion is not None:
        found["diffusion"] = config.diffusion.identity
        options += [
            "seen", "weight", "fusion", "attention", "attention_layers", "groups",
            "stepped", "lloyd", "threshold", "rounds", "spread",
        ]  # fmt: skip
    told = config.model_dump(mode="json", include=set(options))
    text = json.dumps(told, sort_keys=True)
    found["options"] = hashlib.sha256(text.encode()).hexdigest()
    return found


def load_parts(folder: ModelFolder, device: str) -> DiclipParts:
    """Load all that the card in `folder` names onto `device`.

    Raises
    ------
    UserError
        A part is not there, not the one that the card was made with, or does not fit
        the others.
    """
    card = folder.card
    where = f"model {card.id}"
    config = diclip_config(card.network, where)
    check_card(card, config)
    weights = load_weights(folder)
    clip = load_clip(place_of(config.clip, folder.path), device)
    _require(where, "CLIP", clip.identity, config.clip)
    diffusion = None
    # A head answers without it: it may be large, and need not even be there.
    if config.diffusion is not None and config.looks_at_diffusion:
        spec = place_of(config.diffusion, folder.path)
        diffusion = load_text_diffusion(spec, device)
        _require(where, "text-to-image model", diffusion.identity, config.diffusion)
    cache = _cache(folder, config, backbone_identities(config))
    names, classes = card.labels.names, len(card.labels)
    adapter = _part(where, "adapter", CacheAdapter, config.adapter, classes, weights)
    head = _part(where, "head", DiclipHead, config.head, classes, weights)
    memory = None
    if cache is not None:
        cache.require(cache.backbones, names, where=f"cache {folder.path / CACHE}")
        memory = memory_of(cache, device)
    answerer = Answerer(
        config,
        memory,
        None if adapter is None else adapter.to(device),
        None if head is None else head.to(device),
    )
    return DiclipParts(config, clip, diffusion, answerer, cache)


def place_of(backbone: Backbone, folder: Path) -> str:
    """Where a backbone lies, as loaders take it."""
    if backbone.at.startswith(BESIDE):
        return f"file:{folder / backbone.at.removeprefix(BESIDE)}"
    return backbone.at


def check_card(card: ModelCard, config: DiclipConfig) -> None:
    """Refuse a card that no DiCLIP can be of.

    Raises
    ------
    UserError
        Preparation, channels or steps do not fit.
    """
    what, preparation = f"model {card.id} (method {card.method})", card.preparation
    whole = preparation.dims == 2 and preparation.tile is None
    if not whole or preparation.context or preparation.flips != ((),):
        raise UserError(
            f"{what} sees whole slices: give preparation.dims 2, and no tile, context "
            "or flips"
        )
    intensity = preparation.intensity
    if intensity.kind != "range" or intensity.to != (0.0, 1.0):
        raise UserError(
            f"{what} sees intensities of 0 to 1: give kind range, to [0, 1]"
        )
    missing = [one for one in config.shown if one not in preparation.channels]
    if missing:
        known = ", ".join(preparation.channels)
        raise UserError(f"{what} shows channel {missing[0]!r}, but there are: {known}")
    if not 1 <= card.sampling.steps <= len(config.timesteps):
        raise UserError(
            f"{what} looks at {card.sampling.steps} of {len(config.timesteps)} "
            "timesteps: give as many steps at most"
        )


def _require(where: str, what: str, found: str, wanted: Backbone) -> None:
    if found != wanted.identity:
        raise UserError(
            f"{where} was made with {what} {wanted.identity[:12]}, but {wanted.at} is "
            f"{found[:12]}: give the one that it was made with, or assemble it anew"
        )


def _cache(
    folder: ModelFolder, config: DiclipConfig, backbones: Mapping[str, str]
) -> KeyValueCache | None:
    if not config.cache:
        return None
    return load_cache(folder.path / CACHE, backbones=backbones)


def _part(
    where: str,
    name: str,
    kind: type[Part],
    config: Mapping[str, Any] | None,
    classes: int,
    weights: Mapping[str, Tensor],
) -> Part | None:
    """Build a part and give it its weights, those that begin with its name."""
    mine = {
        key.removeprefix(f"{name}."): one
        for key, one in weights.items()
        if key.startswith(f"{name}.")
    }
    if config is None:
        if mine:
            raise UserError(
                f"{where}: there are weights of a {name}, but network.{name} is missing"
            )
        return None
    network = {"adapter": "cache_adapter", "head": "diclip_head"}[name]
    with torch.random.fork_rng(devices=[]):
        part = build_network(network, **config)
    assert isinstance(part, kind)
    if getattr(part, "classes", classes) != classes:
        raise UserError(
            f"{where}: its {name} is of {part.classes} classes, its card of {classes}"
        )
    try:
        part.load_state_dict(mine)
    except RuntimeError:
        raise UserError(
            f"{where}: the weights of its {name} are not those of its card"
        ) from None
    return part.requires_grad_(False).eval()
