"""``diffseg models list`` and ``rollback``: versions as a tree, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from diffseg.models import Catalogue, ModelFolder

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(json: Json = False) -> None:
    """List the models on this machine, shipped and added, versions as a tree.

    A star marks the version that is meant where none is named.

    Example: diffseg models list --json
    """
    from diffseg.models import catalogue, current_versions

    known = catalogue()
    meant = current_versions(list(known.models))
    result = {
        "models": [
            {**brief(folder), "current": meant.get(folder.card.id) == _version(folder)}
            for folder in known.models
        ],
        "problems": [model.reason for model in known.broken],
    }
    emit(result, json, lambda: _listing(known, meant))


def rollback(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID[@VERSION]", help="A model; with a version, that one is taken."
        ),
    ],
    json: Json = False,
) -> None:
    """Let a model's id mean the version that the one in use came from.

    Nothing is removed: every version can be named, ID@VERSION.

    Example: diffseg models rollback hippocampus-mri
    """
    from diffseg.models import roll_back

    before, now = roll_back(name)
    told = {"id": now.card.id, "before": _version(before), "version": _version(now)}
    told |= {"sha256": now.card.sha256, "path": str(now.path)}
    said = f"{now.card.id} means {now.name} now; {before.name} can still be named"
    if before.name == now.name:
        said = f"{now.card.id} means {now.name}"
    emit(told, json, said)


def brief(folder: ModelFolder) -> dict[str, Any]:
    """What the listings say of a model."""
    card = folder.card
    return {
        "id": card.id,
        "version": card.version,
        "title": card.title,
        "method": card.method,
        "modality": card.modality,
        "labels": list(card.labels.names),
        "licence": card.licence,
        "sha256": card.sha256,
        "parent": card.parent,
        "origin": folder.origin,
        "path": str(folder.path),
    }


def _version(folder: ModelFolder) -> str:
    return folder.card.version


def _listing(known: Catalogue, meant: Mapping[str, str]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from diffseg.models import tree_of

    if not known.models and not known.broken:
        return "no model is here; add one with: diffseg models add DIR --id ID"
    table = Table(box=None, pad_edge=False)
    for column in ("Model", "Modality", "Structures", "Licence", "Origin"):
        table.add_column(column)
    for branch in tree_of(known.models):
        card = branch.model.card
        star = " *" if meant.get(card.id) == card.version else ""
        name = f"{'  ' * branch.depth}{branch.model.name}{star}"
        names = ", ".join(card.labels.names)
        table.add_row(name, card.modality, names, card.licence, branch.model.origin)
    return Group(table, *(f"broken: {model.reason}" for model in known.broken))
