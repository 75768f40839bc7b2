"""The project's label table: labels come in, and leave only while nothing uses them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, func, insert, select, update

from diffseg.domain import Label, LabelTable
from diffseg.errors import UserError, nearest
from diffseg.project.store import schema
from diffseg.project.store.auditing import note
from diffseg.project.store.project import Project, label_rows

COLORS = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""Of labels that come in by name; told apart by the colour-blind, too."""
_LABELS = schema.labels


def label_table(project: Project) -> LabelTable | None:
    """The project's label table; None while no label has come in."""
    with project.read() as db:
        found = labels_in(db)
    return LabelTable(labels=found) if found else None


def set_label_table(project: Project, table: LabelTable, *, annotator: str) -> None:
    """Make another label table the project's.

    Raises
    ------
    UserError
        A label that masks or image-level labels use is not in it, or would get
        another value.
    """
    with project.write() as db:
        before = {label.name: label for label in labels_in(db)}
        after = {label.name: label for label in table.each()}
        for name, label in before.items():
            if name in after and after[name].value == label.value:
                continue
            spoken, drawn = uses_of(db, name)
            if drawn or (spoken and name not in after):
                what = "removed" if name not in after else "given another value"
                raise UserError(
                    f"label {name!r} cannot be {what}: {spoken} image-level labels and "
                    f"{drawn} masks use it; keep it, or correct those first"
                )
        # Rows that image-level labels point to stay; values are freed first.
        gone = [name for name in before if name not in after]
        said = schema.image_labels  # of these, only what was undone is left
        db.execute(delete(said).where(said.c.label.in_(gone)))
        db.execute(delete(_LABELS).where(_LABELS.c.name.in_(gone)))
        db.execute(update(_LABELS).values(value=-_LABELS.c.value))
        for row in label_rows(table):
            if row["name"] in before:
                at = _LABELS.c.name == row["name"]
                db.execute(update(_LABELS).where(at).values(row))
            else:
                db.execute(insert(_LABELS), row)
        details = {"labels": {name: label.value for name, label in after.items()}}
        note(db, project.now(db), annotator, "labels", details=details)


def uses_of(db: Connection, name: str) -> tuple[int, int]:
    """How many image-level labels that stand, and how many masks, use a label."""
    said = schema.image_labels.c
    standing = db.execute(
        select(func.count()).where(said.label == name, ~said.undone)
    ).scalar_one()
    drawn = 0
    for classes in db.execute(select(schema.corrections.c.classes)).scalars():
        drawn += any(one["name"] == name and one["voxels"] for one in classes)
    return standing, drawn


def labels_in(db: Connection) -> tuple[Label, ...]:
    """Labels of the table, in its order."""
    rows = db.execute(select(_LABELS).order_by(_LABELS.c.position)).mappings()
    names = ("name", "value", "color", "code")
    return tuple(Label(**{name: row[name] for name in names}) for row in rows)


def require_label(db: Connection, name: str, new: bool) -> None:
    """See that a label is in the table; take it in where that is allowed.

    Raises
    ------
    UserError
        It is not, and may not; the nearest label is told.
    """
    known = labels_in(db)
    if any(label.name == name for label in known):
        return
    is_open = db.execute(select(schema.project.c.open_labels)).scalar_one()
    if not new:
        names = [label.name for label in known]
        meant = nearest(name, names)
        if meant or not is_open:
            listed = ", ".join(names) or "none yet"
            raise UserError(
                f"label {name!r} is not in the project's table ({listed}){meant}; "
                "take it in as a new one",
                option="--new",
            )
    take_in(db, [(name, None)])


def take_in(db: Connection, wanted: Iterable[tuple[str, int | None]]) -> None:
    """Add labels at the end of the table.

    Parameters
    ----------
    wanted : iterable of (name, value)
        The lowest free value without one.

    Raises
    ------
    UserError
        No value is left, or a name is none.
    """
    known = list(labels_in(db))
    for name, value in wanted:
        used = {label.value for label in known}
        chosen = value or next((v for v in range(1, 256) if v not in used), None)
        if chosen is None or not name.strip():
            raise UserError(f"label {name!r} cannot be taken in; 255 labels are most")
        color = COLORS[(chosen - 1) % len(COLORS)]
        label = Label(name=name, value=chosen, color=color, code=None)
        db.execute(insert(_LABELS), {"position": len(known), **label.model_dump()})
        known.append(label)
