"""Versions of the chosen model: a tree, the one in use, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_diffseg.presenters.ports import Background, Catalogue, ModelFolder, told
from napari_diffseg.session import Session
from napari_diffseg.views import Notices, TrainView, Version


class VersionsPresenter:
    """Shows a model's versions, and lets its id mean another of them.

    Parameters
    ----------
    session : Session
    view : TrainView
    catalogue : Catalogue
    choose : callable
        Takes a model by name.
    notices : Notices
    background : Background
    """

    def __init__(
        self,
        session: Session,
        view: TrainView,
        catalogue: Catalogue,
        choose: Callable[[str], Any],
        notices: Notices,
        background: Background,
    ) -> None:
        self._session, self._view, self._catalogue = session, view, catalogue
        self._choose, self._notices, self._background = choose, notices, background
        view.version_chosen.connect(self.use)
        view.rollback_requested.connect(self.roll_back)
        session.model_changed.connect(lambda _: self.show())

    def show(self) -> None:
        """Read the versions anew, beside the window, and show them."""
        name = self._session.model_name
        self._background(lambda: self._tree(name), self._told, self._failed)

    def use(self, name: str) -> None:
        """Let a model's id mean this version, and take it."""
        self._change(name)

    def roll_back(self) -> None:
        """Let the model's id mean the parent of what it means now, and take that."""
        id = self._session.model_name.partition("@")[0]
        if id:
            self._change(id)

    def _change(self, name: str) -> None:
        def done(now: str) -> None:
            before = self._session.model_name
            self._choose(now)
            self._notices.show(f"{now} is in use; every version stays")
            if now == before:  # nothing was changed that tells of itself
                self.show()

        self._background(lambda: self._rolled(name), done, self._failed)

    def _rolled(self, name: str) -> str:
        _, now = self._catalogue.roll_back(name)
        return str(now.name)

    def _tree(self, name: str) -> tuple[Sequence[Version], str]:
        id = name.partition("@")[0]
        models = [one for one in self._catalogue.list_models() if one.card.id == id]
        current = self._catalogue.current_versions(models).get(id, "")
        found = []
        back = ""
        for branch in self._catalogue.tree_of(models):
            card = branch.model.card
            mine = card.version == current
            found.append(
                Version(
                    branch.model.name, card.version, branch.depth, mine, _line(card)
                )
            )
            if mine:
                parent = self._catalogue.parent_of(branch.model, models)
                back = "" if parent is None else parent.card.version
        return tuple(found), back

    def _told(self, found: tuple[Sequence[Version], str]) -> None:
        self._view.show_versions(*found)

    def _failed(self, error: Exception) -> None:
        self._notices.show(told(error), "error")


def _line(card: Any) -> str:
    """What a version is, in a few words."""
    told, weak = card.finetuning, card.self_training
    if card.version.rpartition("+")[2].startswith("cal"):
        return "calibrated"
    if card.version.rpartition("+")[2].startswith("keys"):
        return "examples left out"
    if not told and weak:
        return f"learnt from {weak.get('weak_cases', 0)} weak masks"
    if not told:
        return "as it was added"
    count = told.get("cases", 0)
    return f"learnt from {count} case{'s' * (count != 1)}"


def folder_of(catalogue: Catalogue, name: str) -> ModelFolder | None:
    """A model's folder, or None where it is gone."""
    return next((one for one in catalogue.list_models() if one.name == name), None)
