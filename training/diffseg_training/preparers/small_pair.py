"""Several prepared sets made into one, of small pictures: what captions are made from.

A mask holds classes of all the sets, surroundings among them, so that it tells what a
picture is, what it shows and where; captions follow from it alone, also when a picture
was flipped or cut. Images are written anew: coloured, of one size, and of volumes a few
coronal slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Intensity, Preparation
from diffseg_training.dataset import Case, Dataset, load_dataset
from diffseg_training.preparers.looking import told
from diffseg_training.preparers.nouns import About, Found, Item, Values
from diffseg_training.preparers.pictures import png
from diffseg_training.text.picture_sets import PictureSet, class_names, read_sets

SIZE = 128
SETS = read_sets()
_PARTS = (0.2, 0.4, 0.6, 0.8)  # of a volume's extent, where its slices lie
_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha")

ABOUT = About(
    title="Pictures of several sets, for captions",
    home="the homes of these sets: see diffseg recipes list",
    layout="folders of data sets with a manifest.csv each, called "
    + ", ".join(one.name for one in SETS),
    classes=dict(enumerate(class_names(SETS), start=1)),
    counts={},
    split="train and val as those of the sets; images of test are left out",
)


def find(folder: Path, sets: Sequence[PictureSet] = SETS) -> Found:
    """Look for the sets, and tell the pictures that are made of them."""
    items: list[Item] = []
    missing: list[str] = []
    remarks: list[str] = []
    first = 1
    for one in sets:
        place = folder / one.name
        if (place / "manifest.csv").is_file():
            made = list(_items(load_dataset(place), one, first))
            items += made
            remarks.append(f"{one.name}: {len(made)} pictures; {one.licence}")
        else:
            missing.append(f"no manifest.csv in a folder called {one.name!r}")
        first += one.classes
    return Found(tuple(items), tuple(told(missing)), tuple(remarks))


def _items(dataset: Dataset, one: PictureSet, first: int) -> Iterator[Item]:
    """Pictures of a set; of a volume, some slices."""
    for case in dataset.cases:
        if case.split not in ("train", "val") or case.mask is None:
            continue
        volume = case.images[0].name.endswith(_VOLUMES)
        for part in range(len(_PARTS)) if volume else (None,):
            name = f"{one.name}_{case.case}" + ("" if part is None else f"_{part}")
            make = partial(_picture, dataset, case, part)
            mask = partial(_mask, dataset, case, part, first)
            group = f"{one.name}_{case.group}"
            image = png(f"images/{name}", make)
            yield Item(name, group, case.split, (image,), png(f"masks/{name}", mask))


def _picture(dataset: Dataset, case: Case, part: int | None) -> Values:
    """A coloured picture (SIZE, SIZE, 3), the darkest 0 and the brightest 255."""
    image, _ = _slice(dataset, case, part)
    return np.rint(255 * np.moveaxis(image, 0, -1)).astype(np.uint8)


def _mask(dataset: Dataset, case: Case, part: int | None, first: int) -> Values:
    """Classes (SIZE, SIZE), of which a set's surroundings are the first."""
    _, classes = _slice(dataset, case, part)
    return (classes + first).astype(np.uint8)


def _slice(
    dataset: Dataset, case: Case, part: int | None
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Image (3, SIZE, SIZE) in [0, 1] and classes (SIZE, SIZE) from 0 on."""
    source = _Source(dataset.root, case.case, part is not None, dataset, case)
    image, classes = _prepared(source)
    if part is None:
        plane = 0
    else:
        plane = min(int(_PARTS[part] * len(classes)), len(classes) - 1)
        low, high = np.percentile(image, (0.5, 99.5))
        image = (image - low) / max(float(high - low), 1e-6)
    shown = image[:, plane].clip(0, 1)
    if len(shown) != 3:
        shown = np.repeat(shown.mean(0, keepdims=True), 3, axis=0)
    return shown, classes[plane]


@dataclass(frozen=True, slots=True)
class _Source:
    """A case to prepare, known by its name: it is prepared once for all its files."""

    root: Path
    name: str
    volume: bool
    dataset: Dataset = field(compare=False)
    case: Case = field(compare=False)


@lru_cache(maxsize=1)
def _prepared(
    source: _Source,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Image (C, Z, SIZE, SIZE) and classes (Z, SIZE, SIZE), as training reads them."""
    from diffseg_training.training_set import prepare_case

    ranged: Any = {"kind": "range", "low": 0, "high": 255, "to": (0, 1)}
    preparation = Preparation(
        dims=2,
        channels=("image",) if source.volume else ("red", "green", "blue"),
        # As it is looked at: up is up, and the patient's right on the left.
        orientation="LIA" if source.volume else None,
        intensity=Intensity() if source.volume else Intensity(**ranged),
        size=(SIZE, SIZE),
    )
    return prepare_case(source.case, source.dataset, preparation)
