"""Calibration in the window: reliability, predicted Dice, and fitting it anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from diffseg.engine.events import Advanced, Failed
from diffseg.progress import Progress, Work
from napari_diffseg.presenters.calibration_facts import (
    dice_lines,
    expected_of,
    facts_of,
)
from napari_diffseg.presenters.ports import Background, Catalogue, Later, told
from napari_diffseg.presenters.training import LOOK_MS, NO_MODEL
from napari_diffseg.session import Case, Session
from napari_diffseg.views import (
    CalibrationFacts,
    CalibrationView,
    Done,
    Notices,
    Ticket,
    WorkEvent,
    Works,
)

if TYPE_CHECKING:
    from diffseg_training.calibrating.job import CalibrateJob

NO_PROJECT = "open a project: a calibration is fitted on its reviewed cases"
COUNTING = "counting reviewed cases ..."


def begin_apart(job: CalibrateJob) -> Work[Any]:
    """Start a calibration in a process that leaves a core to the window."""
    from diffseg_training.calibrating.process import iter_calibrate_apart

    return iter_calibrate_apart(job, threads=max(1, (os.cpu_count() or 2) - 1))


def iter_count(job: CalibrateJob) -> Work[tuple[int, int]]:
    """Count the cases and patients that a job would take, beside the window."""
    from diffseg.project import store
    from diffseg_training.calibrating.reviewed import calibration_outlook

    yield Progress("look")
    with store.open_project(job.project) as project:
        return calibration_outlook(project, job.model, job.patient)


class CalibrationPresenter:
    """Part "Calibration" of panel "Model".

    Parameters
    ----------
    session : Session
    view : CalibrationView
    catalogue : Catalogue
    works : Works
    background : Background
    later : Later
    notices : Notices
    kept : callable
        Told the name of a calibrated version.
    begin, look : callable
        Start the work of a job, and the work that counts its cases.
    """

    def __init__(
        self,
        session: Session,
        view: CalibrationView,
        catalogue: Catalogue,
        works: Works,
        background: Background,
        later: Later,
        notices: Notices,
        kept: Callable[[str], Any],
        *,
        begin: Callable[[CalibrateJob], Work[Any]] = begin_apart,
        look: Callable[[CalibrateJob], Work[tuple[int, int]]] = iter_count,
    ) -> None:
        self._session, self._view, self._catalogue = session, view, catalogue
        self._works, self._background, self._later = works, background, later
        self._notices, self._kept = notices, kept
        self._begin, self._look = begin, look
        self._open = False
        self._asked = self._run = 0
        self._ticket: Ticket | None = None
        self._running = False
        self._line, self._refused = "", COUNTING
        self._notes: Mapping[str, str] = {}
        view.looked.connect(self._on_looked)
        view.run_requested.connect(self.start)
        view.cancel_requested.connect(self.cancel)
        session.model_changed.connect(lambda _: self.show())
        session.project_changed.connect(lambda _: self._look_soon())
        session.current_changed.connect(lambda _: self._show_dice())
        session.case_changed.connect(self._on_changed)
        self._show_ready()

    def show(self) -> None:
        """Show the chosen model's calibration."""
        name, card = self._session.model_name, self._session.model
        self._look_soon()
        if not self._open or card is None:
            return

        def fn() -> CalibrationFacts:
            return facts_of(card, self._catalogue.find_model(name).path)

        def done(facts: CalibrationFacts) -> None:
            if name == self._session.model_name:
                self._notes = facts.notes
                self._view.show_facts(facts)
                self._show_dice()

        self._background(fn, done, self._failed)

    def start(self) -> None:
        """Calibrate the chosen model on the project's reviewed cases."""
        if self._running or self._why_not():
            return
        job = self._job()
        self._run += 1
        self._line, self._running = "starting ...", True
        self._show_ready()
        heard = partial(self._hear, self._run)
        self._ticket = self._works(lambda: self._begin(job), heard)

    def cancel(self) -> None:
        """Stop; nothing is kept."""
        if self._running and self._ticket is not None:
            self._ticket.cancel()

    def stop(self) -> None:
        """Let go of everything: the window goes."""
        self._open = False
        self.cancel()

    def _job(self) -> CalibrateJob:
        from diffseg_training.calibrating.job import CalibrateJob

        facts = self._session.project
        assert facts is not None
        return CalibrateJob(
            project=str(facts.folder),
            model=self._session.model_name,
            annotator=facts.annotator,
            device=self._session.device,
        )

    def _hear(self, run: int, event: WorkEvent) -> None:
        if isinstance(event, Done):
            found = event.result
            before, after = found.ece
            self._notices.show(
                f"{found.model} is {found.words}, on {found.cases} cases of "
                f"{found.patients} patients: calibration error {before:.4f} to "
                f"{after:.4f} on patients held out"
            )
            self._kept(found.model)
        if run != self._run or not self._running:
            return
        if isinstance(event, Advanced):
            told_ = event.progress
            self._line = f"proposing for case {told_.done + 1} of {told_.total} ..."
            if told_.message == "fit":
                self._line = "fitting ..."
            elif not told_.total:
                self._line = "starting ..."
            self._show_ready()
            return
        if isinstance(event, Failed):
            self._notices.show(f"not calibrated: {event.message}", "warning")
        self._running, self._line = False, ""
        self._look_soon()

    def _look_soon(self) -> None:
        self._asked += 1
        if self._open and not self._running:
            self._later(LOOK_MS, partial(self._count, self._asked))
        self._show_ready()

    def _count(self, asked: int) -> None:
        if asked != self._asked or self._session.project is None:
            return
        if not self._session.model_name or self._running:
            return
        job = self._job()

        def heard(event: WorkEvent) -> None:
            if asked != self._asked or self._running:
                return
            if isinstance(event, Done):
                cases, patients = event.result
                self._line = (
                    f"would be fitted on {cases} reviewed cases of {patients} "
                    "patients, each judged by what was fitted without them"
                )
                self._refused = ""
            elif isinstance(event, Failed):
                self._line, self._refused = "", event.message
            self._show_ready()

        self._works(lambda: self._look(job), heard)

    def _why_not(self) -> str:
        if self._session.project is None:
            return NO_PROJECT
        return self._refused if self._session.model_name else NO_MODEL

    def _show_ready(self) -> None:
        running, why = self._running, self._why_not()
        line = self._line if running or not why else ""
        self._view.show_ready(line, "" if running else why, running=running)

    def _show_dice(self) -> None:
        case = self._session.current
        proposal = case.proposal if case is not None else None
        if not self._open or case is None or proposal is None:
            self._view.show_dice(())
            return
        mine = self._notes if _is_of(case, self._session.model_name) else {}

        def done(expected: tuple[float, ...]) -> None:
            if case is self._session.current and case.proposal is proposal:
                self._view.show_dice(dice_lines(proposal, expected, mine))

        self._background(lambda: expected_of(proposal), done, self._failed)

    def _on_looked(self, open_: bool) -> None:
        self._open = open_
        if open_:
            self.show()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if aspect == "proposal" and case is self._session.current:
            self._show_dice()

    def _failed(self, error: Exception) -> None:
        self._notices.show(told(error), "error")


def _is_of(case: Case, model: str) -> bool:
    """Whether a case's proposal is of this very version."""
    if case.proposal is None:
        return False
    made = case.proposal.provenance.model
    return f"{made.get('id')}@{made.get('version')}" == model
