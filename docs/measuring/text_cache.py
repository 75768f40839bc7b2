"""What a cache of DiCLIP is made of: drawn or real images, how many, of which classes.

    python docs/measuring/text_cache.py images --set ph2 --out ladder
    diffseg recipes prepare small-pair DATA --out pair-data
    python docs/measuring/text_cache.py classes --pair CLIP,DIFFUSION --data pair-data
        --out ladder
    python docs/measuring/text_cache.py show --out ladder

`images`: caches of real images of train, by their labels, and of images that the
text-to-image model draws, of several numbers; `--out` is where `text_ladder.py run`
left its models. `classes`: one model of the structures of all sets of the small pair,
each image showing one, with none, one, two, ... of them cached, in the order of the
sets; words go on telling of the others. Drawn are slices of val and test, of which no
cache holds one, by texts, attention and the cache with its background keys.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from skimage.io import imsave
from text_ladder import Most, Out, showing
from text_steps import Drawn, drawn_by, model_of, recached, told_of
from weak_folds import mean_cell, once

from diffseg.domain import ImageLabels, Preparation, Presence, Request
from diffseg.domain.card import COLOURS
from diffseg.models.folder import read_folder
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly
from diffseg.volume import read_mask
from diffseg_training.dataset import Case, Dataset, load_dataset, read_image
from diffseg_training.evenly import evenly
from diffseg_training.settings.diclip import Caching
from diffseg_training.text.picture_sets import class_names, read_sets

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
CACHES = (
    ("none", 0),
    *((source, n) for source in ("labelled", "generated") for n in (4, 16, 50)),
)
MIXED = "mixed"
STREAMS: dict[str, dict[str, str]] = {
    "paper": {},
    "surgery": {"streams": "surgery", "similarity": "surgery"},
}
_SEEN = {
    "dims": 2,
    "channels": COLOURS,
    "intensity": {"kind": "range", "low": 0, "high": 255, "to": [0, 1]},
    "size": [128, 128],
}
SHOWN = {"dice labels": "Dice", "dice otsu": "Otsu", "auroc": "AUROC"}


@app.command()
def images(
    set_: Annotated[str, typer.Option("--set", help="A set that was run.")],
    out: Out,
    most: Most = 20,
) -> None:
    """Draw with caches of real and of drawn images, of several numbers."""
    home = out / set_
    dataset = load_dataset(home / "manifest.csv")
    cases = [c for split in ("val", "test") for c in showing(dataset, split, most)]
    model = model_of(home / "run", "negative")
    for source, number in CACHES:
        path = home / f"cache-{source}-{number}.json"
        if source == "none":
            without = model_of(home / "run", "vce")
            once(path, partial(_drawn_by, without, dataset, cases))
            continue
        once(path, partial(_of_images, model, dataset, cases, source, number))
    show(out)


@app.command()
def classes(
    pair: Annotated[str, typer.Option(help="CLIP,DIFFUSION: names or folders.")],
    data: Annotated[Path, typer.Option(help="The small pair's data.")],
    out: Out,
    streams: Annotated[str, typer.Option(help="paper or surgery.")] = "paper",
    most: Most = 20,
) -> None:
    """Draw with caches of some classes."""
    home = out / MIXED
    dataset, model = _mixed(home, data, pair, streams, most)
    names = dataset.labels.names
    for count in range(len(names) + 1):
        path = home / f"classes-{streams}-{count}.json"
        once(path, partial(_of_classes, model, dataset, names[:count]))
    show(out)


@app.command()
def show(out: Out) -> None:
    """Print both tables: means over slices, 95 % intervals over patients."""
    print(f"| set | cache of | images | slices | {' | '.join(SHOWN.values())} |")
    print("|---" * (4 + len(SHOWN)) + "|")
    for home in sorted({path.parent for path in out.glob("*/cache-*.json")}):
        for source, number in CACHES:
            rows = _rows(home / f"cache-{source}-{number}.json")
            if rows:
                start = f"| {home.name} | {source} | {number} | {len(rows)} "
                print(f"{start}| {' | '.join(_cells(rows))} |")
    for streams in STREAMS:
        _show_classes(sorted((out / MIXED).glob(f"classes-{streams}-*.json")), streams)


def _show_classes(paths: Sequence[Path], streams: str) -> None:
    """Mean Dice and AUROC of each class, and over classes, by what is cached."""
    names = (
        list(dict.fromkeys(row["class"] for row in _rows(paths[0]))) if paths else []
    )
    if names:
        print(f"\n| cached, {streams} | {' | '.join(names)} | mean of classes |")
        print("|---" * (2 + len(names)) + "|")
    for path in paths:
        rows, told = _rows(path), []
        for key in ("dice labels", "auroc"):
            means = [
                float(np.mean([row[key] for row in rows if row["class"] == name]))
                for name in names
            ]
            told.append([f"{value:.3f}" for value in [*means, np.mean(means)]])
        cells = ["; ".join(both) for both in zip(*told, strict=True)]
        cached = json.loads(path.read_text())["cached"]
        print(f"| {len(cached) / len(names):.0%} | {' | '.join(cells)} |")


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text())["slices"]
    return found


def _cells(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    groups = [row["group"] for row in rows]
    for key in SHOWN:
        yield mean_cell([row[key] for row in rows], groups)


def _of_images(
    model: Diclip, dataset: Dataset, cases: Sequence[Case], source: str, number: int
) -> dict[str, Any]:
    """Slices by a cache of so many images of a source."""
    how = Caching(images=number)
    if source == "generated":
        # As captions have it; the first template is the word alone.
        prompt = model.network.config.words.templates[1]
        how = Caching(generated=number, prompt=prompt)
    cached = recached(model, dataset, how)
    assert cached.network.cache is not None
    keys = dict(cached.network.cache.counts())
    return {"keys": keys, **_drawn_by(cached, dataset, cases)}


def _drawn_by(model: Diclip, dataset: Dataset, cases: Sequence[Case]) -> dict[str, Any]:
    return {"slices": [told_of(one) for one in drawn_by(model, dataset, cases)]}


def _of_classes(
    model: Diclip, dataset: Dataset, cached: Sequence[str]
) -> dict[str, Any]:
    """Slices of all classes where some are cached."""
    if cached:
        model = recached(model, dataset, Caching(classes=tuple(cached)))
    rows = [
        {"class": name, **told_of(_drawn(model, case, index))}
        for index, name in enumerate(dataset.labels.names)
        for case in dataset.split("val")
        if case.labels[name] is Presence.PRESENT
    ]
    return {"cached": list(cached), "slices": rows}


def _drawn(model: Diclip, case: Case, index: int) -> Drawn:
    """What a model draws of the class that an image shows."""
    assert case.mask is not None
    truth = np.asarray(read_mask(case.mask)[0] == index + 1)
    said = ImageLabels.parse(model.card.labels.names[index])
    made = model.propose(Request(read_image(case), labels=said, members=1))
    likely = np.asarray(made.probability[index, 0])
    return Drawn(case.case, case.group, likely, made.mask[0] == index + 1, truth)


def _mixed(
    home: Path, data: Path, pair: str, streams: str, most: int
) -> tuple[Dataset, Diclip]:
    """A data set of all structures, one an image, and a model of them."""
    sets = read_sets()
    values = {
        structure.name: 1 + class_names(sets).index(structure.name)
        for one in sets
        for structure in one.structures
    }
    manifest = home / "manifest.csv"
    if not manifest.is_file():
        _write(data, home, values, {"train": 50, "val": most})
    words = {
        "title": "Four sets",
        "templates": ["{}", "image with {}"],
        "classes": {s.name: list(s.words) for one in sets for s in one.structures},
        "background": [word.lower() for s in sets for word in (s.around, *s.normal)],
    }
    path = home / "words.yaml"
    path.write_text(yaml.safe_dump(words, sort_keys=False))
    folder = home / f"model-{streams}"
    if not (folder / "card.json").is_file():
        clip, _, diffusion = pair.partition(",")
        parts = Assembly(
            clip=clip,
            diffusion=diffusion,
            labels=tuple(values),
            words=path,
            preparation=Preparation.model_validate(_SEEN),
            channels=COLOURS,
            options=STREAMS[streams],
            copy=False,
        )
        assemble(folder, MIXED, parts)
    return load_dataset(manifest), Diclip.from_model(read_folder(folder), "cpu")


def _write(
    data: Path, home: Path, values: dict[str, int], most: dict[str, int]
) -> None:
    """A manifest of pictures with a structure, evenly over each set, and its masks."""
    (home / "masks").mkdir(parents=True, exist_ok=True)
    with (data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = []
    for index, name in enumerate(values, start=1):
        for split, count in most.items():
            mine = [
                row
                for row in rows
                if row["split"] == split and name in row["labels"].split(";")
            ]
            for row in evenly(mine, count):
                mask = read_mask(data / row["mask"])[0] == values[name]
                target = home / "masks" / f"{row['case']}.png"
                imsave(target, (mask * index).astype(np.uint8), check_contrast=False)
                image = str((data / row["image"]).resolve())
                files = {"image": image, "mask": str(target.resolve())}
                lines.append({**row, **files, "labels": name})
    names = {str(index): name for index, name in enumerate(values, start=1)}
    (home / "classes.json").write_text(json.dumps(names))
    with (home / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    app()
