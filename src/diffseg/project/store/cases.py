"""Cases come in with their image's checksum, and are refused when it has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, insert, or_, select, update

from diffseg.errors import UserError, nearest
from diffseg.progress import Progress, Work, run
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.nouns import Case, Row, State, moment
from diffseg.project.store.project import Project
from diffseg.project.store.sources import (
    checksum,
    full_path,
    grid_of,
    kept_path,
    told_grid,
)
from diffseg.volume import Volume
from diffseg.volume.volume import PathOrPaths

_MOST_NAMES = 5000
"""Names among which the one that was meant is looked for."""


class SourceChanged(UserError):
    """A case's image is not there, or not the one that was added."""


@dataclass(frozen=True, slots=True)
class Addition:
    """An image that is to become a case.

    Parameters
    ----------
    image : path or sequence of paths
        As `Volume.read` takes it.
    name : str, optional
        The image's stem without it.
    frame : int, optional
    series : str, optional
    """

    image: PathOrPaths
    name: str | None = None
    frame: int | None = None
    series: str | None = None


def add_cases(
    project: Project, additions: Sequence[Addition], *, annotator: str
) -> Work[tuple[Case, ...]]:
    """Add images: all of them, or none.

    Yields
    ------
    Progress
        One an image.

    Raises
    ------
    UserError
        An image cannot be read, or a name or an image is in the project already.
    """
    rows = []
    for index, addition in enumerate(additions):
        yield Progress("read", index, len(additions))
        rows.append(_row(project.folder, addition))
    with project.write() as db:
        now = project.now(db)
        for row in rows:
            _require_new(db, row)
            db.execute(insert(schema.cases), {**row, "added": now, "changed": now})
            details = {"sha256": row["sha256"], "modality": row["modality"]}
            note(db, now, annotator, "add", case_id=row["id"], details=details)
    return tuple(case_of(project, row["id"]) for row in rows)


def add_case(
    project: Project,
    image: PathOrPaths,
    *,
    annotator: str,
    name: str | None = None,
    frame: int | None = None,
    series: str | None = None,
) -> Case:
    """Add one image; see `add_cases`."""
    addition = Addition(image, name, frame, series)
    return run(add_cases(project, [addition], annotator=annotator))[0]


def case_of(project: Project, case_id: str) -> Case:
    """Look a case up by its id; `UserError` where there is none."""
    with project.read() as db:
        row = db.execute(
            select(schema.cases).where(schema.cases.c.id == case_id)
        ).mappings()
        found = row.one_or_none()
    if found is None:
        raise UserError(f"the project has no case of id {case_id}")
    return _case(project.folder, found)


def find_case(project: Project, name: str) -> Case:
    """Look a case up by its name, else by its id.

    Raises
    ------
    UserError
        There is none; the nearest name is told.
    """
    cases = schema.cases.c
    with project.read() as db:
        rows = db.execute(
            select(schema.cases).where(or_(cases.name == name, cases.id == name))
        ).mappings()
        found = sorted(rows, key=lambda row: row["name"] != name)
        if found:
            return _case(project.folder, found[0])
        names = db.execute(select(cases.name).limit(_MOST_NAMES)).scalars().all()
    raise UserError(f"the project has no case {name!r}{nearest(name, names)}")


def source_state(case: Case) -> str | None:
    """Say in a clause what has become of a case's image; None if it is as it was."""
    gone = [path for path in case.paths if not path.exists()]
    if gone:
        return f"its image {gone[0]} is not there"
    if checksum(case.paths) != case.sha256:
        return f"its image {case.paths[0]} has changed since it was added"
    return None


def open_source(case: Case) -> Volume:
    """Open a case's image, once its checksum has been found to be the same.

    Raises
    ------
    SourceChanged
        The image is not there, or another one; the message says what to do.
    """
    state = source_state(case)
    if state is not None:
        raise SourceChanged(
            f"case {case.name!r}: {state}; put it back, or take another as it is with: "
            f"diffseg project add DIR IMAGE --again {case.name!r}"
        )
    return Volume.read(case.paths, frame=case.frame, series=case.series)


