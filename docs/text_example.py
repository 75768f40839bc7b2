"""A model that reads words and compares with examples, for `make_text_pictures.py`.

``python docs/text_example.py CLIP DIFFUSION WORDS IMAGE ...`` puts a model together of
a small pair (docs/small-pair.md), builds its cache of the images, whose masks lie
beside them as ``NAME_mask.png``, and adds both as ``words`` among the user's models.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from diffseg.domain.prompts import prompts_for
from diffseg.models import ModelFolder, add_model
from diffseg.networks.cache_adapter import normalised
from diffseg.progress import finished
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache
from diffseg.segmenters.text.cache_building import build_cache
from diffseg.segmenters.text.cache_files import save_cache
from diffseg.segmenters.text.cache_pictures import pictured
from diffseg.segmenters.text.loading import backbone_identities
from diffseg.segmenters.text.masked_means import masked_means, masks_on_grid
from diffseg.segmenters.text.members import RememberedTexts
from diffseg.segmenters.text.prompts import embedded_prompts
from diffseg.segmenters.text.seen import Noise, Seen
from diffseg.volume import Volume, read_mask

ID = "words"
LABELS = ("lesion", "vessels")
KEYS, BACKGROUND_KEYS = 3, 3
TIMESTEPS = (81,)


def looked(model: Diclip, plane: NDArray[np.float32]) -> Seen:
    """What both backbones see of a picture (C, Y, X) in [0, 1]."""
    noise = Noise(0, 0, TIMESTEPS)
    return finished(model.looker().look(torch.from_numpy(plane), noise))


def cache_of(model: Diclip, images: Sequence[Path]) -> KeyValueCache:
    """Examples of the first class, and of background, out of images with masks."""
    seen: list[Seen] = []
    planes, masks = [], []
    for path in images:
        pixels = np.asarray(Volume.read(path).data)[:, 0]
        plane = (pixels / 255).astype(np.float32)
        found = looked(model, plane)
        mask = torch.from_numpy(read_mask(path.with_name(f"{path.stem}_mask.png")) > 0)
        both = torch.stack([mask[0], torch.zeros_like(mask[0])])
        masks.append(masks_on_grid(both[None], found.grid, share=0.5))
        seen.append(found)
        planes.append(plane)
    named = [CachedImage(one.stem, "labelled", source=one.name) for one in images]
    shown, pictures = pictured(named, planes)
    parts = [
        masked_means(normalised(one.patches), mask, [image])
        for one, mask, image in zip(seen, masks, shown, strict=True)
    ]
    means = parts[0]
    for one in parts[1:]:
        means = means + one
    config, clip = model.network.config, model.network.clip
    asked = model.card.labels.names
    prompts = prompts_for(asked, config.words.book)
    texts = embedded_prompts(clip, prompts, RememberedTexts(clip, model.store))
    return build_cache(
        means,
        asked,
        texts.foreground.numpy(),
        backbone_identities(config),
        seed=0,
        clusters=KEYS,
        background_clusters=BACKGROUND_KEYS,
        partial=True,
        pictures=pictures,
    )


def made(clip: str, diffusion: str, words: Path, images: Sequence[Path]) -> ModelFolder:
    """Put the model together, once without its cache and once with it."""
    parts = {
        "clip": clip,
        "diffusion": diffusion,
        "labels": LABELS,
        "prompts": "dermoscopy",
        "words": words,
        "about": {"title": "Lesions and vessels, by words"},
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plain = assemble(folder / "plain", ID, Assembly(**parts))  # type: ignore[arg-type]
        cache = cache_of(Diclip.from_model(plain, "cpu"), images)
        save_cache(cache, folder / "cache")
        shutil.rmtree(folder / "plain")
        assemble(folder / ID, ID, Assembly(**parts, cache=folder / "cache"))  # type: ignore[arg-type]
        return add_model(folder / ID, ID)


if __name__ == "__main__":
    clip_, diffusion_, words_, *images_ = sys.argv[1:]
    done = made(clip_, diffusion_, Path(words_), [Path(one) for one in images_])
    print(done.name)
