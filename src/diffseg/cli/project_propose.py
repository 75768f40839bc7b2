"""``diffseg project propose``: a model proposes for the cases of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.project_options import Annotator, Dir, Json, who
from diffseg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffseg.domain import ModelCard
    from diffseg.project.review import Proposed
    from diffseg.project.store import Case, Project, StoredProposal


def propose(
    folder: Dir,
    model: Annotated[
        str, typer.Option(metavar="ID[@VERSION]|DIR", help="See diffseg models list.")
    ],
    cases: Annotated[
        str, typer.Option(metavar="CASE,...", help="Only these; else all cases.")
    ] = "",
    members: Annotated[
        int | None,
        typer.Option(min=1, help="Draws of the ensemble; else the model's own."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of each member; else the model's own."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Every random number follows from it.")
    ] = 0,
    device: Annotated[
        str, typer.Option(envvar="DIFFSEG_DEVICE", help="auto, cpu, cuda or mps.")
    ] = "auto",
    again: Annotated[
        bool,
        typer.Option("--again", help="For cases, too, that have such a proposal."),
    ] = False,
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Propose masks for the cases of a project, and keep each with its provenance.

    What is said of a case at image level is used. A case with a proposal of the same
    model and seed is skipped, so that what was cancelled goes on where it was.

    Example: diffseg project propose my-study --model hippocampus-mri --members 8
    """
    from diffseg.models import find_model
    from diffseg.project import review, store
    from diffseg.segmenters import load_segmenter

    by, card = who(annotator), find_model(model).card
    with store.open_project(folder) as opened:
        chosen = _chosen(opened, cases)
        _check_table(opened, card)
        segmenter = load_segmenter(model, device=device)
        wish = review.Wish(members, steps, seed, again)
        done = follow(
            review.propose_cases(opened, segmenter, chosen, annotator=by, wish=wish)
        )
    if done.refused:
        name, why = next(iter(done.refused.items()))
        raise UserError(
            f"{len(done.refused)} of {len(chosen)} cases were refused, {name!r} "
            f"because {why}; {len(done.made)} were proposed for and are kept"
        )
    names = {one.id: one.name for one in chosen}
    emit(_told(done, names), json, "\n".join(_lines(done, names)))


def _chosen(project: Project, text: str) -> Sequence[Case]:
    from diffseg.project import store

    wanted = [name.strip() for name in text.split(",") if name.strip()]
    if wanted:
        return [store.find_case(project, name) for name in dict.fromkeys(wanted)]
    lines = store.list_cases(project, limit=None).lines
    if not lines:
        raise UserError("no case is here; add one with: diffseg project add DIR IMAGE")
    return [store.case_of(project, line.id) for line in lines]


def _check_table(project: Project, card: ModelCard) -> None:
    """Refuse a model whose structures carry other values than the project's."""
    from diffseg.project import store

    table = store.label_table(project)
    known = {} if table is None else dict(zip(table.names, table.values, strict=True))
    taken = {value: name for name, value in known.items()}
    for name, value in zip(card.labels.names, card.labels.values, strict=True):
        ours, other = known.get(name, value), taken.get(value, name)
        if ours != value or other != name:
            said = f"{name}={ours}" if ours != value else f"{other}={value}"
            raise UserError(
                f"model {card.id} writes {name} as {value}, the project has {said}; "
                "make a project with: diffseg project create DIR --model "
                f"{card.id}"
            )


def _told(done: Proposed, names: dict[str, str]) -> dict[str, Any]:
    return {
        "proposals": [_proposal(one, names) for one in done.made],
        "skipped": list(done.skipped),
        "notes": list(done.notes),
    }


def _proposal(one: StoredProposal, names: dict[str, str]) -> dict[str, Any]:
    from diffseg.project import store

    made = store.provenance_of(one)
    return {
        "case": names[one.case_id],
        "id": one.id,
        "model": made.model,
        "seed": one.seed,
        "members": one.members,
        "steps": one.steps,
        "device": made.device,
        "structures": [
            {
                "name": part.name,
                "voxels": part.voxels,
                "expected_dice": part.expected_dice,
                "predicted_dice": part.predicted_dice,
            }
            for part in store.measured(one)
        ],
    }


def _lines(done: Proposed, names: dict[str, str]) -> list[str]:
    lines = [
        f"{names[one.case_id]}: {one.model_id} {one.model_version}, seed {one.seed}"
        for one in done.made
    ]
    if done.skipped:
        lines.append(
            f"{len(done.skipped)} cases have such a proposal; --again makes another"
        )
    return [*lines, *done.notes]
