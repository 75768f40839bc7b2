"""The stage that selects pixels and keeps their features: no mask, no whole map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffseg.domain.slice_labels import ABSENT, PRESENT
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.segmenters.weak.features import gathered, mean_maps, with_border
from diffseg_training.cache import Cache
from diffseg_training.evenly import evenly
from diffseg_training.labelled import LabelledExample
from diffseg_training.settings.cldf import Gradients, Selecting
from diffseg_training.weak.choosing import (
    Place,
    Teachers,
    noise_of,
    selections,
    upside_down,
)
from diffseg_training.weak.selection import Rules, drawn

_BATCH = 4  # slices at once
_FEATURE, _CHOICE = 12, 13  # keys of random numbers
NAMES = ("features", "local", "classes")


def places(
    examples: Sequence[LabelledExample], options: Selecting
) -> tuple[Sequence[Place], Sequence[Place]]:
    """Slices that show a class, and some that are known to show none."""
    shown: list[Place] = []
    empty: list[Place] = []
    for index, one in enumerate(examples):
        for plane, states in enumerate(one.labels.states):
            place = Place(index, plane, one.case)
            if (states == PRESENT).any():
                shown.append(place)
            elif (states == ABSENT).all():
                empty.append(place)
    return evenly(shown, options.slices), evenly(empty, options.negatives)


def iter_pixels(
    examples: Sequence[LabelledExample],
    teachers: Teachers,
    gradients: Gradients,
    options: Selecting,
    folder: Path,
    *,
    seed: int,
    device: str,
) -> Work[dict[str, Any]]:
    """Select pixels of slices and write their features, slice by slice.

    A slice whose files lie in the folder already is not looked at again. One in which
    nothing is surely foreground, or nothing background, is skipped and counted.

    Returns
    -------
    dict
        slices, selected (slices with pixels), skipped, negatives, foreground (mean
        share of the slices that is surely of a class), upside_down (names of classes
        that the classifier sees where their activation maps are low).

    Raises
    ------
    UserError
        No slice has any pixel to learn from.
    """
    store, rules = Cache(folder), _rules(options)
    shown, empty = places(examples, options)
    todo = [(place, True) for place in shown] + [(place, False) for place in empty]
    done = 0
    for some, positive in _batches(todo, examples):
        new = [place for place in some if not _holds(store, place)]
        if new:
            _written(examples, new, positive, teachers, gradients, rules, store,
                     seed, device)  # fmt: skip
        done += len(some)
        yield Progress("pixels", done, len(todo))
    kept = [store.read(place.name, "classes") for place in shown]
    chosen = [classes for classes in kept if len(classes)]
    if not chosen:
        raise UserError(
            f"of {len(shown)} slices none has pixels that are surely foreground and "
            "others that are surely background: lower objective.selection's "
            "thresholds, or look at the activation maps"
        )
    turned = upside_down(examples, shown, teachers, device)
    share = float(np.mean([(classes > 0).mean() for classes in chosen]))
    told = {
        "slices": len(shown),
        "selected": len(chosen),
        "skipped": len(shown) - len(chosen),
        "negatives": len(empty),
        "foreground": round(share, 4),
        "upside_down": turned,
    }
    message = f"{told['skipped']} of {len(shown)} slices skipped, nothing sure in them"
    if turned:
        message += f"; activation maps seem to be upside down: {', '.join(turned)}"
    yield Progress("pixels", len(todo), len(todo), message)
    return told


def pixel_files(folder: Path) -> list[str]:
    """Names of the slices that have pixels, in order."""
    store = Cache(folder)
    names = sorted(path.name.split(".")[0] for path in folder.glob("*.classes.npy"))
    return [name for name in names if len(store.read(name, "classes"))]


def _rules(options: Selecting) -> Rules:
    return Rules(
        options.cam,
        options.gradient,
        options.fusion,
        options.blur,
        options.foreground,
        options.background,
    )


def _holds(store: Cache, place: Place) -> bool:
    return all((store.folder / f"{place.name}.{n}.npy").is_file() for n in NAMES)


def _batches(
    todo: Sequence[tuple[Place, bool]], examples: Sequence[LabelledExample]
) -> Iterator[tuple[list[Place], bool]]:
    """Neighbouring slices of one size and kind."""

    def kind(one: tuple[Place, bool]) -> tuple[bool, tuple[int, ...]]:
        return one[1], tuple(examples[one[0].example].image.shape[2:])

    for (positive, _), group in groupby(todo, kind):
        those = [place for place, _ in group]
        for first in range(0, len(those), _BATCH):
            yield those[first : first + _BATCH], positive


def _written(
    examples: Sequence[LabelledExample],
    some: Sequence[Place],
    positive: bool,
    teachers: Teachers,
    gradients: Gradients,
    rules: Rules,
    store: Cache,
    seed: int,
    device: str,
) -> None:
    """Select pixels of a batch of slices and write them with their features."""
    looked = [examples[place.example].plane(place.plane) for place in some]
    size = tuple(looked[0][0].shape[1:])
    plain = torch.stack([image for image, _ in looked]).to(device)
    states = torch.stack([states for _, states in looked]).to(device)
    image = with_border(plain, teachers.multiple)
    if positive:
        classes = selections(
            plain, image, states, some, teachers, gradients, rules, seed
        )
    else:
        classes = [np.zeros(size, np.int16)] * len(some)
        # As a proposal looks at a slice: for what may be there.
        states = torch.full_like(states, PRESENT)
    chosen = [
        drawn(one, rules, _source(seed, place), positive=positive)
        for one, place in zip(classes, some, strict=True)
    ]
    with torch.inference_mode():
        maps = mean_maps(
            teachers.maps,
            image,
            states,
            teachers.timesteps,
            lambda i: noise_of(image, some, (seed, _FEATURE, i)),
        )
        local = teachers.local
        told = None if local is None else local.activations(local.stages(image)).float()
        for index, (place, points) in enumerate(zip(some, chosen, strict=True)):
            features = np.zeros((0, sum(teachers.maps.widths)), np.float16)
            added = np.zeros((len(points), states.shape[1]), np.float16)
            if len(points):
                at = torch.from_numpy(points[:, :2].astype(np.int64)).to(device)
                one = gathered([m[index].float() for m in maps], at, image.shape[2:])
                features = one.half().cpu().numpy()
                if told is not None:
                    of_pixels = gathered([told[index]], at, image.shape[2:])
                    added = of_pixels.half().cpu().numpy()
            # The classes last: a slice that has them is finished.
            store.write(place.name, features=features, local=added)
            store.write(place.name, classes=points[:, 2].astype(np.int8))


def _source(seed: int, place: Place) -> np.random.Generator:
    return np.random.default_rng([seed, _CHOICE, place.example, place.plane])
