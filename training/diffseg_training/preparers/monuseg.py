"""MoNuSeg 2018: tissue images with the outlines of nuclei in XML, drawn as one mask."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

from diffseg.errors import UserError
from diffseg_training.preparers.looking import files, paired
from diffseg_training.preparers.nouns import About, Found, Item, Made, Values
from diffseg_training.preparers.pictures import png
from diffseg_training.preparers.splitting import with_val

ABOUT = About(
    title="MoNuSeg 2018",
    home="https://monuseg.grand-challenge.org/Data",
    layout="TCGA-*.tif and TCGA-*.xml of the same names; the test images in a folder "
    "with Test in its name",
    classes={1: "nucleus"},
    counts={"train": 37, "test": 14},
    split="train and test as published; a fifth of train's patients is val, which is "
    "ours",
)


def find(folder: Path) -> Found:
    """Look for images and annotations."""
    images = files(folder, r"(?P<key>TCGA-[\w-]+)\.tiff?")
    outlines = files(folder, r"(?P<key>TCGA-[\w-]+)\.xml")
    both, missing = paired(images, outlines, lambda key: f"{key}.xml")
    items = [
        Item(
            key,
            "-".join(key.split("-")[:3]),  # project, site, patient
            _split(folder, images[key]),
            (images[key],),
            _mask(key, images[key], outlines[key]),
        )
        for key in both
    ]
    for split in ("train", "test"):
        if not any(item.split == split for item in items):
            missing.append(f"no TCGA-*.tif to {split} on")
    return Found(tuple(with_val(items, 0.2)), tuple(missing))


def _split(folder: Path, image: Path) -> str:
    above = image.relative_to(folder).parent.as_posix().lower()
    return "test" if "test" in above else "train"


def _mask(key: str, image: Path, outlines: Path) -> Made:
    def make() -> Values:
        with Image.open(image) as picture:
            size = picture.size
        return drawn(outlines, size)

    return png(f"masks/{key}", make)


def drawn(outlines: Path, size: tuple[int, int]) -> Values:
    """Union of the regions of an annotation.

    Parameters
    ----------
    outlines : Path
        XML, with ``Vertex`` elements of attributes X and Y within each ``Region``.
    size : (x, y)

    Returns
    -------
    (Y, X) uint8 ndarray of 0 and 1
    """
    try:
        regions = ElementTree.parse(outlines).iter("Region")
        outline = [[_point(v) for v in region.iter("Vertex")] for region in regions]
    except (ElementTree.ParseError, KeyError, ValueError) as err:
        raise UserError(f"{outlines} is no annotation of MoNuSeg: {err}") from err
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for points in outline:
        if len(points) > 2:
            draw.polygon(points, fill=1, outline=1)
    return np.asarray(mask, np.uint8).copy()


def _point(vertex: ElementTree.Element) -> tuple[float, float]:
    return float(vertex.attrib["X"]), float(vertex.attrib["Y"])
