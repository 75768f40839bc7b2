"""Sets of slices with and without a structure, out of sets that always show it.

    python docs/measuring/slice_sets.py hippocampus --data DIR --out slices/hippocampus
    python docs/measuring/slice_sets.py nuclei --data DIR --out slices/nuclei

`hippocampus` cuts volumes into coronal slices, `nuclei` photographs into tiles; both
are written as 8-bit PNG with the reference and a manifest, as `weak_methods.py` takes
them. Image-level labels come from the references, as somebody would give them by
looking; a tile in which less than 1 % is nucleus, but something, is left out. A
volume's slices are numbered in order, so that they are a stack; tiles of one photograph
are its group.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

app = typer.Typer(add_completion=False, help=__doc__)
Bytes = NDArray[np.uint8]
Slice = tuple[str, str, str, Bytes, Bytes]
"""Name, group, split, image and mask."""
TILE, LEAST = 64, 0.01
Data = Annotated[Path, typer.Option(help="Folder with the set's manifest.")]
Out = Annotated[Path, typer.Option(help="New folder for the slices.")]
Most = Annotated[int, typer.Option(help="Most cases, evenly over those there are.")]


@app.command()
def hippocampus(data: Data, out: Out, most: Most = 60) -> None:
    """Coronal slices of volumes."""
    _written(out, "hippocampus", _coronal(data, most))


@app.command()
def nuclei(data: Data, out: Out, most: Most = 141) -> None:
    """Tiles of photographs, grey, nuclei bright."""
    _written(out, "nucleus", _tiles(data, most))


def _coronal(data: Path, most: int) -> Iterator[Slice]:
    for row in _rows(data, most):
        image, mask = (
            np.asarray(nib.as_closest_canonical(nib.load(data / row[key])).dataobj)  # type: ignore[attr-defined]
            for key in ("image", "mask")
        )
        grey = _stretched(image)
        for index in range(image.shape[1]):
            # Superior is up, so that a slice looks as it is read.
            plane, truth = (np.rot90(one[:, index]) for one in (grey, mask))
            name = f"{row['case']}_{index:03d}"
            image_, mask_ = (_centred(one) for one in (_bytes(plane), _mask(truth)))
            yield name, row["case"], row["split"], image_, mask_


def _centred(plane: Bytes) -> Bytes:
    """The plane in the middle of a dark square, as crops are of many sizes."""
    before = [(TILE - length) // 2 for length in plane.shape]
    if min(before) < 0:
        raise SystemExit(f"a slice has {plane.shape} pixels; {TILE} a side are room")
    after = [TILE - length - n for length, n in zip(plane.shape, before, strict=True)]
    return np.pad(plane, list(zip(before, after, strict=True)))


def _tiles(data: Path, most: int) -> Iterator[Slice]:
    for row in _rows(data, most):
        image = np.asarray(Image.open(data / row["image"]).convert("L"), np.float32)
        mask = np.asarray(Image.open(data / row["mask"]))
        # Of stained tissue the nuclei are dark, of fluorescence bright.
        if np.median(image) > 127:
            image = 255 - image
        image = _stretched(image)
        rows, columns = (n // TILE for n in mask.shape[:2])
        for index in range(rows * columns):
            y, x = (TILE * n for n in divmod(index, columns))
            at = np.s_[y : y + TILE, x : x + TILE]
            truth = _mask(mask[at])
            share = np.mean(truth > 0)
            if share == 0 or share >= LEAST:
                name = f"{row['case']}_{index:03d}"
                yield name, row["case"], row["split"], _bytes(image[at]), truth


def _rows(data: Path, most: int) -> list[dict[str, str]]:
    with (data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask"]]
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return [rows[at] for at in places]


def _written(out: Path, name: str, slices: Iterator[Slice]) -> None:
    out.mkdir(parents=True)
    shown, count = 0, 0
    with (out / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "group", "split", "image", "mask", "labels"])
        for case, group, split, image, mask in slices:
            places = [f"{group}/{case}{end}.png" for end in ("", "_mask")]
            (out / group).mkdir(exist_ok=True)
            for place, pixels in zip(places, (image, mask), strict=True):
                Image.fromarray(pixels).save(out / place)
            there = bool(mask.any())
            writer.writerow([case, group, split, *places, name if there else ""])
            shown, count = shown + there, count + 1
    print(f"{count} slices, {shown} with {name}")


def _stretched(image: NDArray[Any]) -> NDArray[Any]:
    """Intensities of a whole case from 0 to 255, but for the outermost."""
    low, high = np.percentile(image, (0.5, 99.5))
    grey: NDArray[Any] = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255
    return grey


def _bytes(plane: NDArray[Any]) -> Bytes:
    return np.ascontiguousarray(np.round(plane).astype(np.uint8))


def _mask(plane: NDArray[Any]) -> Bytes:
    return np.ascontiguousarray((plane > 0).astype(np.uint8) * 255)


if __name__ == "__main__":
    app()
