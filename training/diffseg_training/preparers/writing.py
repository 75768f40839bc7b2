"""A folder checked line by line, and a manifest written for it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.volume import read_mask
from diffseg.volume.atomic import atomic_write, atomic_write_bytes
from diffseg_training.manifest import COLUMNS
from diffseg_training.preparers import About, Found, Item, Made, preparer
from diffseg_training.rows import SPLITS


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked for: whether it is as it should be, and what."""

    good: bool
    text: str


def check_folder(name: str, folder: Path) -> tuple[Found, list[Line]]:
    """Look through a downloaded folder; a line for everything that matters.

    Raises
    ------
    UserError
        There is no such preparer, or no such folder.
    """
    about, found = _look(name, folder)
    lines = [Line(False, text) for text in found.missing]
    for split in SPLITS:
        have = sum(item.split == split for item in found.items)
        published = about.counts.get(split)
        if published is None and not have:
            continue
        of = "" if published is None else f", {published} as published"
        lines.append(Line(have > 0, f"{split}: {have} images{of}"))
    return found, [*lines, *(Line(True, text) for text in found.remarks)]


def prepare_folder(name: str, folder: Path, out: Path) -> Work[Path]:
    """Write ``manifest.csv`` and ``classes.json``, and the masks that need it.

    Yields
    ------
    Progress
        In cases.

    Returns
    -------
    Path
        The manifest, which is written last.

    Raises
    ------
    UserError
        Something is missing, a file cannot be read or written, a manifest is there
        already.
    """
    about, found = _look(name, folder)
    _refuse(name, folder, out, found)
    rows = []
    for done, item in enumerate(found.items):
        yield Progress("prepare", done, len(found.items), item.case)
        rows.append(_row(item, about, out))
    classes = {str(value): label for value, label in sorted(about.classes.items())}
    text = json.dumps(classes, indent=1) + "\n"
    atomic_write_bytes(out / "classes.json", text.encode())
    return atomic_write_bytes(out / "manifest.csv", _table(rows).encode())


def _look(name: str, folder: Path) -> tuple[About, Found]:
    module = preparer(name)
    if not folder.is_dir():
        raise UserError(
            f"folder {folder} is not there; {module.ABOUT.title} is published at "
            f"{module.ABOUT.home}"
        )
    return module.ABOUT, module.find(folder)


def _refuse(name: str, folder: Path, out: Path, found: Found) -> None:
    if found.missing:
        first, more = found.missing[0], len(found.missing) - 1
        rest = f" (and {more} more: leave --out away to see them)" if more else ""
        raise UserError(f"{name} in {folder} is not whole: {first}{rest}")
    if not any(item.split == "train" for item in found.items):
        raise UserError(f"{name} in {folder} holds no case to train on")
    if (out / "manifest.csv").exists():
        raise UserError(f"{out / 'manifest.csv'} is there already; name a new folder")


def _row(item: Item, about: About, out: Path) -> list[str]:
    images = ";".join(_path(image, out) for image in item.images)
    mask = _path(item.mask, out)
    file = item.mask if isinstance(item.mask, Path) else out / mask
    values = read_mask(file, classes=sorted(about.classes))
    present = [about.classes[int(v)] for v in np.unique(values) if v]
    return [item.case, item.group, item.split, images, mask, ";".join(present)]


def _path(file: Path | Made, out: Path) -> str:
    """Path from the manifest's folder; what is made is made now."""
    if isinstance(file, Made):
        atomic_write(out / file.name, file.write)
        return file.name
    try:
        path = os.path.relpath(file.resolve(), out.resolve())
    except ValueError:  # another drive
        path = str(file.resolve())
    if ";" in path:
        raise UserError(f"path {path} holds a semicolon; rename the folder")
    return Path(path).as_posix()


def _table(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(rows)
    return text.getvalue()
