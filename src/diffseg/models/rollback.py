"""Going back to the version that a model came from; nothing is removed."""

from __future__ import annotations

from collections.abc import Mapping

from diffseg.errors import UserError
from diffseg.models.current import chosen, set_current
from diffseg.models.folder import ModelFolder
from diffseg.models.lineage import parent_of
from diffseg.models.registry import find_model, list_models, user_models


def make_current(model: ModelFolder) -> None:
    """Let a version be the one that its id means; `UserError` if that is not kept."""
    set_current(user_models() / model.card.id, model.card.version)


def roll_back(name: str) -> tuple[ModelFolder, ModelFolder]:
    """Let a model's id mean the parent of the version that it means now.

    Every version stays, and can be named: ``id@version``.

    Parameters
    ----------
    name : str
        The model's id; with ``@version``, that version is taken in the parent's
        place, as to go forward again.

    Returns
    -------
    tuple of ModelFolder
        The version that was meant, and the one that is meant now.

    Raises
    ------
    UserError
        There is no such model, it came from no other, or its parent is not here.
    """
    id, _, version = name.partition("@")
    models = list_models()
    mine = [one for one in models if one.card.id == id]
    if version or not mine:
        wanted = find_model(name)
        if wanted.card.id != id:
            raise UserError(f"{name!r} is a folder; give a model's id")
        now = _meant(id, mine) or wanted
    else:
        now = find_model(id)
        wanted = _parent(now, models)
    make_current(wanted)
    return now, wanted


def current_versions(models: list[ModelFolder]) -> Mapping[str, str]:
    """Version that each id means, by id; an id whose pointer leads nowhere is left out.

    Parameters
    ----------
    models : list of ModelFolder
        In order of id, then version, the newest last.
    """
    found: dict[str, str] = {}
    for id in dict.fromkeys(one.card.id for one in models):
        meant = _meant(id, [one for one in models if one.card.id == id])
        if meant is not None:
            found[id] = meant.card.version
    return found


def _meant(id: str, versions: list[ModelFolder]) -> ModelFolder | None:
    try:
        return chosen(user_models() / id, versions)
    except UserError:
        return None


def _parent(model: ModelFolder, models: tuple[ModelFolder, ...]) -> ModelFolder:
    named = model.card.parent
    if named is None:
        raise UserError(
            f"model {model.name} came from no other version; choose one by "
            f"{model.card.id}@VERSION"
        )
    found = parent_of(model, models)
    if found is None:
        raise UserError(
            f"the parent of {model.name}, {named.partition('#')[0]}, is not here; "
            "add it again, or choose another version"
        )
    if found.card.id != model.card.id:
        raise UserError(
            f"the parent of {model.name} is another model, {found.name}; use that one"
        )
    return found
