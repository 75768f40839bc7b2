"""A project as a data set of image-level labels: what annotators said, and no mask."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from pathlib import Path

from diffseg.domain import LabelTable
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from diffseg.project import store
from diffseg.project.store.slice_labels import slice_labels_of
from diffseg_training.dataset import Case, Dataset
from diffseg_training.dataset_classes import label_table

PATIENT = r"^(sub-[A-Za-z0-9]+)"
"""First group: the patient in a case's name; other cases are a patient each."""
VAL_SHARE = 0.25


def labelled_project(
    folder: Path, *, patient: str = PATIENT, share: float = VAL_SHARE, seed: int = 0
) -> Dataset:
    """Cases of a project of which something was said, and what of each slice.

    Parameters
    ----------
    folder : Path
    patient : str
        Regular expression whose first group in a case's name is the patient.
    share : float
        Of the patients that weights are chosen on, at least one of several; drawn by
        a hash under the seed, so that a patient who comes later moves no other.

    Raises
    ------
    UserError
        It is no project, or nothing was said of any case.
    """
    project = store.open_project(folder)
    try:
        said = [
            store.case_of(project, line.id)
            for line in store.list_cases(project, limit=None).lines
            if store.statements_of(project, line.id)
        ]
        if not said:
            raise UserError(
                f"nothing was said of any case of project {folder}: label some with: "
                "diffseg project label DIR CASE NAME --slices a:b"
            )
        table = _table(project, folder, said)
        labels: dict[str, SliceLabels] = {
            case.name: slice_labels_of(project, case.id, table.names) for case in said
        }
    finally:
        project.close()
    held = _held_out({_group(case, patient) for case in said}, share, seed)
    cases = tuple(
        Case(
            case.name,
            group := _group(case, patient),
            "val" if group in held else "train",
            case.paths,
            None,
            labels[case.name].image,
            frame=case.frame,
            series=case.series,
        )
        for case in said
    )
    return Dataset(folder, cases, table, (), labels)


def _table(
    project: store.Project, folder: Path, cases: Iterable[store.Case]
) -> LabelTable:
    """Structures of which something was said, as the project's table has them."""
    names = {
        one.label for case in cases for one in store.statements_of(project, case.id)
    }
    whole = store.label_table(project)
    if whole is None:
        return label_table(folder, dict(enumerate(sorted(names), start=1)))
    return LabelTable(labels=tuple(one for one in whole.each() if one.name in names))


def _group(case: store.Case, patient: str) -> str:
    """The patient, as far as it is known: else whatever shares the image's files."""
    found = re.search(patient, case.name)
    return found[1] if found and found[1] else case.sha256


def _held_out(groups: set[str], share: float, seed: int) -> frozenset[str]:
    def key(group: str) -> str:
        return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()

    most = min(len(groups) - 1, max(1, math.ceil(share * len(groups))))
    return frozenset(sorted(groups, key=key)[:most])
