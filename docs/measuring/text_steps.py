"""Steps of DiCLIP's ladder as models, and what each draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, Request
from diffseg.domain.card import COLOURS
from diffseg.domain.diclip import DiclipConfig
from diffseg.metrics import dice
from diffseg.metrics.confusion_ratio import class_counts
from diffseg.models import ModelFolder
from diffseg.models.folder import read_folder
from diffseg.progress import run
from diffseg.segmenters.cams.choosing import GRID
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.answering import Answerer
from diffseg.segmenters.text.cache_looking import CacheSlice
from diffseg.segmenters.text.retrieval import memory_of
from diffseg.segmenters.weak.thresholds import Threshold
from diffseg.volume import read_mask
from diffseg_training.dataset import Case, Dataset, read_image
from diffseg_training.labelled import prepare_labelled
from diffseg_training.objectives.labels import auroc
from diffseg_training.recipe_labels import Labelling
from diffseg_training.settings.diclip import Caching
from diffseg_training.text.cache_slices import chosen_slices
from diffseg_training.text.caching import iter_cache
from diffseg_training.text.picture_sets import read_sets

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
STEPS = {
    "text": "patches and texts",
    "vce": "+ attention of the diffusion model",
    "positive": "+ cache",
    "negative": "+ its background keys",
    "adapter": "+ adapter",
    "head": "+ head",
}
RULES = ("labels", "otsu", "masks")
SWEPT: dict[str, tuple[float, ...]] = {
    "clusters": (5, 10, 20),
    "rounds": (0, 1, 3, 5),
    "weight": (0.1, 0.3, 0.5, 1.0),
}
"""Settings that are tried: keys of a class, rounds of the refined attention, and the
weight of the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A slice: probability (Y, X) of the structure, the mask as it comes, the truth."""

    case: str
    group: str
    likely: Floats
    mask: Bools
    truth: Bools


def recipe_of(
    name: str,
    dataset: Dataset,
    clip: str,
    diffusion: str,
    words: Path | None,
    home: Path,
) -> Path:
    """A recipe file for a set; words of the small pair's where it knows the set."""
    volume = read_image(dataset.cases[0])
    count = volume.channels
    # Of coloured sets some images are grey, and are then shown in three equal channels.
    channels = [f"channel{index}" for index in range(count)]
    if count in (1, 3):
        channels = list(COLOURS)
    whole = volume.data.dtype == np.uint8
    ends = {"low": 0, "high": 255} if whole else {"low": None, "high": None}
    if words is None:
        words = _words(name, home)
    objective: dict[str, Any] = {"clip": clip, "diffusion": diffusion}
    if words is not None:
        objective["words"] = str(words.resolve())
    told = {
        "extends": "base/diclip",
        "name": f"{name}-ladder",
        "title": f"{name}, DiCLIP",
        "preparation": {
            "channels": channels,
            "intensity": {"kind": "range", **ends, "to": [0, 1]},
        },
        "objective": objective,
        "trackers": [],
        "card": {
            "modality": name,
            "licence": "that of the data set and of the backbones",
            "data": f"The set {name}, image-level labels alone.",
            "limits": ["It was trained to be measured."],
        },
    }
    path = home / "recipe.yaml"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    return path


def _words(name: str, home: Path) -> Path | None:
    """A prompts file of the captions' words, where they know the set."""
    known = {one.name: one for one in read_sets()}
    if name not in known:
        return None
    one = known[name]
    picture = one.pictures[0].lower()
    told = {
        "title": one.title,
        "templates": ["{}", f"{picture} with {{}}", f"{one.around} with {{}}"],
        "classes": {s.name: [word.lower() for word in s.words] for s in one.structures},
        "background": [word.lower() for word in (one.around, *one.normal)],
    }
    path = home / "words.yaml"
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    return path


def model_of(folder: Path, step: str) -> Diclip:
    """The model of a step, of what a training left in `folder`."""
    if step in ("adapter", "head"):
        answer = "head" if step == "head" else "maps"
        return answering(read_folder(folder / "model"), answer)
    model = answering(read_folder(folder / "cached" / "model"), "maps")
    config = model.network.config
    if step == "text":
        return _with(model, config.model_copy(update={"weight": 0.0}), cached=False)
    if step == "vce":
        return _with(model, config, cached=False)
    negative = step == "negative"
    return _with(model, config.model_copy(update={"negative": negative}), cached=True)


