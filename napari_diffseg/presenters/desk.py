"""The desk: one window's session, and every presenter that works on it."""

from __future__ import annotations

import os

from diffseg.engine import catalogue as shipped
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.case import CasePresenter
from napari_diffseg.presenters.correct import CorrectPresenter
from napari_diffseg.presenters.export import ExportPresenter
from napari_diffseg.presenters.labels import LabelsPresenter
from napari_diffseg.presenters.lead import LeadPresenter
from napari_diffseg.presenters.learning_desk import LearningDesk
from napari_diffseg.presenters.model import DEVICES, ModelPresenter
from napari_diffseg.presenters.opening import Opener
from napari_diffseg.presenters.panels import Views
from napari_diffseg.presenters.ports import (
    Background,
    Catalogue,
    InGui,
    JournalPort,
    Later,
    at_once,
    directly,
    inline,
    work_inline,
)
from napari_diffseg.presenters.presence import PresencePresenter
from napari_diffseg.presenters.project import ProjectPresenter
from napari_diffseg.presenters.project_cases import ProjectCases
from napari_diffseg.presenters.project_export import ProjectExportPresenter
from napari_diffseg.presenters.prompt import PromptPresenter
from napari_diffseg.presenters.propose import ProposePresenter
from napari_diffseg.presenters.recover import RecoverPresenter
from napari_diffseg.presenters.resample import ResamplePresenter
from napari_diffseg.presenters.result import ResultPresenter
from napari_diffseg.presenters.review import ReviewPresenter
from napari_diffseg.presenters.saving import SavePresenter
from napari_diffseg.presenters.saving_first import save_open
from napari_diffseg.presenters.second import SecondPresenter
from napari_diffseg.presenters.seen import SeenPresenter
from napari_diffseg.presenters.settings import SettingsPresenter
from napari_diffseg.presenters.tools import ToolsPresenter
from napari_diffseg.session import Session
from napari_diffseg.views import Canvas, Runner, Works

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
    keeping : Background, optional
        The same for what a project keeps, in order.
    works : Works
        Runs what takes minutes; here and now without one.
    later : Later
        Calls after a pause; at once without one.
    pause : Later, optional
        The same for what comes again and again; never without one.
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
        keeping: Background | None = None,
        works: Works = work_inline,
        later: Later = at_once,
        pause: Later | None = None,
        in_gui: InGui = directly,
    ) -> None:
        self.session = now = session or Session()
        self._journal, self._canvas = journal, canvas
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
        self.prompt = PromptPresenter(now, views.prompt)
        self.settings = SettingsPresenter(
            now, views.propose, canvas, runner, later, models, self.prompt.refuse
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
        self.resample = ResamplePresenter(
            now, views.resample, canvas, self.propose, models
        )
        self.export = ExportPresenter(
            now, views.export, journal, say, writing or background, opener.let_go
        )
        self.recover = RecoverPresenter(
            now, views.recover, canvas, opener, journal, say
        )
        self._wire_project(views, Books(say, background, keeping or background), later)
        self._add_cases(views, pause)
        views.propose.cancel_requested.connect(opener.give_up)
        self.model = ModelPresenter(now, views.model, runner, models, say, later)
        self.learning = LearningDesk(
            now, views, canvas, models, works, background, later, self.model,
            self.cases, self.saving,
        )  # fmt: skip
        self.model.start()
        later(ASK_AFTER_MS, self._ask)
        canvas.tell_images()  # those that were there before the panels

    def open(self, path: str) -> None:
        """Open an image or a project; several files joined by ";" are channels."""
        self.opener.open(path)

    def close(self) -> None:
        """End it with the window: nothing goes on, every stroke is kept."""
        if self._closed:
            return
        self._closed = True
        self.opener.stop()
        self.cases.stop()
        self.learning.stop()
        self.propose.cancel()
        for case in self.session.cases:
            self.saving.leave(case)
            self.cases.release(case)
        self.books.close()  # once all of that is kept
        self._journal.close()
        # What goes now with the window was not taken away by the user.
        self.session.fall_silent()

    def _wire_project(self, views: Views, books: Books, later: Later) -> None:
        """The project: its list, what is kept, and labels by slice."""
        now, canvas, journal = self.session, self._canvas, self._journal
        say, view = views.notices, views.project
        self.books = books
        self.project = ProjectPresenter(
            now, view, books, journal, say, later, self.case.close
        )
        refresh = self.project.refresh
        self.saving = SavePresenter(now, view, canvas, books, journal, say, refresh)
        self.presence = PresencePresenter(
            now, views.presence, views.labels, canvas, books, journal, say,
            active=lambda: self.labels.active, refresh=refresh,
        )  # fmt: skip
        self.seen = SeenPresenter(now, canvas, books, later)

    def _add_cases(self, views: Views, pause: Later | None) -> None:
        """The project's cases; last, as a lease is given back after all is saved."""
        self.cases = ProjectCases(
            self.session, views.project, self.books, self.project, views.notices,
            make=lambda loaded: self.opener.take(
                loaded, *self.saving.entry_of(loaded)
            ),
            leave=self.case.close,
            pause=pause,
        )  # fmt: skip
        self.lead = LeadPresenter(
            self.session, views.review, self._canvas, self.books, self.cases,
            views.notices,
        )  # fmt: skip
        self.second = SecondPresenter(
            self.session, views.reading, self.books, views.notices, self.case.close,
            self.cases.open,
        )  # fmt: skip
        self.all_out = ProjectExportPresenter(
            self.session, views.project_export, self.books, views.notices,
            lambda then: save_open(self.cases, self.saving, then),
        )  # fmt: skip
        self.opener.open_project = self.project.open
        self.saving.ahead = self.cases.ahead
        self.recover.take_up = self.cases.take_up
        self.project.opened = lambda: self.recover.start_project(self.books)

    def _ask(self) -> None:
        if not self._closed:
            self.recover.start()


def _take_device(session: Session) -> None:
    wish = os.environ.get("DIFFSEG_DEVICE", "").strip()
    if wish in DEVICES:
        session.set_device(wish)
