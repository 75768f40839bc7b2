"""What can be set of each objective: one torch-free file an objective."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from diffseg.errors import UserError, nearest
from diffseg_training.settings.base import ObjectiveSettings


def objective_names() -> tuple[str, ...]:
    """Names of the objectives there are, in order."""
    names = (found.name for found in iter_modules(__path__))
    return tuple(sorted(name for name in names if name != "base"))


def settings_class(name: str) -> type[ObjectiveSettings]:
    """Return the `Settings` of the objective ``name``; `UserError` if there is none."""
    module = f"{__name__}.{name}"
    if name not in objective_names() or find_spec(module) is None:
        raise UserError(
            f"objective {name!r} is not one of {', '.join(objective_names())}"
            + nearest(name, objective_names())
        )
    found: type[ObjectiveSettings] = import_module(module).Settings
    return found


__all__ = ["ObjectiveSettings", "objective_names", "settings_class"]
