"""Published data sets, as they are downloaded, made into data sets: one file each.

A preparer is a module with `ABOUT` and ``find(folder) -> Found``; it is found by the
name of its file, with ``-`` for ``_``. Images are not copied: the manifest points to
where they lie. Masks are written anew only where theirs do not hold class indices.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Protocol, cast

from diffseg.errors import UserError, nearest
from diffseg_training.preparers.nouns import About, Found, Item, Made

_NO_PREPARERS = {"nouns", "looking", "pictures", "splitting", "writing"}


class Preparer(Protocol):
    """What a preparer's module holds."""

    ABOUT: About

    def find(self, folder: object) -> Found:
        """Look for the set's files in a downloaded folder."""
        ...


def preparer_names() -> tuple[str, ...]:
    """Names of the data sets that can be prepared, in order."""
    found = {module.name for module in iter_modules(__path__)} - _NO_PREPARERS
    return tuple(sorted(name.replace("_", "-") for name in found))


def preparer(name: str) -> Preparer:
    """Return the preparer of a data set; `UserError` if there is none."""
    if name not in preparer_names():
        known = ", ".join(preparer_names())
        hint = nearest(name, preparer_names()) or f"; known: {known}"
        raise UserError(f"there is no preparer for {name!r}{hint}")
    module: ModuleType = import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast("Preparer", module)


__all__ = ["About", "Found", "Item", "Made", "Preparer", "preparer", "preparer_names"]
