"""``diffseg project agreement``: how far two readings of each case agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.project_options import Annotator, Dir, Json, who

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diffseg.project.review import AgreementReport


def agreement(
    folder: Dir,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="CASE", help="Only this one; give it several times."),
    ] = None,
    consensus: Annotated[
        str | None,
        typer.Option(
            metavar="staple|majority",
            help="Save the consensus as each case's newest version.",
        ),
    ] = None,
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Compare the readings of cases that were read twice: Dice and HD95.

    Example: diffseg project agreement my-study --json
    """
    from diffseg.project import review, store

    by = who(annotator)
    with store.open_project(folder) as opened:
        chosen = None if not case else [store.find_case(opened, one).id for one in case]
        made = follow(review.agreement(opened, chosen))
        saved = {}
        if consensus is not None:
            for one in made.cases:
                kept = review.save_consensus(
                    opened,
                    one.case_id,
                    annotator=by,
                    method=consensus,  # type: ignore[arg-type]
                )
                saved[one.name] = kept.version
    told = {"cases": made.cases, "pooled": made.pooled, "consensus": saved}
    emit(told, json, lambda: _table(made, saved))


def _table(made: AgreementReport, saved: dict[str, int]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    if not made.cases:
        return "no case was read twice; see diffseg project review --second"
    table = Table(box=None, pad_edge=False)
    for column in ("Case", "Structure", "Dice", "HD95 (mm)", "First", "Second"):
        table.add_column(column)
    for case in made.cases:
        for name, one in case.structures.items():
            far = _mm(one.hd95_mm)
            sizes = (str(one.first), str(one.second))
            table.add_row(case.name, name, f"{one.dice:.3f}", far, *sizes)
    for name, pool in made.pooled.items():
        dice = f"{pool.dice:.3f}"
        table.add_row("all voxels", name, dice, _mm(pool.hd95_mm_mean), "", "")
    lines = [f"{name}: saved as version {number}" for name, number in saved.items()]
    return Group(table, *lines)


def _mm(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
