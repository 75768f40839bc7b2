"""A run's own copy of what it learns from and is judged by.

Masks come out of the project once, when the run begins: what is corrected meanwhile
does not change it, and a run that was killed goes on with the very same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffseg.domain import ImageLabels, LabelTable
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project import store
from diffseg.project.store.sources import plain_source
from diffseg.volume import atomic_write_bytes, write_mask
from diffseg_training.dataset import Case, Dataset
from diffseg_training.finetuning.gathering import Candidate, lesson

DATA = "data"
LIST = "data.json"


@dataclass(frozen=True, slots=True)
class Materials:
    """Cases as the trainer takes them, and their ids in the project.

    Parameters
    ----------
    dataset : Dataset
        Split ``train`` is learnt from, split ``val`` held out.
    ids : mapping of str to str
        From a case's name to its id.
    voxels : int
        That were reviewed and are learnt from.
    """

    dataset: Dataset
    ids: Mapping[str, str]
    voxels: int


def write_materials(
    project: store.Project,
    learners: Sequence[Candidate],
    judges: Sequence[Candidate],
    labels: LabelTable,
    folder: Path,
) -> Work[Materials]:
    """Copy masks, and what of them was reviewed, into a run's folder.

    Cases without a reviewed voxel are left out.

    Raises
    ------
    UserError
        Nothing is left to learn from, an image has changed since, a mask was changed
        outside, or the disk is full.
    """
    rows: list[dict[str, Any]] = []
    chosen = [("train", one) for one in learners] + [("val", one) for one in judges]
    for done, (split, one) in enumerate(chosen):
        yield Progress("gather", done, len(chosen))
        row = _written(project, one, labels, folder / DATA)
        if row["voxels"]:
            rows.append({**row, "split": split})
    if not any(row["split"] == "train" for row in rows):
        raise UserError(
            "no voxel of these cases was reviewed, and there is nothing to learn from: "
            "draw, tick slices off, or finish a review"
        )
    content = json.dumps({"cases": rows}, indent=1)
    atomic_write_bytes(folder / LIST, content.encode())
    return read_materials(folder, labels)


def read_materials(folder: Path, labels: LabelTable) -> Materials:
    """Read what `write_materials` wrote; `UserError` where it is not whole."""
    try:
        rows = json.loads((folder / LIST).read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError) as err:
        raise UserError(
            f"the run in {folder} has not got as far as its data ({err}): begin anew"
        ) from None
    cases = tuple(_case(row, folder / DATA) for row in rows)
    return Materials(
        Dataset(folder, cases, labels),
        {row["name"]: row["id"] for row in rows},
        sum(row["voxels"] for row in rows if row["split"] == "train"),
    )


def _written(
    project: store.Project, one: Candidate, labels: LabelTable, folder: Path
) -> dict[str, Any]:
    case = one.case
    store.open_source(case)  # an image that has changed is refused here
    mask, reviewed = lesson(project, one, labels)
    source = plain_source(case.grid, case.id)
    write_mask(folder / f"{case.id}-mask.nii.gz", mask, case.grid, source)
    if reviewed is not None:
        bits = reviewed.astype(np.uint8)
        write_mask(folder / f"{case.id}-reviewed.nii.gz", bits, case.grid, source)
    return {
        "id": case.id,
        "name": case.name,
        "group": one.group,
        "images": [str(path) for path in case.paths],
        "frame": case.frame,
        "series": case.series,
        "partial": reviewed is not None,
        "voxels": int(mask.size if reviewed is None else np.count_nonzero(reviewed)),
        "correction": one.correction.id if one.correction else None,
        "sha256": one.correction.sha256 if one.correction else None,
    }


def _case(row: Mapping[str, Any], folder: Path) -> Case:
    reviewed = folder / f"{row['id']}-reviewed.nii.gz"
    return Case(
        case=row["name"],
        group=row["group"],
        split=row["split"],
        images=tuple(Path(path) for path in row["images"]),
        mask=folder / f"{row['id']}-mask.nii.gz",
        labels=ImageLabels(),
        reviewed=reviewed if row["partial"] else None,
        frame=row["frame"],
        series=row["series"],
    )