def relink_case(
    project: Project,
    case_id: str,
    image: PathOrPaths,
    *,
    annotator: str,
    frame: int | None = None,
    series: str | None = None,
) -> Case:
    """Take an image as that of a case, because it was moved or has changed.

    Labels, proposals and corrections stay: they lie on its grid, which must be the
    same. Where the image's checksum is another one, reviews that had begun are
    flagged: what was reviewed is no longer what is there.

    Raises
    ------
    UserError
        The image cannot be read, or lies on another grid.
    """
    case = case_of(project, case_id)
    chosen_frame = case.frame if frame is None else frame
    addition = Addition(image, case.name, chosen_frame, series or case.series)
    row = _row(project.folder, addition)
    if not grid_of(row["grid"]).same_as(case.grid):
        raise UserError(
            f"case {case.name!r}: the image is not on the grid of its masks "
            f"({grid_of(row['grid']).shape} and {case.grid.shape}, or another place); "
            "add it as a case of its own"
        )
    changed = row["sha256"] != case.sha256
    kept = ("paths", "sha256", "frame", "series", "modality")
    reviews = schema.reviews.c
    with project.write() as db:
        now = project.now(db)
        db.execute(
            update(schema.cases)
            .where(schema.cases.c.id == case_id)
            .values({name: row[name] for name in kept} | {"changed": now})
        )
        if changed:
            db.execute(
                update(schema.reviews)
                .where(reviews.case_id == case_id)
                .where(reviews.state != State.NOT_STARTED.value)
                .values(state=State.FLAGGED.value)
            )
        details = {"sha256": row["sha256"], "before": case.sha256}
        note(db, now, annotator, "relink", case_id=case_id, details=details)
    return case_of(project, case_id)


def locked(db: Connection, case_id: str) -> Mapping[str, Any]:
    """Row of a case that nobody else writes about until the transaction ends."""
    rows = db.execute(
        select(schema.cases).where(schema.cases.c.id == case_id).with_for_update()
    ).mappings()
    row = rows.one_or_none()
    if row is None:
        raise UserError(f"the project has no case of id {case_id}")
    return dict(row)


def _row(folder: Path, addition: Addition) -> dict[str, Any]:
    volume = Volume.read(addition.image, frame=addition.frame, series=addition.series)
    name = (addition.name or volume.name).strip()
    if not name:
        raise UserError(f"{volume.source.where}: give the case a name (--name)")
    paths = [Path(path) for path in volume.source.paths]
    return {
        "id": uuid4().hex[:16],
        "name": name,
        "paths": [kept_path(folder, path) for path in paths],
        "sha256": checksum(paths),
        "grid": told_grid(volume.grid),
        "frame": addition.frame,
        "series": addition.series or volume.source.series_uid,
        "modality": volume.source.modality,
        "versions": 0,
    }


def _require_new(db: Connection, row: Row) -> None:
    cases = schema.cases.c
    same = [
        cases.sha256 == row["sha256"],
        cases.frame.is_not_distinct_from(row["frame"]),
        cases.series.is_not_distinct_from(row["series"]),
    ]
    taken = db.execute(select(cases.name).where(cases.name == row["name"])).scalar()
    if taken is not None:
        raise UserError(
            f"a case named {taken!r} is in the project already; give another name "
            "(--name), or the image anew (--again)"
        )
    twin = db.execute(select(cases.name).where(*same).limit(1)).scalar()
    if twin is not None:
        raise UserError(
            f"the image of {row['name']!r} is in the project already, as case {twin!r}"
        )


def _case(folder: Path, row: Row) -> Case:
    return Case(
        id=row["id"],
        name=row["name"],
        paths=tuple(full_path(folder, kept) for kept in row["paths"]),
        sha256=row["sha256"],
        grid=grid_of(row["grid"]),
        frame=row["frame"],
        series=row["series"],
        modality=row["modality"],
        added=moment(row["added"]),
        versions=row["versions"],
    )
