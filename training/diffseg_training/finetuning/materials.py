"""A run's own copy of what it learns from and is judged by.

Masks come out of the project once, when the run begins: what is corrected meanwhile
does not change it, and a run that was killed goes on with the very same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diffseg.domain import ImageLabels, LabelTable
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project import store
from diffseg.project.store.sources import plain_source
from diffseg.volume import atomic_write_bytes, write_mask
from diffseg_training.dataset import Case, Dataset
from diffseg_training.finetuning.gathering import Candidate, Taught, taught

DATA = "data"
LIST = "data.json"
NOTHING = (
    "no voxel of these cases was reviewed, and there is nothing to learn from: draw, "
    "tick slices off, or finish a review"
)
Teach = Callable[[store.Project, Candidate, LabelTable], Taught]
"""What a case teaches: the mask, and which voxels of it count."""


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
        That are learnt from: reviewed, or of a weak mask.
    weak : mapping of str to int
        Of each case that is learnt from and has them, voxels of its weak mask, by id.
    reviewed : int
        Cases that are learnt from and have voxels that a person reviewed.
    labelled : int
        Cases that are learnt from by the labels of their slices alone.
    told : mapping
        What else was noted when they were gathered.
    """

    dataset: Dataset
    ids: Mapping[str, str]
    voxels: int
    weak: Mapping[str, int] = field(default_factory=dict)
    reviewed: int = 0
    labelled: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)

    def sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids of the cases that are learnt from, and of those held out."""
        learnt, held = (
            tuple(self.ids[one.case] for one in self.dataset.split(name))
            for name in ("train", "val")
        )
        return learnt, held


def write_materials(
    project: store.Project,
    learners: Sequence[Candidate],
    judges: Sequence[Candidate],
    labels: LabelTable,
    folder: Path,
    *,
    teach: Teach = taught,
    told: Mapping[str, Any] | None = None,
    nothing: str = NOTHING,
) -> Work[Materials]:
    """Copy masks, and what of them counts, into a run's folder.

    Cases without a voxel that counts, or a slice of which something is known, are
    left out.

    Parameters
    ----------
    labels : LabelTable
        The masks' values; structures of the project are matched by name.
    teach : callable
        What a case teaches; what a person reviewed without it.
    told : mapping, optional
        What else is noted beside the list of cases; JSON.
    nothing : str
        What is told where nothing is left to learn from.

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
        row = _written(project, one, teach(project, one, labels), folder / DATA)
        if row["voxels"] or any(map(any, row["slices"])):
            rows.append({**row, "split": split})
    if not any(row["split"] == "train" for row in rows):
        raise UserError(nothing)
    content = json.dumps({"cases": rows, "told": dict(told or {})}, indent=1)
    atomic_write_bytes(folder / LIST, content.encode())
    return read_materials(folder, labels)


def read_materials(folder: Path, labels: LabelTable) -> Materials:
    """Read what `write_materials` wrote; `UserError` where it is not whole."""
    try:
        content = json.loads((folder / LIST).read_text(encoding="utf-8"))
        rows = content["cases"]
    except (OSError, ValueError, KeyError) as err:
        raise UserError(
            f"the run in {folder} has not got as far as its data ({err}): begin anew"
        ) from None
    cases = tuple(_case(row, folder / DATA) for row in rows)
    learnt = [row for row in rows if row["split"] == "train"]
    said = {
        row["name"]: SliceLabels(
            labels.names, np.array(row["slices"], np.uint8), "project"
        )
        for row in rows
        if row.get("slices")
    }
    return Materials(
        Dataset(folder, cases, labels, (), said),
        {row["name"]: row["id"] for row in rows},
        sum(row["voxels"] for row in learnt),
        {row["id"]: row["weak"] for row in learnt if row.get("weak")},
        sum(row["voxels"] > row.get("weak", 0) for row in learnt),
        sum(not row["voxels"] for row in learnt),
        content.get("told", {}),
    )


def _written(
    project: store.Project, one: Candidate, found: Taught, folder: Path
) -> dict[str, Any]:
    case = one.case
    store.open_source(case)  # an image that has changed is refused here
    mask, reviewed = found.mask, found.counts
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
        "voxels": found.voxels,
        "weak": found.weak,
        "slices": [] if found.states is None else found.states.tolist(),
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
