"""nnU-Net's raw folder: corrected cases to train it on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.domain.outputs import aside, told
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project.exporting.label_tables import nnunet_labels
from diffseg.project.exporting.nouns import ExportCase, Exported, ExportSettings
from diffseg.volume import write_float, write_mask

ENDING = ".nii.gz"
MANIFEST = "diffseg.json"
SCHEMA = "diffseg-nnunet-1"
_NAME = re.compile(r"[A-Za-z0-9_]+")


def check_nnunet(case: ExportCase) -> None:
    """Refuse a case without its image, or whose labels nnU-Net cannot name."""
    if case.image is None:
        raise UserError(f"{case.name}: nnU-Net needs the image; give it with the mask")
    nnunet_labels(case.labels)


def dataset_json(
    labels: LabelTable, channels: int, cases: int, ignore: bool = False
) -> dict[str, Any]:
    """``dataset.json`` of nnU-Net, version 2; with the label ``ignore`` or without."""
    return {
        "channel_names": {str(one): f"channel_{one}" for one in range(channels)},
        "labels": nnunet_labels(labels, ignore),
        "numTraining": cases,
        "file_ending": ENDING,
    }


def export_nnunet(
    cases: Iterable[ExportCase], total: int, folder: Path, settings: ExportSettings
) -> Work[Exported]:
    """Write ``DatasetNNN_NAME`` into `folder`, which is nnU-Net's raw folder.

    Images are float32, one file for each channel; masks hold class indices, as nnU-Net
    wants them. Voxels that nobody has reviewed get its label ``ignore``, the last, and
    carry no loss. Images keep their geometry.

    Raises
    ------
    UserError
        No case, two of one name, cases that differ in labels or channels; or the data
        set is there, and is not ours to replace.
    """
    name = _dataset_name(settings)
    target = folder / name
    _require_free(target, settings.overwrite)
    with told(folder), aside(folder) as hidden:
        fresh = hidden / name
        yield from _fill(fresh, cases, total)
        _require_free(target, settings.overwrite)
        if target.exists():
            os.replace(target, hidden / "earlier")
        try:
            os.replace(fresh, target)
        except OSError:
            if (hidden / "earlier").exists():
                os.replace(hidden / "earlier", target)
            raise
    paths = sorted(path for path in target.rglob("*") if path.is_file())
    return Exported(tuple(paths))


def _dataset_name(settings: ExportSettings) -> str:
    number, name = settings.dataset_number, settings.dataset_name
    if not 1 <= number <= 999 or not _NAME.fullmatch(name):
        raise UserError(
            f"nnU-Net data set {number} {name!r}: give a number from 1 to 999, and a "
            "name of letters, digits and underscores"
        )
    return f"Dataset{number:03d}_{name}"


def _fill(fresh: Path, cases: Iterable[ExportCase], total: int) -> Work[None]:
    first: ExportCase | None = None
    channels, names, partial = 0, set[str](), False
    for case in cases:
        yield Progress("export", len(names), total, case.name)
        check_nnunet(case)
        assert case.image is not None
        first = first or case
        channels = channels or case.image.channels
        if case.name in names:
            raise UserError(f"{case.name}: two cases have this name; rename one")
        if case.labels.names != first.labels.names:
            raise UserError(f"{case.name}: other labels than {first.name}")
        if case.image.channels != channels:
            raise UserError(
                f"{case.name}: {case.image.channels} channels, where {first.name} has "
                f"{channels}; nnU-Net wants one number for all"
            )
        names.add(case.name)
        partial |= _write_case(fresh, case)
    if first is None:
        raise UserError("no case to export; correct or accept one first")
    content = dataset_json(first.labels, channels, len(names), partial)
    _put_json(fresh / "dataset.json", content)
    _put_json(fresh / MANIFEST, {"schema": SCHEMA, "files": _listed(fresh)})


def _write_case(fresh: Path, case: ExportCase) -> bool:
    """Write image and mask; whether some voxels carry no loss."""
    assert case.image is not None
    for number, channel in enumerate(case.image.data):
        path = fresh / "imagesTr" / f"{case.name}_{number:04d}{ENDING}"
        write_float(path, channel, case.grid, case.source, "diffseg image")
    target: NDArray[np.uint8] = case.classes_of(case.mask)
    unseen = case.reviewed is not None and not case.reviewed.all()
    if unseen and case.reviewed is not None:
        if len(case.labels) + 1 > 255:
            raise UserError(f"{case.name}: no value is left for nnU-Net's ignore")
        target = np.where(case.reviewed, target, np.uint8(len(case.labels) + 1))
    path = fresh / "labelsTr" / f"{case.name}{ENDING}"
    write_mask(path, target, case.grid, case.source)
    return unseen


def _put_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _listed(folder: Path) -> dict[str, str]:
    """Checksum of every file of the data set but the manifest."""
    return {
        path.relative_to(folder).as_posix(): _checksum(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        digest = sha256()
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _require_free(target: Path, overwrite: bool) -> None:
    """Refuse a data set that holds anything but what an earlier export wrote."""
    if not os.path.lexists(target):
        return
    try:
        listed = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        ours = listed["schema"] == SCHEMA and listed["files"] == _listed(target)
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise UserError(
            f"{target} is in the way: no earlier export wrote it, or it was changed "
            "since; move it away or give another number"
        )
    if not overwrite:
        raise UserError(
            f"{target} is there from an earlier export; give another number or ask to "
            "overwrite (--overwrite)"
        )
