"""``diffseg project queue`` and ``review``: what to look at next, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.project_options import (
    Annotator,
    CaseName,
    Dir,
    Json,
    Second,
    slices_of,
    state_of,
    who,
)
from diffseg.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diffseg.project.review import Advice, Followed, Queue, Waiting
    from diffseg.project.store import Project

Strategy = Annotated[
    str,
    typer.Option(
        help="stratified, diverse, expected_dice, entropy, information, foreground "
        "or random."
    ),
]

Seed = Annotated[int, typer.Option(min=0, help="Of whatever is drawn.")]
Limit = Annotated[int, typer.Option(min=0, help="Cases at most; 0 shows all.")]
OnlyState = Annotated[
    str | None, typer.Option(help="Only not_started, in_progress, done or flagged.")
]
Next = Annotated[
    bool, typer.Option("--next", help="The one place to go to; noted as advice.")
]
At = Annotated[
    str | None, typer.Option(metavar="CASE", help="With --next: the case at hand.")
]
Share = Annotated[
    bool, typer.Option("--followed", help="How often advice was followed.")
]


def queue(
    folder: Dir,
    strategy: Strategy = "stratified",
    seed: Seed = 0,
    limit: Limit = 100,
    state: OnlyState = None,
    second: Second = False,
    next_: Next = False,
    at: At = None,
    share: Share = False,
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Show which cases wait for a look, those first that the ensemble advises.

    Example: diffseg project queue my-study --strategy information --limit 10
    """
    from diffseg.project import review, store

    if at is not None and not next_:
        raise UserError("--at is the case at hand of --next; give both")
    if next_ + share + (state is not None) > 1:
        raise UserError("--next, --followed and --state answer different questions")
    by, role = who(annotator), store.Role.SECOND if second else store.Role.FIRST
    with store.open_project(folder) as opened:
        if share:
            counts = review.followed(opened)
            emit(_counted(counts), json, lambda: _shares(counts))
            return
        follow(store.summarise(opened))
        if next_:
            here = None if at is None else store.find_case(opened, at).id
            found = review.advise(
                opened, annotator=by, case_id=here, strategy=strategy, seed=seed,
                role=role,
            )  # fmt: skip
            told = _advised(opened, found)
            emit({"advice": told}, json, _in_words(told))
            return
        states = review.OPEN if state is None else (state_of(state),)
        made = review.queue(
            opened, strategy=strategy, seed=seed, limit=limit or None, role=role,
            annotator=by, states=states,
        )  # fmt: skip
    emit(_queue(made), json, lambda: _table(made))


def review(
    folder: Dir,
    case: CaseName,
    state: Annotated[
        str | None, typer.Option(help="not_started, in_progress, done or flagged.")
    ] = None,
    comment: Annotated[
        str | None, typer.Option(help="Kept with the review, never in the log.")
    ] = None,
    seen: Annotated[
        str | None,
        typer.Option(metavar="a:b", help="Planes from a to before b were looked at."),
    ] = None,
    second: Second = False,
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Say how far the review of a case is, or show it.

    Example: diffseg project review my-study case01 --state done --comment "blurred"
    """
    from diffseg.project import review as reviews
    from diffseg.project import store

    by, planes = who(annotator), slices_of(seen, "--seen")
    role = store.Role.SECOND if second else store.Role.FIRST
    with store.open_project(folder) as opened:
        found = store.find_case(opened, case)
        if planes is not None:
            store.tick_slices(opened, found.id, range(*planes), annotator=by)
        now = store.review_of(opened, found.id, role)
        if state is not None or comment is not None:
            chosen = now.state if state is None else state_of(state)
            if second:  # blind, and by somebody else: that is checked here
                reviews.begin_second_reading(opened, found.id, annotator=by)
            now = store.set_review(
                opened, found.id, chosen, reviewer=by, role=role, comment=comment
            )
        ticked = store.seen_slices(opened, found.id, annotator=by)
    told = {
        "case": found.name,
        "role": role.value,
        "state": now.state.value,
        "reviewer": now.reviewer,
        "comment": now.comment,
        "correction": now.correction,
        "seen": list(ticked),
    }
    said = now.state.value.replace("_", " ")
    emit(told, json, f"{found.name}: {said}, {len(ticked)} slices seen by {by}")


def _queue(made: Queue) -> dict[str, Any]:
    return {
        "strategy": made.strategy,
        "seed": made.seed,
        "total": made.total,
        "cases": [_waiting(one) for one in made.cases],
    }


def _waiting(one: Waiting) -> dict[str, Any]:
    return {
        "id": one.case_id,
        "name": one.name,
        "state": one.state.value,
        "holder": one.holder,
        "proposal": one.proposal,
        "expected_error": one.error,
        "expected_errors": one.errors,
        "entropy": one.entropy,
        "mutual_information": one.information,
    }


def _table(made: Queue) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    if not made.cases:
        return "no case waits for a look"
    table = Table(box=None, pad_edge=False)
    for column in ("Case", "State", "Expected error", "Entropy", "Information", "At"):
        table.add_column(column)
    for one in made.cases:
        numbers = (one.error, one.entropy, one.information)
        cells = ["-" if value is None else f"{value:.3f}" for value in numbers]
        table.add_row(one.name, one.state.value.replace("_", " "), *cells, one.holder)
    last = f"{len(made.cases)} of {made.total}, {made.strategy}, seed {made.seed}"
    return Group(table, last)


def _advised(project: Project, found: Advice | None) -> dict[str, Any] | None:
    from diffseg.project import store

    if found is None:
        return None
    return {
        "case": store.case_of(project, found.case_id).name,
        "id": found.case_id,
        "slice": found.slice,
        "strategy": found.strategy,
        "seed": found.seed,
    }


def _in_words(told: dict[str, Any] | None) -> str:
    if told is None:
        return "nothing waits for a look"
    plane = "" if told["slice"] is None else f", slice {told['slice']}"
    return f"{told['case']}{plane}"


def _counted(counts: dict[str, Followed]) -> dict[str, Any]:
    return {
        "strategies": {
            name: {
                "given": one.given,
                "answered": one.answered,
                "followed": one.followed,
                "share": one.share,
            }
            for name, one in counts.items()
        }
    }


def _shares(counts: dict[str, Followed]) -> str:
    lines = [
        f"{name}: {one.followed} of {one.answered} followed ({one.given} given)"
        for name, one in counts.items()
    ]
    return "\n".join(lines) or "no advice was given yet"
