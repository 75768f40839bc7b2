"""What is found by name: in a file of ours, or in another package's entry point.

A package of its own adds a network, an objective and its settings without an edit of
ours. Its entry point names the very thing that a file of ours would hold::

    [project.entry-points."diffseg.networks"]
    pebble = "pebble.network:build"
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from diffseg.errors import UserError


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing that is found by name.

    Parameters
    ----------
    noun : str
        What messages call it.
    package : str
        Ours; each of its files that holds `member` is one.
    member : str
        What such a file holds: ``build``, ``Settings``, ``make``.
    group : str
        Of the entry points in which other packages name theirs.
    """

    noun: str
    package: str
    member: str
    group: str


def outside_names(kind: Kind) -> frozenset[str]:
    """Names that other packages give; nothing of theirs is imported."""
    return frozenset(entry_points(group=kind.group).names)


def find(kind: Kind, name: str) -> Any | None:
    """Load what is called ``name``, or None where there is none.

    Raises
    ------
    UserError
        The name is given twice, or the package that gives it cannot be imported.
    """
    ours = _ours(kind, name)
    outside = list(entry_points(group=kind.group, name=name))
    givers = [f"package {_package(entry)}" for entry in outside]
    if ours is not None:
        givers.insert(0, f"{kind.package}.{name}")
    if len(givers) > 1:
        raise UserError(
            f"{kind.noun} {name!r} is given by {' and by '.join(givers)}; "
            "rename or uninstall one"
        )
    return _loaded(kind, outside[0]) if outside else ours


def _ours(kind: Kind, name: str) -> Any | None:
    """What our file of that name holds; a file without it is a helper, and none."""
    module = f"{kind.package}.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        return None
    return getattr(import_module(module), kind.member, None)


def _loaded(kind: Kind, entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (ImportError, AttributeError, ValueError) as err:
        raise UserError(
            f"{kind.noun} {entry.name!r} of package {_package(entry)} cannot be "
            f"loaded from {entry.value}: {err}"
        ) from err


def _package(entry: EntryPoint) -> str:
    return entry.value.partition(".")[0] if entry.dist is None else entry.dist.name


__all__ = ["Kind", "find", "outside_names"]
