"""A dataset: cases with their patients, splits, reference masks and labels.

One layout is ours (`manifest.csv`), the other is an nnU-Net raw folder; both
become the same rows, are checked once, and give the same `Dataset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, LabelTable, Presence
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from diffseg.volume import Volume, read_mask
from diffseg_training.dataset_classes import infer_labels, label_table
from diffseg_training.manifest import read_classes, read_manifest
from diffseg_training.nnunet import read_nnunet
from diffseg_training.rows import SPLITS, Row


@dataclass(frozen=True, slots=True)
class Case:
    """One image of a patient, and what is known of it.

    Parameters
    ----------
    case, group : str
        Name of the case, unique in its dataset; name of the patient.
    split : str
        ``train``, ``val``, ``test`` or empty.
    images : tuple of Path
        The files that are the channels of the image.
    mask, mask_2 : Path, optional
        Reference mask, and a second rater's.
    labels : ImageLabels
        What is present and absent; a structure that is not named is unknown.
    reviewed : Path, optional
        Mask of the voxels that a person reviewed, 1; the others are not learnt from.
        Without it all were.
    frame : int, optional
        Of a 4D image.
    series : str, optional
        DICOM SeriesInstanceUID, where a folder holds several.
    """

    case: str
    group: str
    split: str
    images: tuple[Path, ...]
    mask: Path | None
    labels: ImageLabels
    mask_2: Path | None = None
    reviewed: Path | None = None
    frame: int | None = None
    series: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Checked cases and the structures that their masks hold.

    `warnings` are one-line remarks on what could not be used; `slice_labels` is what is
    known slice by slice, by case, where more is known than of the whole image.
    """

    root: Path
    cases: tuple[Case, ...]
    labels: LabelTable
    warnings: tuple[str, ...] = ()
    slice_labels: Mapping[str, SliceLabels] = field(default_factory=dict)

    def split(self, name: str) -> tuple[Case, ...]:
        """Cases of one split (``train``, ``val``, ``test``), or ``all`` of them.

        Raises
        ------
        UserError
            There is no such split, or it holds no case.
        """
        if name != "all" and name not in SPLITS:
            raise UserError(
                f"split {name!r} is not one of {', '.join(SPLITS)} or all ({self.root})"
            )
        cases = tuple(c for c in self.cases if name in ("all", c.split))
        if not cases:
            held = [*sorted({c.split for c in self.cases if c.split}), "all"]
            raise UserError(
                f"split {name!r} of {self.root} holds no case; give {' or '.join(held)}"
            )
        return cases

    def for_training(self) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
        """Cases of ``train`` to learn from, and of ``val`` to choose weights on.

        Raises
        ------
        UserError
            One of the splits holds no case.
        """
        found = [tuple(c for c in self.cases if c.split == s) for s in ("train", "val")]
        for name, use, cases in zip(
            ("train", "val"), ("learn from", "choose weights on"), found, strict=True
        ):
            if not cases:
                raise UserError(
                    f"{self.root} has no case to {use}: give it a manifest.csv whose "
                    f"column split says {name} for some patients"
                )
        return found[0], found[1]


def load_dataset(path: str | Path, *, masks: bool = True) -> Dataset:
    """Read and check a dataset; without `masks`, as if it had none.

    Parameters
    ----------
    path : path
        A manifest, or a folder with ``manifest.csv`` (and ``classes.json``), or
        an nnU-Net raw folder with ``dataset.json``; without masks, a project, too.

    Raises
    ------
    UserError
        The dataset cannot be used as it stands: a column or a file is missing,
        a patient stands in two splits, a name is unknown or given twice.
    """
    path = Path(path)
    if path.is_dir():
        names = ("manifest.csv", "dataset.json", "project.json")
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise UserError(
                f"folder {path} is no dataset; it needs a manifest.csv, or the "
                "dataset.json of an nnU-Net raw folder"
            )
        path = found
    if not path.is_file():
        raise UserError(
            f"dataset {path} does not exist; give a manifest.csv or its folder"
        )
    if path.name == "project.json":
        if masks:
            raise UserError(
                f"{path.parent} is a project, of which image-level labels alone can be "
                "learnt from like this; of its masks with: diffseg project finetune"
            )
        from diffseg_training.labelled_project import labelled_project

        return labelled_project(path.parent)
    classes: dict[int, str] | None
    if path.name == "dataset.json":
        classes, rows = read_nnunet(path)
    else:
        classes, rows = read_classes(path.parent / "classes.json"), read_manifest(path)
    rows = rows if masks else [replace(row, mask="", mask_2="") for row in rows]
    return _build(path, rows, classes)


