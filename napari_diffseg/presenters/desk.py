"""The desk: one window's session, and every presenter that works on it."""

from __future__ import annotations

import os

from diffseg.engine import catalogue as shipped
from napari_diffseg.presenters.case import CasePresenter
from napari_diffseg.presenters.correct import CorrectPresenter
from napari_diffseg.presenters.export import ExportPresenter
from napari_diffseg.presenters.labels import LabelsPresenter
from napari_diffseg.presenters.model import DEVICES, ModelPresenter
from napari_diffseg.presenters.opening import Opener
from napari_diffseg.presenters.ports import (
    Background,
    Catalogue,
    InGui,
    JournalPort,
    Later,
    Views,
    at_once,
    directly,
    inline,
)
from napari_diffseg.presenters.propose import ProposePresenter
from napari_diffseg.presenters.recover import RecoverPresenter
from napari_diffseg.presenters.result import ResultPresenter
from napari_diffseg.presenters.review import ReviewPresenter
from napari_diffseg.presenters.settings import SettingsPresenter
from napari_diffseg.presenters.tools import ToolsPresenter
from napari_diffseg.session import Session
from napari_diffseg.views import Canvas, Runner

ASK_AFTER_MS = 600
"""The window stands before it asks about what was left behind."""


class Desk:
    """Builds a session and wires every presenter to its view.

    Parameters
    ----------
    views : Views
        The panels; any object with the dock's attributes.
    canvas : Canvas
    runner : Runner
    journal : JournalPort
    session : Session, optional
        A new one without it.
    catalogue : Catalogue, optional
        The models of this machine without it.
    background : Background
        Runs what would make the window wait; here and now without one.
    writing : Background, optional
        The same for exports, which are finished even when the window closes.
    later : Later
        Calls after a pause; at once without one.
    in_gui : InGui
        The way into the window's thread; a plain call without one.

    Examples
    --------
    ``Desk(dock, canvas, runner, journal).open("case.nii.gz")``
    """

    def __init__(
        self,
        views: Views,
        canvas: Canvas,
        runner: Runner,
        journal: JournalPort,
        session: Session | None = None,
        *,
        catalogue: Catalogue | None = None,
        background: Background = inline,
        writing: Background | None = None,
        later: Later = at_once,
        in_gui: InGui = directly,
    ) -> None:
        self.session = now = session or Session()
        self._journal = journal
        self._closed = False
        _take_device(now)
        say = views.notices
        opener = Opener(now, views.case, canvas, journal, say, background)
        self.opener = opener
        self.case = CasePresenter(
            now, views.case, canvas, opener, journal, say, background,
            views.propose.ask_replace,
        )  # fmt: skip
        self.labels = LabelsPresenter(now, views.labels, canvas, journal, say)
        models = catalogue or shipped
        self.settings = SettingsPresenter(
            now, views.propose, canvas, runner, later, models
        )
        self.propose = ProposePresenter(
            now, views.propose, canvas, runner, journal, say,
            settings=lambda: self.settings.settings, fit=self.labels.fit,
            background=background,
        )  # fmt: skip
        self.result = ResultPresenter(now, views.result, canvas, background, later)
        self.review = ReviewPresenter(now, views.review, canvas, say, background)
        self.correct = CorrectPresenter(
            now, views.correct, canvas, journal, say, in_gui
        )
        self.tools = ToolsPresenter(
            now, views.correct, canvas, background,
            active=lambda: self.labels.active, chosen=views.labels.label_chosen,
        )  # fmt: skip
        self.export = ExportPresenter(
            now, views.export, journal, say, writing or background, opener.let_go
        )
        self.recover = RecoverPresenter(
            now, views.recover, canvas, opener, journal, say
        )
        views.propose.cancel_requested.connect(opener.give_up)
        self.model = ModelPresenter(now, views.model, runner, models, say, later)
        self.model.start()
        later(ASK_AFTER_MS, self._ask)
        canvas.tell_images()  # those that were there before the panels

    def open(self, path: str) -> None:
        """Open an image: a file or folder; several joined by ";" are channels."""
        self.opener.open(path)

    def close(self) -> None:
        """End it with the window: nothing goes on, every stroke is kept."""
        if self._closed:
            return
        self._closed = True
        self.opener.stop()
        self.propose.cancel()
        self._journal.close()
        # What goes now with the window was not taken away by the user.
        self.session.fall_silent()

    def _ask(self) -> None:
        if not self._closed:
            self.recover.start()


def _take_device(session: Session) -> None:
    wish = os.environ.get("DIFFSEG_DEVICE", "").strip()
    if wish in DEVICES:
        session.set_device(wish)
