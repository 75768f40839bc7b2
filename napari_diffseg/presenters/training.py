"""Fine-tuning from the window: what it would learn from, start, curve, verdict."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from diffseg.engine.events import Advanced, Failed
from diffseg.project.entries import ProjectFacts
from napari_diffseg.presenters.learning import line_of, longer, verdict_of
from napari_diffseg.presenters.ports import Later
from napari_diffseg.presenters.train_doors import Doors, resumed
from napari_diffseg.presenters.train_outlook import Prospect, in_words, wished
from napari_diffseg.session import Session
from napari_diffseg.views import (
    Done,
    LearningCurve,
    Notices,
    Ticket,
    TrainState,
    TrainView,
    WorkEvent,
    Works,
)

if TYPE_CHECKING:
    from diffseg_training.finetuning.job import Finetuned, FinetuneJob, RunJob

LOOK_MS = 500
"""Changes rest so long before what would be learnt from is counted anew."""
ENDING_MS = (3_000, 10_000, 30_000)
"""A process that was cancelled takes up to so long to end; then its run can go on."""
TOLERANCE = 0.01
NO_PROJECT = "open a project: a model learns from its corrected and accepted cases"
NO_MODEL = "choose a model first"


class TrainPresenter:
    """Panel "Train".

    Parameters
    ----------
    session : Session
    view : TrainView
    works : Works
    later : Later
    notices : Notices
    doors : Doors

    Attributes
    ----------
    settings : tuple of str
        Overrides of the recipe for each run, ``section.key=value``.
    """

    def __init__(
        self,
        session: Session,
        view: TrainView,
        works: Works,
        later: Later,
        notices: Notices,
        doors: Doors,
    ) -> None:
        self._session, self._view, self._works = session, view, works
        self._later, self._notices, self._doors = later, notices, doors
        self._open = False
        self._asked = 0
        self._looking: Ticket | None = None
        self._known: tuple[str, str] = ("", "")  # what was counted: project, model
        self._prospect = Prospect()
        self._left_out: set[str] = set()
        self._ticket: Ticket | None = None
        self._run, self._running, self._what = 0, False, ""
        self._curve = LearningCurve()
        self.settings: tuple[str, ...] = ()
        view.looked.connect(self._on_looked)
        view.case_ticked.connect(self._tick)
        view.run_requested.connect(self.start)
        view.resume_requested.connect(self.resume)
        view.cancel_requested.connect(self.cancel)
        session.project_changed.connect(self._on_project)
        session.model_changed.connect(lambda _: self.look())
        self._show()

    @property
    def running(self) -> bool:
        """Whether a model is learning."""
        return self._running

    def look(self) -> None:
        """Count anew what would be learnt from, once changes rest."""
        self._asked += 1
        if self._open:
            self._later(LOOK_MS, partial(self._look, self._asked))
        self._show()

    def start(
        self, minutes: float | None, tolerance: float, overall_tolerance: float
    ) -> None:
        """Fine-tune the chosen model on what is ticked; what is drawn is saved."""
        found = wished(self._prospect.cases)
        if self.running or self._why_not() or isinstance(found, str):
            return
        learn, judge = found
        job = self._job(
            cases=learn,
            hold_out=judge,
            minutes=minutes,
            tolerance=tolerance,
            overall_tolerance=overall_tolerance,
        )
        self._doors.save(partial(self.begin, job))

    def resume(self) -> None:
        """Go on with the run that was broken off."""
        facts, kind = self._session.project, self._prospect.kind
        if self.running or not self._prospect.resumable or facts is None:
            return
        where, device = str(facts.folder), self._session.device
        self.begin(resumed(kind, where, facts.annotator, device))

    def cancel(self) -> None:
        """Stop; the window is free at once, and what was learnt can go on."""
        if self._running and self._ticket is not None:
            self._ticket.cancel()

    def stop(self) -> None:
        """Let go of everything: the window goes."""
        self._open = False
        for ticket in (self._ticket, self._looking):
            if ticket is not None:
                ticket.cancel()

    def _job(self, **wishes: Any) -> FinetuneJob:
        from diffseg_training.finetuning.job import FinetuneJob

        facts = self._session.project
        assert facts is not None
        return FinetuneJob(
            project=str(facts.folder),
            model=self._session.model_name,
            annotator=facts.annotator,
            device=self._session.device,
            settings=self.settings,
            **wishes,
        )

    def _look(self, asked: int) -> None:
        facts = self._session.project
        if asked != self._asked or facts is None or not self._session.model_name:
            return
        if self.running:  # its cases are those that it began with
            return
        if self._looking is not None:
            self._looking.cancel()
        job, about = self._job(), (str(facts.folder), self._session.model_name)

        def heard(event: WorkEvent) -> None:
            if asked != self._asked:
                return
            if isinstance(event, Done):
                self._looking, self._known = None, about
                self._take(event.result)
            elif isinstance(event, Failed):
                self._looking, self._known = None, about
                self._take(Prospect(refused=event.message))

        self._looking = self._works(lambda: self._doors.look(job), heard)
        self._show()

    def _take(self, found: Prospect) -> None:
        known = {one.id for one in found.cases}
        self._left_out &= known
        self._prospect = replace(
            found,
            cases=tuple(
                replace(one, used=one.id not in self._left_out) for one in found.cases
            ),
        )
        self._show()

    def _tick(self, id: str, used: bool) -> None:
        if used:
            self._left_out.discard(id)
        else:
            self._left_out.add(id)
        self._take(self._prospect)

    def begin(self, job: RunJob) -> None:
        """Carry a training out; one at a time."""
        if self.running:
            return
        self._run, self._what = self._run + 1, job.title
        self._clear()
        self._view.show_progress("starting", None)
        self._running = True
        self._show()
        heard = partial(self._hear, self._run)
        self._ticket = self._works(lambda: self._doors.begin(job), heard)

    def _hear(self, run: int, event: WorkEvent) -> None:
        if isinstance(event, Done):
            self._finish(run, event.result)
            return
        if run != self._run or not self._running:
            return
        if isinstance(event, Advanced):
            line, share = line_of(event.progress)
            self._view.show_progress(line, share)
            curve = longer(self._curve, event.progress)
            if curve is not self._curve:
                self._curve = curve
                self._view.show_curve(curve)
            return
        if isinstance(event, Failed):
            self._notices.show(f"{self._what} broke off: {event.message}", "error")
        else:
            self._notices.show(f"{self._what} was cancelled; models stay as they were")
            for wait in ENDING_MS:
                self._later(wait, self.look)
        self._over(run)

    def _finish(self, run: int, done: Finetuned) -> None:
        names = {one.id: one.name for one in self._prospect.cases}
        verdict = verdict_of(done, names)
        self._view.show_verdict(verdict)
        self._doors.ended(done)
        if verdict.kept:
            self._notices.show(f"{done.model} is kept, and proposes from now on")
            self._doors.kept(done.model)
        else:
            self._notices.show(
                f"{done.model} is refused, and {done.parent} stays: "
                f"{verdict.sentence.removeprefix('refused: ')}",
                "warning",
            )
        self._over(run)

    def _over(self, run: int) -> None:
        if run == self._run:
            self._running = False
            self._view.show_progress("", None)
        self.look()

    def _why_not(self) -> str:
        facts = self._session.project
        if facts is None:
            return NO_PROJECT
        if not self._session.model_name:
            return NO_MODEL
        if self._known != (str(facts.folder), self._session.model_name):
            return "counting what was corrected ..."
        if self._prospect.refused:
            return self._prospect.refused
        found = wished(self._prospect.cases)
        return found if isinstance(found, str) else ""

    def _show(self) -> None:
        why, cases = self._why_not(), self._prospect.cases
        there = self._session.project is not None
        self._view.show_state(
            TrainState(
                cases=cases if there else (),
                line=in_words(cases) if cases and not why and there else "",
                why_not="" if self.running else why,
                looking=self._looking is not None,
                running=self.running,
                resumable=there and self._prospect.resumable and not self.running,
            )
        )

    def _on_looked(self, open_: bool) -> None:
        self._open = open_
        if open_:
            self.look()

    def _on_project(self, facts: ProjectFacts | None) -> None:
        if facts is None or str(facts.folder) != self._known[0]:
            self._prospect, self._known = Prospect(), ("", "")
            self._left_out.clear()
            if not self._running:  # what another project taught is not shown here
                self._clear()
        self.look()

    def _clear(self) -> None:
        """Show neither a curve nor a verdict."""
        self._curve = LearningCurve()
        self._view.show_verdict(None)
        self._view.show_curve(self._curve)