def read_image(case: Case) -> Volume:
    """Read the image of a case, its files as channels."""
    files = case.images[0] if len(case.images) == 1 else list(case.images)
    return Volume.read(files, frame=case.frame, series=case.series)


def read_reference(case: Case, volume: Volume, labels: LabelTable) -> NDArray[np.uint8]:
    """Read the reference mask of a case.

    Returns
    -------
    (Z, Y, X) uint8 ndarray
        On the grid of `volume`, in the values of `labels`.

    Raises
    ------
    UserError
        The case has no mask, or one on another grid or with other values.
    """
    if case.mask is None:
        raise UserError(f"case {case.case!r} has no reference mask; add it to mask")
    return read_mask(case.mask, like=volume, classes=labels.values)


def _build(path: Path, rows: Sequence[Row], classes: dict[int, str] | None) -> Dataset:
    if not rows:
        raise UserError(f"{path} lists no case; give it one line a case")
    _check_rows(rows)
    files = [_files(path.parent, row) for row in rows]
    if classes is None:
        labels = infer_labels(path, rows, [mask for _, mask, _ in files])
    else:
        labels = label_table(path.parent / "classes.json", classes)
    cases, warnings = [], []
    for row, (images, mask, mask_2) in zip(rows, files, strict=True):
        strangers = [name for name in row.labels or () if name not in labels.names]
        if strangers and classes is not None:
            raise UserError(
                f"{row.where}: label {', '.join(strangers)} is not one of the "
                f"classes {', '.join(labels.names)}"
            )
        if strangers:
            warnings.append(
                f"image-level labels of {row.case} are not used: without a "
                f"classes.json the classes are called {', '.join(labels.names)}"
            )
        known = None if strangers else row.labels
        said = _image_labels(known, labels)
        cases.append(Case(row.case, row.group, row.split, images, mask, said, mask_2))
    return Dataset(path.parent, tuple(cases), labels, tuple(warnings))


def _check_rows(rows: Iterable[Row]) -> None:
    seen: set[str] = set()
    split_of: dict[str, str] = {}
    for row in rows:
        for name, cell in (("case", row.case), ("group", row.group)):
            if not cell:
                raise UserError(f"{row.where} has no {name}; give it a name")
        if row.case in seen:
            raise UserError(f"{row.where}: case {row.case!r} is listed twice")
        seen.add(row.case)
        if row.split and row.split not in SPLITS:
            raise UserError(
                f"{row.where}: split {row.split!r} is not one of "
                f"{', '.join(SPLITS)} or empty"
            )
        if row.split and split_of.setdefault(row.group, row.split) != row.split:
            raise UserError(
                f"{row.where}: group {row.group!r} stands in two splits, "
                f"{split_of[row.group]} and {row.split}; give a patient one split"
            )


def _files(root: Path, row: Row) -> tuple[tuple[Path, ...], Path | None, Path | None]:
    if not row.images:
        raise UserError(f"{row.where} has no image; give its path")

    def find(kind: str, name: str) -> Path:
        path = root / name
        if not path.exists():
            raise UserError(f"{row.where}: {kind} {path} does not exist; mend the path")
        return path

    return (
        tuple(find("image", name) for name in row.images),
        find("mask", row.mask) if row.mask else None,
        find("mask_2", row.mask_2) if row.mask_2 else None,
    )


def _image_labels(names: Iterable[str] | None, labels: LabelTable) -> ImageLabels:
    if names is None:
        return ImageLabels()
    present = set(names)
    return ImageLabels(
        {
            name: Presence.PRESENT if name in present else Presence.ABSENT
            for name in labels.names
        }
    )
