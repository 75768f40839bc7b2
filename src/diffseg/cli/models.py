"""``diffseg models``: which models there are, and where they came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.cli.assemble import assemble
from diffseg.cli.keys import keys
from diffseg.cli.models_tree import Json, brief, list_, rollback
from diffseg.cli.output import emit
from diffseg.cli.project_group import ModelsCommands
from diffseg.cli.pull import pull

if TYPE_CHECKING:
    from rich.console import RenderableType

    from diffseg.domain import ModelCard
    from diffseg.models import ModelFolder

models = typer.Typer(
    cls=ModelsCommands,
    help="List, show, add, import, assemble, verify, prune, roll back and remove "
    "models.\n\n"
    "Example: diffseg models show hippocampus-mri",
)

Name = Annotated[str, typer.Argument(metavar="ID[@VERSION]", help="A model's name.")]


models.command("list")(list_)
models.command()(rollback)


@models.command()
def show(name: Name, json: Json = False) -> None:
    """Show a model's card: what it eats, how good it is, what it may be used for.

    Example: diffseg models show hippocampus-mri
    """
    from diffseg.models import find_model

    folder = find_model(name)
    card = folder.card.model_dump(mode="json")
    emit(
        {**card, "origin": folder.origin, "path": str(folder.path)},
        json,
        lambda: _card(folder),
    )


@models.command()
def add(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with card and weights.")
    ],
    id: Annotated[str, typer.Option("--id", help="The name it gets.")],
    json: Json = False,
) -> None:
    """Copy the model in a folder among yours; its checksum is verified.

    Example: diffseg models add runs/best --id my-hippocampus
    """
    from diffseg.models import add_model

    added = add_model(folder, id)
    emit(brief(added), json, lambda: f"{added.name} is added: {added.path}")


models.command()(pull)
models.command()(assemble)
models.command()(keys)


@models.command("import")
def import_(
    kind: Annotated[
        str, typer.Argument(help="ensemdiff, segdiff, medsegdiff, sdseg or leaf.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The authors' checkpoint.")
    ],
    id: Annotated[str, typer.Option("--id", help="The name it gets.")],
    labels: Annotated[
        str, typer.Option("--labels", metavar="NAME,...", help="Its structures.")
    ] = "foreground",
    channels: Annotated[
        int | None, typer.Option("--channels", help="Of the image, to be checked.")
    ] = None,
    heads: Annotated[
        int | None, typer.Option("--heads", help="Of attention, if not the authors'.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", help="Of the weights.")
    ] = "unknown: ask the authors",
    json: Json = False,
) -> None:
    """Make a model of a published checkpoint; nothing is unpickled.

    Example: diffseg models import segdiff ema_0.9999.pt --id monuseg --labels nucleus
    """
    from diffseg.models import import_published

    done = import_published(
        kind,
        file,
        id,
        labels=tuple(name.strip() for name in labels.split(",")),
        channels=channels,
        heads=heads,
        licence=licence,
    )
    told = {"network": dict(done.network), "remarks": list(done.remarks)}
    lines = [
        f"{done.folder.name} is added: {done.folder.path}",
        *(f"  {key}: {value}" for key, value in done.network.items()),
        *(f"note: {remark}" for remark in done.remarks),
    ]
    emit({**brief(done.folder), **told}, json, "\n".join(lines))


@models.command()
def verify(name: Name, json: Json = False) -> None:
    """Check a model's weights against the checksum of its card.

    Example: diffseg models verify hippocampus-mri
    """
    from diffseg.models import find_model, verify_model

    folder = find_model(name)
    verify_model(folder)
    said = f"{folder.name} is whole: sha256 {folder.card.sha256}"
    emit({**brief(folder), "verified": True}, json, said)


@models.command()
def remove(
    name: Annotated[
        str, typer.Argument(metavar="ID@VERSION", help="One version of one model.")
    ],
    json: Json = False,
) -> None:
    """Remove a model that was added; those that ship stay.

    Example: diffseg models remove my-hippocampus@1.0
    """
    from diffseg.models import remove_model

    remove_model(name)
    emit({"removed": name}, json, f"{name} is removed")


def _calibration(card: ModelCard) -> str:
    """What a card's calibration is, and on what it was fitted; a broken one, too."""
    from diffseg.ensemble.calibration import calibration_of
    from diffseg.errors import UserError

    try:
        known = calibration_of(card.calibration, len(card.labels) + 1, card.id)
    except UserError as err:
        return str(err)
    if known is None:
        return "none"
    told = (known.fitted.get(key, "?") for key in ("data", "split", "groups"))
    return "{}, on {}, split {}, {} patients".format(known.words, *told)


def _finetuning(card: ModelCard) -> str:
    """What a version learnt from a project's corrections, and what the gate said."""
    told = card.finetuning
    if not told:
        return "none"
    verdict = dict(told.get("verdict") or {})
    return f"{told.get('cases', '?')} cases; {verdict.get('sentence', '')}".strip("; ")


def _self_training(card: ModelCard) -> str:
    """Whose weak masks a model learnt from, and what the gate said."""
    told = card.self_training
    if not told:
        return "none"
    name = str(told.get("weak_model", "?")).partition("#")[0]
    verdict = dict(told.get("verdict") or {})
    said = f"{told.get('weak_cases', '?')} of {name}; {verdict.get('sentence', '')}"
    return said.strip("; ")


def _card(folder: ModelFolder) -> RenderableType:
    from rich.table import Table

    card = folder.card
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    rows = {
        "model": f"{folder.name} ({folder.origin})",
        "title": card.title,
        "structures": ", ".join(card.labels.names),
        "modality": card.modality,
        "method": f"{card.method}, {card.network.get('name', 'network')}",
        "ensemble": f"{card.sampling.members} members, {card.sampling.steps} steps",
        "calibration": _calibration(card),
        "came from": (card.parent or "no other version").partition("#")[0],
        "corrections": _finetuning(card),
        "weak masks": _self_training(card),
        "trained on": card.data,
        "recipe": card.recipe or "none",
        "metrics": "\n".join(f"{k}: {v}" for k, v in card.metrics.items()) or "none",
        "intended use": card.intended_use,
        "limits": "\n".join(card.limits),
        "licence": card.licence,
        "sha256": card.sha256,
        "notice": card.notice,
        "folder": str(folder.path),
    }
    for key, value in rows.items():
        table.add_row(key, value)
    return table
