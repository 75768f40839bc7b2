"""An nnU-Net raw folder, read as the rows of a manifest.

The layout is that of nnU-Net's documentation (Isensee et al., Nature Methods
2021): ``imagesTr/CASE_0000.nii.gz`` (channel 0, 1, ...), ``labelsTr/CASE.nii.gz``
and a ``dataset.json`` that names channels and labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffseg.errors import UserError
from diffseg_training.rows import Row

_FOLDERS = (("Tr", "train"), ("Ts", "test"))


def read_nnunet(path: Path) -> tuple[dict[int, str], list[Row]]:
    """Read the classes and cases of an nnU-Net raw folder.

    Training cases are the split ``train``, test cases ``test``; every case is a
    patient of its own, since the layout knows no patients.

    Parameters
    ----------
    path : Path
        The folder's ``dataset.json``.

    Raises
    ------
    UserError
        The file is malformed, a channel or a training mask is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        labels = dict(content["labels"])
        channels = dict(content.get("channel_names") or content.get("modality") or {})
        ending = str(content.get("file_ending", ".nii.gz"))
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as err:
        raise UserError(
            f"{path} is not the dataset.json of an nnU-Net raw folder, with "
            f"labels and channel_names: {err!r}"
        ) from None
    rows = [
        row
        for suffix, split in _FOLDERS
        for row in _rows(path, suffix, split, ending, len(channels))
    ]
    if not rows:
        raise UserError(
            f"{path.parent / 'imagesTr'} holds no image called CASE_0000{ending}; "
            "an nnU-Net raw folder needs them"
        )
    return _classes(path, labels), rows


def _classes(path: Path, labels: Mapping[str, Any]) -> dict[int, str]:
    """Names by value; nnU-Net 1 wrote value: name, nnU-Net 2 writes name: value."""
    classes: dict[int, str] = {}
    for key, other in labels.items():
        name, value = (other, key) if key.isdigit() else (key, other)
        if name == "ignore" or isinstance(value, list):
            raise UserError(
                f"{path}: label {name!r} is a region of several values or one to "
                "ignore, which is not supported; give each class one value"
            )
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise UserError(
                f"{path}: label {name!r} has the value {value!r}; give a whole number"
            ) from None
        if number and classes.setdefault(number, str(name)) != name:
            raise UserError(f"{path}: two labels have the value {number}")
    return classes


def _rows(path: Path, suffix: str, split: str, ending: str, channels: int) -> list[Row]:
    root, images, masks = path.parent, f"images{suffix}", f"labels{suffix}"
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    found: dict[str, dict[int, str]] = {}
    for file in sorted((root / images).glob(f"*{ending}")):
        if match := pattern.fullmatch(file.name):
            name, channel = match[1], int(match[2])
            found.setdefault(name, {})[channel] = f"{images}/{file.name}"
    rows = []
    for name, files in found.items():
        wanted = range(channels or max(files) + 1)
        lacking = [channel for channel in wanted if channel not in files]
        if lacking:
            raise UserError(
                f"{path}: case {name!r} lacks {images}/{name}_{lacking[0]:04d}{ending}"
            )
        mask = f"{masks}/{name}{ending}"
        if suffix == "Ts" and not (root / mask).exists():
            mask = ""  # test cases are handed out without their masks
        rows.append(
            Row(
                where=f"{path} case {name}",
                case=name,
                group=name,
                split=split,
                images=tuple(files[channel] for channel in wanted),
                mask=mask,
                labels=None,
            )
        )
    return rows
