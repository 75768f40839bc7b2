"""A data set written as the raw folder that nnU-Net's commands read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.volume import Grid
from diffseg.volume.atomic import atomic_write, atomic_write_bytes
from diffseg_training.case_score import class_indices
from diffseg_training.dataset import Case, Dataset, read_image, read_reference

NUMBER, NAME = 900, "Dataset900_diffseg"
ENDING = ".nii.gz"


def export_raw(dataset: Dataset, raw: Path, split: str) -> Work[Path]:
    """Write train and val to learn from, and `split` to predict.

    Every channel becomes a file; masks hold class indices, as nnU-Net wants them
    without gaps. Where some pictures are grey and others of several channels, a grey
    one has all of them alike.

    Parameters
    ----------
    dataset : Dataset
    raw : Path
        What ``nnUNet_raw`` is to be.
    split : str
        Whose images go to ``imagesTs``.

    Returns
    -------
    Path
        The data set's folder, its ``dataset.json`` written last.

    Raises
    ------
    UserError
        Images have different numbers of channels, none of them one.
    """
    folder = raw / NAME
    learned = [c for c in dataset.cases if c.split in ("train", "val") and c.mask]
    asked = dataset.split(split)
    total = len(learned) + len(asked)
    channels = max((read_image(case).channels for case in learned), default=1)
    for done, case in enumerate([*learned, *asked]):
        yield Progress("export", done, total, case.case)
        training = done < len(learned)
        images = folder / ("imagesTr" if training else "imagesTs")
        _write_case(case, dataset, images, channels, training)
    names = dict(enumerate(dataset.labels.names, start=1))
    content = {
        "channel_names": {str(i): f"channel_{i}" for i in range(channels)},
        "labels": {"background": 0, **{name: i for i, name in names.items()}},
        "numTraining": len(learned),
        "file_ending": ENDING,
    }
    text = json.dumps(content, indent=1)
    atomic_write_bytes(folder / "dataset.json", text.encode())
    return folder


def splits_of(dataset: Dataset) -> list[dict[str, list[str]]]:
    """The one fold of ``splits_final.json``: the data set's own train and val."""
    names = {
        split: sorted(c.case for c in dataset.cases if c.split == split and c.mask)
        for split in ("train", "val")
    }
    return [names]


def _write_case(
    case: Case, dataset: Dataset, images: Path, channels: int, training: bool
) -> None:
    volume = read_image(case)
    if volume.channels not in (1, channels):
        raise UserError(
            f"{case.case} has {volume.channels} channels, where others have "
            f"{channels}: nnU-Net takes as many of every image"
        )
    for channel in range(channels):
        path = images / f"{case.case}_{channel:04d}{ENDING}"
        _write(volume.data[channel % volume.channels], volume.grid, path)
    if training:
        labels = dataset.labels
        mask = class_indices(read_reference(case, volume, labels), labels, labels)
        masks = images.with_name("labelsTr")
        _write(mask, volume.grid, masks / f"{case.case}{ENDING}")


def _write(array: NDArray[Any], grid: Grid, path: Path) -> None:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    spacing: Sequence[float] = (1.0, 1.0, 1.0)
    if grid.has_spacing:
        spacing = [float(value) for value in grid.spacing_zyx[::-1]]
    image.SetSpacing(spacing)  # type: ignore[no-untyped-call]
    atomic_write(path, lambda aside: sitk.WriteImage(image, str(aside)))
