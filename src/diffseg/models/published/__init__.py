"""Checkpoints as their authors published them: one file a kind, found by its name.

A kind's file has ``convert(state) -> state``, which renames a published state dict for
our network of the same weights, ``network(state) -> dict``, its name and configuration
read from names and shapes, and ``sampling()`` and ``preparation()``, what its authors'
code does, as the card's fields. It may have ``read(path) -> state``, where a checkpoint
is no single file, and ``doubts(state) -> list``, what had to be taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from diffseg.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def published_kinds() -> tuple[str, ...]:
    """Kinds of published checkpoints that can be read, in alphabetical order."""
    names = (module.name for module in iter_modules(__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def published(kind: str) -> ModuleType:
    """Return the file that knows the checkpoints of `kind`.

    Raises
    ------
    UserError
        There is no such kind; the message lists those that are.
    """
    if kind not in published_kinds():
        raise UserError(
            f"checkpoint kind {kind!r} is not known; give one of "
            f"{', '.join(published_kinds())}"
        )
    return import_module(f"{__name__}.{kind}")


def convert_published(kind: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published state dict for our network of the same weights.

    Parameters
    ----------
    kind : str
        Whose checkpoint it is, such as ``segdiff``.
    state_dict : mapping of str to Tensor
        As the authors' code saves it.

    Raises
    ------
    UserError
        There is no such kind, or the state dict is not one of its.
    """
    converted: dict[str, Tensor] = published(kind).convert(state_dict)
    return converted


__all__ = ["convert_published", "published", "published_kinds"]
