"""What a model compares images with: shown, and left out where it misleads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from diffseg.domain import ModelCard
from diffseg.domain.cache_keys import CacheKey
from diffseg.engine import caches as shipped
from napari_diffseg.presenters.ports import Background, Catalogue, told
from napari_diffseg.presenters.words import counted
from napari_diffseg.session import Session
from napari_diffseg.views import CacheView, Notices

_GREY = "#999999"
_MARK = "keys"  # begins what a version that lost some is called


class Caches(Protocol):
    """Where keys are read and dropped; `diffseg.engine.caches`, but in tests."""

    def read_keys(self, model: Any, /) -> Sequence[CacheKey]:
        """Every key of a model."""

    def drop_keys(self, model: Any, indices: Sequence[int], /) -> Any:
        """The version of a model without some keys."""


class ExamplesPresenter:
    """Part "Examples" of panel "Model".

    Parameters
    ----------
    session : Session
    view : CacheView
    catalogue : Catalogue
    notices : Notices
    background : Background
        Reads and writes models without making the window wait.
    choose : callable
        Takes a model by name.
    caches : Caches
    """

    def __init__(
        self,
        session: Session,
        view: CacheView,
        catalogue: Catalogue,
        notices: Notices,
        background: Background,
        choose: Any,
        caches: Caches = shipped,
    ) -> None:
        self._session, self._view, self._catalogue = session, view, catalogue
        self._notices, self._background = notices, background
        self._choose, self._caches = choose, caches
        self._open = self._busy = False
        self._shown = ""
        self._keys: Sequence[CacheKey] = ()
        view.looked.connect(self._on_looked)
        view.drop_requested.connect(self.drop)
        view.undo_requested.connect(self.undo)
        session.model_changed.connect(lambda _: self._on_model())
        self._on_model()

    def drop(self, indices: Sequence[int]) -> None:
        """Leave keys out of the model from now on; a version of its own."""
        name, before = self._session.model_name, self._session.model
        if self._busy or before is None or not indices:
            return
        what = counted(len(indices), "example")

        def work() -> str:
            model = self._catalogue.find_model(name)
            return str(self._caches.drop_keys(model, tuple(indices)).name)

        def done(now: str) -> None:
            self._busy = False
            said = f"{now} is without {what} and proposes from now on; {name} stays"
            self._take(name, now, said)

        self._begin(f"leaving out {what} ...", work, done)

    def undo(self) -> None:
        """Go back to the version that the one in use was made of."""
        card, name = self._session.model, self._session.model_name
        if self._busy or card is None or not _undoes(card):
            return
        parent = str(card.parent).partition("#")[0]

        def done(found: tuple[Any, Any]) -> None:
            self._busy = False
            self._take(name, str(found[1].name), f"{found[1].name} is in use again")

        self._begin(
            f"going back to {parent} ...",
            lambda: self._catalogue.roll_back(parent),
            done,
        )

    def _begin(self, line: str, work: Any, done: Any) -> None:
        self._busy = True
        self._state(line)
        self._background(work, done, self._failed)

    def _take(self, before: str, now: str, said: str) -> None:
        """Use a version, unless another model was chosen meanwhile."""
        self._notices.show(said)
        if self._session.model_name == before:
            self._choose(now)
        else:
            self._state()

    def _on_looked(self, opened: bool) -> None:
        self._open = opened
        self._read()

    def _on_model(self) -> None:
        self._shown, self._keys = "", ()
        card = self._session.model
        self._view.show_there(card is not None and has_keys(card))
        self._read()

    def _read(self) -> None:
        """Read the keys, once they are looked at."""
        card, name = self._session.model, self._session.model_name
        if not self._open or card is None or not has_keys(card) or self._shown == name:
            return
        self._shown = name
        self._view.show_keys((), ())
        self._state("reading ...")

        def done(keys: Sequence[CacheKey]) -> None:
            if self._shown == name:
                self._keys = keys
                self._view.show_keys(keys, _colors(keys, card))
                self._state()

        def work() -> Sequence[CacheKey]:
            return self._caches.read_keys(self._catalogue.find_model(name))

        self._background(work, done, self._failed)

    def _failed(self, error: Exception) -> None:
        self._busy = False
        self._notices.show(told(error), "error")
        self._state("" if self._keys else told(error))

    def _state(self, line: str = "") -> None:
        card = self._session.model
        undo = ""
        if card is not None and _undoes(card):
            undo = str(card.parent).partition("#")[0]
        why_not = "wait until it is done" if self._busy else _why_not(card)
        self._view.show_state(line or _summary(self._keys, card), why_not, undo)


def has_keys(card: ModelCard) -> bool:
    """Whether a model compares images with examples, as its card says."""
    return card.network.get("cache") is True


def _undoes(card: ModelCard) -> bool:
    last = card.version.rpartition("+")[2]
    return card.parent is not None and last.startswith(_MARK)


def _why_not(card: ModelCard | None) -> str:
    """Why leaving an example out would change nothing."""
    network = {} if card is None else card.network
    if network.get("answer") == "head":
        return "the model's head answers without its examples"
    if network.get("adapter") is not None:
        return "the model's adapter has learnt from its examples and stands for them"
    return ""


def _summary(keys: Sequence[CacheKey], card: ModelCard | None) -> str:
    if not keys or card is None:
        return ""
    images = {one.id for key in keys for one in key.images}
    line = f"{counted(len(keys), 'example')}, of {counted(len(images), 'image')}"
    shown = {key.label for key in keys}
    missing = [name for name in card.labels.names if name not in shown]
    return f"{line}; none of {', '.join(missing)}" if missing else line


def _colors(keys: Sequence[CacheKey], card: ModelCard) -> list[str]:
    known = {label.name: label.color for label in card.labels.each()}
    return [known.get(key.label) or _GREY for key in keys]
