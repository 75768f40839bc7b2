"""Looking for a data set's files, however deep its archives were unpacked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

TOLD = 5
"""Missing files that are named one by one; the rest is counted."""

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})


def files(folder: Path, pattern: str) -> dict[str, Path]:
    """Files below a folder whose path fits a pattern, by its group ``key``.

    Parameters
    ----------
    folder : Path
    pattern : str
        Regular expression that the end of the path (with ``/``) must fit, whatever
        the case of its letters; ``(?P<key>...)`` is what a file is called by.

    Returns
    -------
    dict of key to Path, in natural order of the keys
    """
    wanted = re.compile(rf"(?:.*/)?{pattern}", re.IGNORECASE)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        match = wanted.fullmatch(path.relative_to(folder).as_posix())
        if match and path.is_file() and not path.name.startswith("."):
            found.setdefault(match["key"], path)
    return dict(sorted(found.items(), key=lambda pair: natural(pair[0])))


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key in which 10 follows 9."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def paired(
    images: Mapping[str, Path], masks: Mapping[str, Path], mask: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Keys that have both files, and lines on those that lack their mask.

    Parameters
    ----------
    images, masks : mapping of key to Path
    mask : function of a key
        What the mask would be called.
    """
    both = [key for key in images if key in masks]
    without = [
        f"mask {mask(key)} of {image.name} is missing"
        for key, image in images.items()
        if key not in masks
    ]
    return both, told(without)


def told(lines: Iterable[str]) -> list[str]:
    """At most `TOLD` lines, and how many more there are."""
    every = list(lines)
    more = len(every) - TOLD
    return every if more <= 0 else [*every[:TOLD], f"and {more} more like this"]
