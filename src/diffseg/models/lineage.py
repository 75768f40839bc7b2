"""Versions of a model form a tree: each names the one that it came from.

A fine-tuned version is called ``1.0.0+ft1``, ``1.0.0+ft2``, ... in the order of making,
whichever version it came from: newer than 1.0.0 and its calibrations, older than 1.0.1.
One that lost keys of its cache is called ``1.0.0+keys1``, and so on. Where a version
hangs in the tree is on its card.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diffseg.domain import ModelCard
from diffseg.models.folder import ModelFolder

_SUFFIX = re.compile(r"\+(?:cal|ft|keys)\d+.*$")


@dataclass(frozen=True, slots=True)
class Branch:
    """A version in the tree of its model.

    Parameters
    ----------
    depth : int
        0 for one whose parent is not here, or that has none.
    """

    model: ModelFolder
    depth: int


def reference_of(card: ModelCard) -> str:
    """What a child's card calls its parent: ``id@version#sha256``."""
    return f"{card.id}@{card.version}#{card.sha256.lower()}"


def tuned_version(version: str, known: Iterable[str]) -> str:
    """Name of the next fine-tuned version.

    Parameters
    ----------
    version : str
        Of the parent; calibrated or fine-tuned itself, or neither.
    known : iterable of str
        Every version of the model that there is.
    """
    return _next(version, known, "ft")


def pruned_version(version: str, known: Iterable[str]) -> str:
    """Name of the next version that lost keys of its cache; see `tuned_version`."""
    return _next(version, known, "keys")


def _next(version: str, known: Iterable[str], mark: str) -> str:
    base = _SUFFIX.sub("", version)
    numbers = [0]
    for one in (version, *known):
        found = re.search(rf"\+{mark}(\d+)", one)
        if found is not None and _SUFFIX.sub("", one) == base:
            numbers.append(int(found[1]))
    return f"{base}+{mark}{max(numbers) + 1}"


def parent_of(model: ModelFolder, models: Sequence[ModelFolder]) -> ModelFolder | None:
    """The version that a model's card names as its parent, if it is among `models`."""
    wanted = model.card.parent
    if wanted is None:
        return None
    return next((one for one in models if reference_of(one.card) == wanted), None)


def tree_of(models: Sequence[ModelFolder]) -> tuple[Branch, ...]:
    """Every model, each after its parent, siblings in their order.

    A card's parent has another checksum or another version than the card, so that
    no version is its own ancestor but by forgery: such ones are roots.
    """
    parents = {id(one): parent_of(one, models) for one in models}
    placed: list[Branch] = []
    seen: set[int] = set()

    def place(model: ModelFolder, depth: int) -> None:
        if id(model) in seen:
            return
        seen.add(id(model))
        placed.append(Branch(model, depth))
        for child in models:
            if parents[id(child)] is model:
                place(child, depth + 1)

    for one in models:
        if parents[id(one)] is None:
            place(one, 0)
    for one in models:  # what is left names itself, by way of others
        place(one, 0)
    return tuple(placed)
