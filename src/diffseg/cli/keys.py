"""``diffseg models keys``: keys of a model's cache, and dropping some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.cli.models_tree import Json, brief
from diffseg.cli.output import emit
from diffseg.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from diffseg.domain.cache_keys import CacheKey, KeyImage

_MOST = 4
"""Images of a key that are named in the listing; JSON names all."""


def keys(
    name: Annotated[
        str, typer.Argument(metavar="ID[@VERSION]", help="A model with a cache.")
    ],
    drop: Annotated[
        str | None,
        typer.Option("--drop", metavar="KEY,...", help="Keys to leave out, by number."),
    ] = None,
    json: Json = False,
) -> None:
    """List the keys of a model's cache, or make a version without some of them.

    The model stays; diffseg models rollback ID leads back to it.

    Example: diffseg models keys skin-words --drop 3,7
    """
    from diffseg.models import find_model
    from diffseg.segmenters.text.model_keys import drop_keys, read_keys

    model = find_model(name)
    if drop is None:
        keys = read_keys(model)
        told = {**brief(model), "keys": [key.told() for key in keys]}
        emit(told, json, lambda: _listing(keys))
        return
    chosen = _numbers(drop)
    new = drop_keys(model, chosen)
    count = len(set(chosen))
    emit(
        {**brief(new), "dropped": sorted(set(chosen))},
        json,
        f"{new.name} is without {count} key{'s' * (count != 1)} of {model.name}, and "
        f"is what {new.card.id} means now; go back with: diffseg models rollback "
        f"{new.card.id}",
    )


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = next((part for part in parts if not part.lstrip("-").isdecimal()), None)
    if wrong is not None:
        raise UserError(f"--drop takes numbers of keys, not {wrong!r}")
    if not parts:
        raise UserError("--drop names no key; give numbers, such as 3,7")
    return [int(part) for part in parts]


def _listing(keys: Sequence[CacheKey]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("Key", "Class", "Images", "Of"):
        table.add_column(column)
    for key in keys:
        named = [_named(one) for one in key.images[:_MOST]]
        rest = len(key.images) - len(named)
        of = ", ".join(named) + (f" and {rest} more" if rest else "")
        table.add_row(str(key.index), key.label, str(len(key.images)), of)
    return table


def _named(image: KeyImage) -> str:
    told = f" ({image.source})" if image.source else ""
    return f"{image.id}{told}"
