"""``diffseg models pull``: public weights, shown before they are fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import confirmed, emit, follow

if TYPE_CHECKING:
    from diffseg.models.pulling import PublicWeights


def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Public weights, such as kl-f8.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="A folder that holds the files; no network is used.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch public weights; their size, source and licence are shown first.

    Example: diffseg models pull dinov2-vits14-reg
    """
    from diffseg.models.pulling import find_public, iter_pull, size_of

    entry = find_public(name)
    if entry.here:
        said = f"{entry.name} is here already: {entry.folder}"
        emit(_told(entry, None) | {"pulled": False}, json, said)
        return
    size = size_of(entry, source)
    offer = _offer(entry, size, source)
    if not yes and not confirmed(f"{offer}\nFetch it?"):
        raise typer.Abort
    folder = follow(iter_pull(entry, source))
    result = _told(entry, size) | {"pulled": True}
    shown = f"{offer}\n" if yes else ""
    emit(result, json, f"{shown}{entry.name} is here: {folder}")


def _told(entry: PublicWeights, size: int | None) -> dict[str, Any]:
    return {
        "name": entry.name,
        "title": entry.title,
        "source": entry.source,
        "licence": entry.licence,
        "bytes": size,
        "path": str(entry.folder),
    }


def _offer(entry: PublicWeights, size: int | None, source: Path | None) -> str:
    """Size, source and licence, a line each."""
    known = [file.sha256 for file in entry.files if file.sha256]
    checksum = (
        "known for every file"
        if len(known) == len(entry.files)
        else "none is published; that of what arrives is written down"
    )
    amount = "not told by the server" if size is None else f"{size / 1e6:.1f} MB"
    lines = {
        "weights": f"{entry.name}: {entry.title}",
        "for": entry.use,
        "source": entry.source if source is None else f"{source} ({entry.source})",
        "size": amount,
        "licence": entry.licence,
        "checksum": checksum,
        "folder": str(entry.folder),
    }
    return "\n".join(f"{key:10}{value}" for key, value in lines.items())
