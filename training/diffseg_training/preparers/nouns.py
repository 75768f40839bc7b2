"""What a preparer says of its data set, and what it finds in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class About:
    """A published data set.

    Parameters
    ----------
    title : str
    home : str
        Where it is asked for or downloaded.
    layout : str
        The files that a downloaded folder holds, in words.
    classes : mapping of mask value to name
    counts : mapping of split to number of images, as published
    split : str
        Whose split it is, and what of it is ours.
    """

    title: str
    home: str
    layout: str
    classes: Mapping[int, str]
    counts: Mapping[str, int]
    split: str


@dataclass(frozen=True, slots=True)
class Made:
    """A file that does not come with the set and is written beside the manifest.

    Parameters
    ----------
    name : str
        Path within the prepared folder.
    write : function of the path
    """

    name: str
    write: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Item:
    """One image: what becomes a line of the manifest."""

    case: str
    group: str
    split: str
    images: tuple[Path | Made, ...]
    mask: Path | Made


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder, and what should and does not: a line each."""

    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
