"""A model's cache built: from labelled images, generated ones, and corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffseg.domain.slice_labels import ABSENT, PRESENT
from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.models.text_diffusion import TextDiffusion
from diffseg.progress import Progress, Work
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache, Pictures
from diffseg.segmenters.text.cache_building import build_cache, grown
from diffseg.segmenters.text.cache_looking import CacheLooker, CacheSlice, nothing
from diffseg.segmenters.text.cache_pictures import pictured
from diffseg.segmenters.text.cached_model import cacheable, write_cached
from diffseg.segmenters.text.generation import Drawing, iter_draw_images
from diffseg.segmenters.text.loading import backbone_identities
from diffseg.segmenters.text.masked_means import MaskedMeans
from diffseg_training.labelled_project import PATIENT
from diffseg_training.settings.diclip import Caching
from diffseg_training.text.cache_slices import corrected_slices, labelled_slices
from diffseg_training.text.cached_classes import (
    cached_classes,
    means_of_cached,
    of_cached,
    require_keys,
)

_PUBLIC = 512  # pixels that Stable Diffusion draws; the paper then draws 384


@dataclass(frozen=True, slots=True)
class CacheJob:
    """What a cache is built from.

    Parameters
    ----------
    how : Caching
    data : Path, optional
        A data set, or a project, with image-level labels.
    split : str
    project : Path, optional
        Whose corrections are taken.
    patient : str
        Regular expression whose first group in a case's name is the patient.
    seed : int
    """

    how: Caching
    data: Path | None = None
    split: str = "train"
    project: Path | None = None
    patient: str = PATIENT
    seed: int = 0


def iter_cached_model(
    source: ModelFolder, job: CacheJob, out: Path, id: str, device: str
) -> Work[tuple[ModelFolder, dict[str, Any]]]:
    """Build a cache, or let the model's grow, and write the model that has it.

    Returns
    -------
    model : ModelFolder
    told : dict
        keys (of each class), images (by where they are from), empty (masks of each
        class that held no patch), held_out (cases that judge, and were left out).

    Raises
    ------
    UserError
        There is nothing to build it from, a class has no usable image, or a part
        cannot be used.
    """
    cacheable(source)
    if job.data is None and job.project is None and not job.how.generated:
        raise UserError(
            "nothing is given to build the cache from: give --data, --generate or "
            "--project"
        )
    model = Diclip.from_model(source, device)
    labelled: list[CacheSlice] = []
    corrected: list[CacheSlice] = []
    held = 0
    if job.data is not None:
        labelled = yield from labelled_slices(
            source.card, job.data, job.split, job.how.images
        )
    if job.project is not None:
        corrected, held = yield from corrected_slices(
            source.card, job.project, job.patient, job.how.images
        )
    cache, means = yield from iter_cache(
        model, job.how, labelled, corrected, seed=job.seed
    )
    images = {(one.origin, one.id) for one in means.images}
    told = {
        "keys": dict(cache.counts()),
        "images": {
            origin: sum(kind == origin for kind, _ in images)
            for origin in ("labelled", "generated", "correction")
        },
        "empty": dict(zip(("background", *cache.names), means.empty, strict=True)),
        "held_out": held,
    }
    return write_cached(source, cache, out, id), told


def iter_cache(
    model: Diclip,
    how: Caching,
    labelled: Sequence[CacheSlice] = (),
    corrected: Sequence[CacheSlice] = (),
    *,
    seed: int = 0,
) -> Work[tuple[KeyValueCache, MaskedMeans]]:
    """Build the cache of a model, or let it grow.

    Where there is a cache, what is new comes after it, and a correction takes the
    place of what was corrected before of the same slice: each is a key of its own.

    Returns
    -------
    cache : KeyValueCache
    means : MaskedMeans
        Of all that was looked at now.

    Raises
    ------
    UserError
        A class has no usable image, the cache holds an image already, or a class that
        is to be cached is none of the model's.
    """
    parts, names = model.network, model.card.labels.names
    looker = CacheLooker(
        parts, names, model.store, steps=model.card.sampling.steps, seed=seed
    )
    cached = cached_classes(how, names)
    labelled, corrected = of_cached(labelled, cached), of_cached(corrected, cached)
    drawn = yield from _generated(model, looker, how, seed, cached)
    shown, pictures = _pictured([*labelled, *drawn, *corrected])
    last = len(labelled) + len(drawn)
    pooled = yield from _looked(looker, shown[:last], "labelled", cached)
    own = yield from _looked(looker, shown[last:], "corrected", cached)
    backbones, cache = backbone_identities(parts.config), parts.cache
    if cache is None:
        own_first = not len(pooled.classes)
        first = own if own_first else pooled
        cache = build_cache(
            first,
            names,
            looker.texts.foreground.numpy(),
            backbones,
            seed=seed,
            # A correction stays a key of its own, so that the next can replace it.
            clusters=None if own_first else how.clusters,
            background_clusters=None if own_first else how.background_clusters,
            background_text=looker.background,
            weighting=how.weighting,
            normalisation=looker.normalisation,
            partial=how.classes is not None or (len(own.classes) > 0 and not own_first),
            pictures=pictures,
        )
        if not own_first and len(own.classes):
            cache = grown(cache, own, backbones, seed=seed, pictures=pictures)
        return require_keys(cache, cached), pooled + own
    _require_some(pooled, own)
    if len(pooled.classes):
        count = how.clusters, how.background_clusters
        cache = grown(cache, pooled, backbones, seed=seed, clusters=count[0],
                      background_clusters=count[1], pictures=pictures)  # fmt: skip
    if len(own.classes):
        cache = _forgotten(cache, own)
        cache = grown(cache, own, backbones, seed=seed, pictures=pictures)
    return require_keys(cache, cached), pooled + own


def _pictured(slices: Sequence[CacheSlice]) -> tuple[list[CacheSlice], Pictures]:
    """Slices that name their thumbnails, and these."""
    planes = [one.image.cpu().numpy() for one in slices]
    named, pictures = pictured([one.origin for one in slices], planes)
    given = zip(slices, named, strict=True)
    return [replace(one, origin=origin) for one, origin in given], pictures


def _require_some(*means: MaskedMeans) -> None:
    if not sum(len(one.classes) for one in means):
        raise UserError(
            "no image has a mask that covers a patch: the cache would stay as it is"
        )


def _looked(
    looker: CacheLooker,
    slices: Sequence[CacheSlice],
    what: str,
    cached: Sequence[int],
) -> Work[MaskedMeans]:
    """Means of all slices, in order; of the background and of cached classes."""
    found = nothing(looker.texts.foreground.shape[1], len(looker.names))
    for done, one in enumerate(slices):
        yield Progress("look", done, len(slices), what)
        work = looker.means(one)
        while True:
            try:
                next(work)
            except StopIteration as stop:
                found = found + stop.value
                break
            yield Progress("look", done, len(slices), what)
    return means_of_cached(found, cached)


def _generated(
    model: Diclip,
    looker: CacheLooker,
    how: Caching,
    seed: int,
    cached: Sequence[int],
) -> Work[list[CacheSlice]]:
    """Images of each cached class that the model's text-to-image part draws."""
    if not how.generated:
        return []
    parts, count = model.network, len(looker.names)
    if parts.diffusion is None:
        raise UserError(
            f"model {model.card.id} has no text-to-image model that could draw images: "
            "leave --generate out"
        )
    channels = parts.config.shown or model.card.preparation.channels
    grey = len(channels) != 3
    template, found = how.prompt or looker.prompts.templates[0], []
    for index in cached:
        prompt = template.replace("{}", looker.prompts.words[index][0])
        images = yield from iter_draw_images(
            parts.diffusion, prompt, seed + index, _drawing(parts.diffusion, how)
        )
        states = np.full(count, ABSENT, np.uint8)
        states[index] = PRESENT
        for number, image in enumerate(images):
            # As grey as the images that the model will be asked about.
            shown = image.mean(0, keepdim=True) if grey else image
            origin = CachedImage(f"{prompt} #{seed + index}.{number}", "generated")
            found.append(CacheSlice(shown.to(torch.float32), origin, states=states))
    return found


def _drawing(diffusion: TextDiffusion, how: Caching) -> Drawing:
    """The paper's sizes of Stable Diffusion; of a smaller model, its own."""
    size, kept = (diffusion.size,) * 2, None
    if diffusion.size >= _PUBLIC:
        size, kept = (384, 384), (512, 512)
    return Drawing(
        images=how.generated,
        size=size,
        kept_size=kept,
        steps=how.drawing_steps,
        guidance=how.guidance,
    )


def _forgotten(cache: KeyValueCache, corrected: MaskedMeans) -> KeyValueCache:
    """The cache without keys of slices that are corrected anew.

    Raises
    ------
    UserError
        Such a key holds other images, too.
    """
    mine = {one.id for one in corrected.images}
    dropped = sorted({key for id in mine for key in cache.keys_of(id)})
    for key in dropped:
        if any(one.id not in mine for one in cache.images[key]):
            raise UserError(
                f"key {key} of the cache is the mean of several images, of which one "
                "is corrected anew: build the cache from its sources again, without one"
            )
    return cache.without(*dropped)
