"""``diffseg project list`` and ``audit``: what is in a project, and who did what."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit
from diffseg.cli.project_options import Dir, Json, state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from diffseg.project.store import Entry, Page


def list_(
    folder: Dir,
    sort: Annotated[
        str,
        typer.Option(help="name, added, changed, versions, state or modality."),
    ] = "name",
    reverse: Annotated[bool, typer.Option("--reverse", help="The last first.")] = False,
    state: Annotated[
        str | None,
        typer.Option(help="Only not_started, in_progress, done or flagged."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Only cases of which this label was said.")
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="Only cases whose name holds this.")
    ] = None,
    offset: Annotated[int, typer.Option(min=0, help="Lines to leave out.")] = 0,
    limit: Annotated[
        int, typer.Option(min=0, help="Lines at most; 0 shows all.")
    ] = 100,
    json: Json = False,
) -> None:
    """List the cases of a project.

    Example: diffseg project list my-study --sort changed --reverse --json
    """
    from diffseg.project import store

    wanted = None if state is None else state_of(state)
    with store.open_project(folder) as opened:
        page = store.list_cases(
            opened, order=sort, descending=reverse, offset=offset,  # type: ignore[arg-type]
            limit=limit or None, state=wanted, label=label, search=search,
        )  # fmt: skip
        counts = store.state_counts(opened)
        table = store.label_table(opened)
    told = {
        "total": page.total,
        "states": {one.value: number for one, number in counts.items()},
        "labels": [] if table is None else [dict(one) for one in table.each()],
        "cases": [_told(line) for line in page.lines],
    }
    emit(told, json, lambda: _listing(page))


def audit(
    folder: Dir,
    case: Annotated[
        str | None, typer.Option(metavar="CASE", help="Only of this case.")
    ] = None,
    since: Annotated[
        int, typer.Option(metavar="ID", min=0, help="Only what came after.")
    ] = 0,
    json: Json = False,
) -> None:
    """Show who did what and when: voxels, model, version, checksum, seed.

    Example: diffseg project audit my-study --case case01
    """
    from diffseg.project import store

    with store.open_project(folder) as opened:
        id = None if case is None else store.find_case(opened, case).id
        entries = tuple(store.audit(opened, case_id=id, since=since))
    emit({"entries": [_told(one) for one in entries]}, json, lambda: _log(entries))


def _told(noun: Any) -> dict[str, Any]:
    plain = {}
    for name, value in asdict(noun).items():
        if hasattr(value, "isoformat"):
            value = value.isoformat()
        plain[name] = getattr(value, "value", value)
    return plain


def _listing(page: Page) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    if not page.total:
        return "no case is here; add one with: diffseg project add DIR IMAGE"
    table = Table(box=None, pad_edge=False)
    for column in ("Case", "State", "Versions", "Modality", "Changed", "At work"):
        table.add_column(column)
    for line in page.lines:
        state = line.state.value.replace("_", " ")
        changed = f"{line.changed:%Y-%m-%d %H:%M}"
        more = (str(line.versions), line.modality or "", changed, line.holder)
        table.add_row(line.name, state, *more)
    return Group(table, f"{len(page.lines)} of {page.total}")


def _log(entries: Sequence[Entry]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("Id", "When", "Who", "What", "Case", "Voxels", "Model", "Seed"):
        table.add_column(column)
    for one in entries:
        model = f"{one.model_id}@{one.model_version}" if one.model_id else ""
        table.add_row(
            str(one.id),
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            one.who,
            one.action,
            one.case_id or "",
            "" if one.voxels is None else str(one.voxels),
            model,
            "" if one.seed is None else str(one.seed),
        )
    return table
