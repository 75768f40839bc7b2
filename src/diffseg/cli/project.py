"""``diffseg project``: cases, labels and corrections in a folder that loses nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.project_agreement import agreement
from diffseg.cli.project_group import ProjectCommands
from diffseg.cli.project_keep import check, export, recover
from diffseg.cli.project_options import (
    Annotator,
    CaseName,
    Dir,
    Json,
    slices_of,
    who,
)
from diffseg.cli.project_propose import propose
from diffseg.cli.project_review import queue, review
from diffseg.cli.project_show import audit, list_
from diffseg.errors import UserError

if TYPE_CHECKING:
    from diffseg.domain import LabelTable
    from diffseg.project.store import Case, Statement

project = typer.Typer(
    cls=ProjectCommands,
    help="Keep cases, labels and corrections in a project.\n\n"
    "Example: diffseg project create my-study --labels anterior,posterior",
)


@project.command()
def create(
    folder: Dir,
    labels: Annotated[
        str, typer.Option(metavar="NAME[=VALUE],...", help="The structures.")
    ] = "",
    model: Annotated[
        str | None,
        typer.Option(metavar="ID[@VERSION]|DIR", help="Take this model's structures."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="PostgreSQL for a team; else a file in DIR."),
    ] = None,
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Make a project in a new folder; without structures they come in as named.

    Example: diffseg project create my-study --model hippocampus-mri
    """
    from diffseg.project.store import create_project

    if labels and model:
        raise UserError("give the structures or a model, not both")
    table = _table(labels) if labels else _table_of(model) if model else None
    with create_project(
        folder, labels=table, database=database, annotator=who(annotator)
    ) as made:
        told = {
            "project": str(made.folder),
            "id": made.manifest.id,
            "database": made.manifest.database,
            "labels": list(table.names) if table else [],
        }
        emit(told, json, f"{made.folder} is a project")


@project.command()
def add(
    folder: Dir,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Files or folders; channels by ';'."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the case; else the image's stem.")
    ] = None,
    again: Annotated[
        str | None,
        typer.Option(
            metavar="CASE", help="The image of this case was moved or has changed."
        ),
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Of a 4D image.")] = None,
    series: Annotated[
        str | None, typer.Option(help="DICOM series, where a folder holds several.")
    ] = None,
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Add images as cases: all of them, or none.

    Example: diffseg project add my-study scans/*.nii.gz
    """
    from diffseg.project import store

    if (name is not None or again is not None) and len(images) > 1:
        raise UserError("--name and --again are for one image; give one at a time")
    by = who(annotator)
    with store.open_project(folder) as opened:
        if again is not None:
            case = store.find_case(opened, again)
            cases: tuple[Case, ...] = (
                store.relink_case(
                    opened, case.id, images[0],
                    annotator=by, frame=frame, series=series,
                ),
            )  # fmt: skip
        else:
            additions = [store.Addition(one, name, frame, series) for one in images]
            cases = follow(store.add_cases(opened, additions, annotator=by))
    said = "\n".join(f"{case.name}: {case.paths[0]}" for case in cases)
    emit({"cases": [_brief(case) for case in cases]}, json, said)


@project.command()
def label(
    folder: Dir,
    case: CaseName,
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[=absent]", help="And present or unknown; several by ','."
        ),
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option(metavar="a:b", help="Planes from a to before b; else the case."),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Take a new label into the project's table.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back what you said last of the case.")
    ] = False,
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Say which structures are present or absent in a case, or in slices of it.

    Example: diffseg project label my-study case01 anterior,posterior=absent
    """
    from diffseg.domain import ImageLabels
    from diffseg.project import store

    if bool(labels) == undo:
        raise UserError("say NAME, NAME=absent or NAME=unknown; or --undo alone")
    by, between = who(annotator), slices_of(slices)
    with store.open_project(folder) as opened:
        found = store.find_case(opened, case)
        if undo:
            gone = store.undo_label(opened, found.id, annotator=by)
            if gone is None:
                raise UserError(f"{by} has said nothing of case {found.name!r}")
            said: tuple[Statement, ...] = (gone,)
        else:
            states = dict(ImageLabels.parse(",".join(labels or ())))
            said = store.set_labels(
                opened, found.id, states, annotator=by, slices=between, new=new
            )
        now = store.image_labels_of(opened, found.id)
    told = {
        "case": found.name,
        "undone" if undo else "said": [_said(one) for one in said],
        "labels": {name: state.value for name, state in now.items()},
    }
    lines = [f"{name}: {state.value}" for name, state in now.items()]
    emit(told, json, "\n".join(lines) or f"nothing is known of {found.name}")


project.command("list")(list_)
project.command()(queue)
project.command()(propose)
project.command()(review)
project.command()(agreement)
project.command()(audit)
project.command()(check)
project.command()(recover)
project.command()(export)


def _table(text: str) -> LabelTable:
    from pydantic import ValidationError

    from diffseg.domain import Label, LabelTable
    from diffseg.project.store.tables import COLORS

    made = []
    for index, part in enumerate(text.split(",")):
        name, _, value = part.partition("=")
        number = value.strip() or str(index + 1)
        if not (name.strip() and number.isdecimal() and 1 <= int(number) <= 255):
            raise UserError(
                f"label {part!r} is not NAME or NAME=VALUE with a value from 1 to 255",
                option="--labels",
            )
        color = COLORS[index % len(COLORS)]
        made.append(Label(name=name.strip(), value=int(number), color=color, code=None))
    try:
        return LabelTable(labels=tuple(made))
    except ValidationError as err:
        why = err.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(why, option="--labels") from err


def _table_of(model: str) -> LabelTable:
    from diffseg.models import find_model

    return find_model(model).card.labels


def _brief(case: Case) -> dict[str, Any]:
    return {
        "id": case.id,
        "name": case.name,
        "paths": [str(path) for path in case.paths],
        "sha256": case.sha256,
        "shape": list(case.grid.shape),
        "modality": case.modality,
        "frame": case.frame,
        "series": case.series,
    }


def _said(statement: Statement) -> dict[str, Any]:
    told = asdict(statement)
    return told | {"state": statement.state.value, "at": statement.at.isoformat()}
