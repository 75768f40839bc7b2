"""``diffseg models assemble``: a model that reads words, out of two public ones."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from diffseg.cli.models_tree import Json, brief
from diffseg.cli.output import emit
from diffseg.errors import UserError


def assemble(
    id: Annotated[str, typer.Option("--id", help="The name it gets.")],
    clip: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="Such as openai-vitb16.")
    ],
    labels: Annotated[
        str,
        typer.Option(metavar="NAME,...", help="Its classes; or object, to be told."),
    ],
    diffusion: Annotated[
        str | None, typer.Option(metavar="NAME|DIR", help="Such as sd-2.1-base.")
    ] = None,
    prompts: Annotated[
        str, typer.Option(help="Kind of images: ct, dermoscopy, mri, ...")
    ] = "natural",
    words: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts laid over those.")
    ] = None,
    variant: Annotated[
        str, typer.Option(help="paper, or code: as its authors released it.")
    ] = "paper",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option, as layers=4; repeatable."),
    ] = None,
    channels: Annotated[
        str, typer.Option(metavar="NAME,...", help="Of the images.")
    ] = "red,green,blue",
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A cache of features.")
    ] = None,
    refer: Annotated[
        bool, typer.Option("--refer", help="To folders where they are; copy none.")
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Of the weights.")
    ] = "that of its CLIP and of its text-to-image model",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The model's folder; else among yours."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a model that reads words of a CLIP and a text-to-image model.

    Example: diffseg models assemble --id words --clip openai-vitb16 --diffusion
    sd-2.1-base --prompts dermoscopy --labels lesion
    """
    from diffseg.models import add_model
    from diffseg.segmenters.text.assembling import assemble as make
    from diffseg.segmenters.text.assembly import Assembly

    parts = Assembly(
        clip=clip,
        labels=_listed(labels),
        diffusion=diffusion,
        prompts=prompts,
        words=words,
        variant=variant,
        options=options_of(set_ or []),
        channels=_listed(channels),
        cache=cache,
        copy=not refer,
        about={"licence": licence},
    )
    if out is not None:
        made = make(out, id, parts)
        said = f"{made.name} is made: {made.path}"
    else:
        with tempfile.TemporaryDirectory() as aside:
            made = add_model(make(Path(aside) / id, id, parts).path, id)
        said = f"{made.name} is added: {made.path}"
    emit(brief(made), json, said)


def options_of(given: list[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs, whose values are YAML; `UserError` if one is none."""
    import yaml

    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UserError(f"option {pair!r} is not key=value")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"option {pair!r}: the value is not YAML") from None
    return found


def _listed(names: str) -> tuple[str, ...]:
    return tuple(one for one in (name.strip() for name in names.split(",")) if one)