def answering(folder: ModelFolder, answer: str) -> Diclip:
    """A model of a folder that answers so, whatever its card says."""
    network = {**folder.card.network, "answer": answer}
    card = folder.card.model_copy(update={"network": network})
    return Diclip.from_model(replace(folder, card=card), "cpu")


def _with(model: Diclip, config: DiclipConfig, *, cached: bool) -> Diclip:
    """The same backbones with other options, and with the cache or without."""
    parts = model.network
    memory = parts.answerer.memory if cached else None
    changed = replace(parts, config=config, answerer=Answerer(config, memory))
    return replace(model, network=changed)


def swept_model(folder: Path, dataset: Dataset, name: str, value: float) -> Diclip:
    """The model of step `negative` with one setting changed, its cache built anew."""
    model = answering(read_folder(folder / "cached" / "model"), "maps")
    config = model.network.config
    if name == "weight":
        changed = config.model_copy(update={"cache_weight": value})
        return _with(model, changed, cached=True)
    how = Caching()
    if name == "clusters":
        how = Caching(clusters=int(value), background_clusters=2 * int(value))
    else:
        config = config.model_copy(update={"rounds": int(value)})
    changed = replace(model, network=replace(model.network, config=config))
    return recached(changed, dataset, how)


def recached(model: Diclip, dataset: Dataset, how: Caching) -> Diclip:
    """The model with another cache: of labelled images of train, and drawn ones.

    Of `how.generated` alone where some are drawn.
    """
    parts = model.network
    config = parts.config
    bare = replace(model, network=replace(parts, answerer=Answerer(config), cache=None))
    slices: list[CacheSlice] = []
    if not how.generated:
        cases = dataset.split("train")
        work = prepare_labelled(cases, dataset, model.card.preparation, Labelling())
        slices = chosen_slices(model.card, run(work), how.images)
    cache, _ = run(iter_cache(bare, how, slices))
    answerer = Answerer(config, memory_of(cache))
    return replace(bare, network=replace(bare.network, answerer=answerer, cache=cache))


def drawn_by(model: Diclip, dataset: Dataset, cases: Sequence[Case]) -> Iterator[Drawn]:
    """Draw slices that are said to show the structure, where the mask has a pixel."""
    (name,) = dataset.labels.names
    said = ImageLabels.parse(name)
    for case in cases:
        assert case.mask is not None
        truth = np.asarray(read_mask(case.mask)[0] > 0)
        if truth.any():
            made = model.propose(Request(read_image(case), labels=said, members=1))
            likely, mask = made.probability[0, 0], made.mask[0] > 0
            yield Drawn(case.case, case.group, np.asarray(likely), mask, truth)


def threshold_on(drawn: Sequence[Drawn]) -> tuple[float, float]:
    """The threshold of the highest mean Dice, and that Dice."""
    tried = {
        value: float(np.mean([_dice(one.likely > value, one.truth) for one in drawn]))
        for value in GRID
    }
    best = max(tried, key=lambda value: tried[value])
    return best, tried[best]


def mean_dice(drawn: Sequence[Drawn]) -> float:
    """Of masks as they come."""
    return float(np.mean([_dice(one.mask, one.truth) for one in drawn]))


def scored(one: Drawn, threshold: float) -> dict[str, Any]:
    """Dice and IoU of a slice by each rule, and pixels found where it is and is not."""
    otsu = Threshold(kind="otsu").of(one.likely)
    masks = {
        "labels": one.mask,
        "otsu": one.likely > otsu,
        "masks": one.likely > threshold,
    }
    row: dict[str, Any] = {"case": one.case, "group": one.group}
    for rule, mask in masks.items():
        overlap = _dice(mask, one.truth)
        row |= {f"dice {rule}": overlap, f"iou {rule}": overlap / (2 - overlap)}
    counts = class_counts(one.mask.astype(np.uint8), one.truth.astype(np.uint8), 1)
    right, wrong = counts.true_positive[1], counts.false_positive[1]
    return {**row, "right": int(right), "wrong": int(wrong)}


def told_of(one: Drawn) -> dict[str, Any]:
    """Dice of a slice by the rules that labels alone allow, and what no rule touches.

    That is the area under the ROC curve of the probability, inside of the reference
    against outside.
    """
    row = scored(one, 0.5)
    kept = {name: row[name] for name in ("case", "group", "dice labels", "dice otsu")}
    return {**kept, "auroc": auroc(one.likely.ravel(), one.truth.ravel())}


def _dice(mask: NDArray[Any], truth: Bools) -> float:
    """Of a truth that has pixels."""
    found = dice(mask.astype(np.uint8), truth.astype(np.uint8))
    assert found is not None
    return found
