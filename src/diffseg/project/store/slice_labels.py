"""What annotators said of a project's cases, as labels to learn or propose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from diffseg.project.store import schema
from diffseg.project.store.labelling import statements_of
from diffseg.project.store.nouns import Statement
from diffseg.project.store.project import Project


def slice_labels_of(
    project: Project, case_id: str, names: Sequence[str] | None = None
) -> SliceLabels:
    """Labels of the slices of a case, from all that was said of it and stands.

    Parameters
    ----------
    names : sequence of str, optional
        Structures, in order of class index; without it those that something was said
        of, in order of their names.

    Raises
    ------
    UserError
        There is no such case.
    """
    said: dict[str, list[Statement]] = {}
    for one in statements_of(project, case_id):
        said.setdefault(one.label, []).append(one)
    with project.read() as db:
        grid: Mapping[str, Sequence[int]] | None = db.execute(
            select(schema.cases.c.grid).where(schema.cases.c.id == case_id)
        ).scalar_one_or_none()
    if grid is None:
        raise UserError(f"the project has no case of id {case_id}")
    wanted = sorted(said) if names is None else names
    if not wanted:
        raise UserError(f"nothing was said of case {case_id}; label it first")
    return SliceLabels.of_said(said, wanted, int(grid["shape"][0]), "project")
