"""What can be set of each objective: one torch-free file an objective.

Another package's are found by the entry points of the group ``diffseg.settings``.
"""

from __future__ import annotations

from pkgutil import iter_modules

from diffseg.errors import UserError, nearest
from diffseg.extensions import Kind, find, outside_names
from diffseg_training.settings.base import ObjectiveSettings

SETTINGS = Kind("objective", __name__, "Settings", "diffseg.settings")


def objective_names() -> tuple[str, ...]:
    """Names of the objectives there are, in order."""
    ours = {found.name for found in iter_modules(__path__)} - {"base"}
    return tuple(sorted(ours | outside_names(SETTINGS)))


def settings_class(name: str) -> type[ObjectiveSettings]:
    """Return the `Settings` of the objective ``name``; `UserError` if there is none."""
    found = find(SETTINGS, name)
    if found is None:
        raise UserError(
            f"objective {name!r} is not one of {', '.join(objective_names())}"
            + nearest(name, objective_names())
        )
    if not isinstance(found, type) or not issubclass(found, ObjectiveSettings):
        raise UserError(f"settings of objective {name!r} are no ObjectiveSettings")
    return found


__all__ = ["ObjectiveSettings", "objective_names", "settings_class"]
