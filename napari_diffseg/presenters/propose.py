"""Proposals: asked for one after another, watched, cancelled, taken in."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from diffseg.domain import ModelCard, Preview, Proposal
from diffseg.engine.events import Advanced, Event, Failed, Finished, Job, Stopped
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress
from napari_diffseg.presenters.asking import (
    Answer,
    Asking,
    Settings,
    answer_for,
    question_for,
    settled,
)
from napari_diffseg.presenters.fitness import without_name
from napari_diffseg.presenters.ports import Background, JournalPort, inline, told
from napari_diffseg.presenters.queue import CaseQueue
from napari_diffseg.presenters.reading import check_unchanged
from napari_diffseg.presenters.run import Run, summary
from napari_diffseg.presenters.words import voxel_word
from napari_diffseg.session import Busy, Case, Session
from napari_diffseg.views import Canvas, Notices, ProposeView, Runner

Fit = Callable[[Case, ModelCard], None]
SettingsNow = Callable[[], Settings | None]


class ProposePresenter:
    """Runs proposals; the panel's settings are `SettingsPresenter`'s.

    Parameters
    ----------
    session : Session
    view : ProposeView
    canvas : Canvas
    runner : Runner
    journal : JournalPort
    notices : Notices
    settings : callable
        The settings now; None without a model.
    fit : callable
        Gives a case the model's label table, or raises `UserError`.
    clock : callable
        Seconds, ascending.
    background : Background
        Compares an answer with the mask without making the window wait.
    """

    def __init__(
        self,
        session: Session,
        view: ProposeView,
        canvas: Canvas,
        runner: Runner,
        journal: JournalPort,
        notices: Notices,
        settings: SettingsNow,
        fit: Fit,
        clock: Callable[[], float] = time.monotonic,
        background: Background = inline,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._runner = runner
        self._journal = journal
        self._notices = notices
        self._settings = settings
        self._fit = fit
        self._clock = clock
        self._background = background
        self._queue = CaseQueue(session)
        self._run: Run | None = None
        view.run_requested.connect(self.run)
        view.run_all_requested.connect(self.run_all)
        view.cancel_requested.connect(self.cancel)
        session.case_removed.connect(self._on_removed)
        session.case_changed.connect(self._on_changed)
        session.busy_changed.connect(view.set_busy)

    def run(self) -> None:
        """Propose for the current case, after what is waiting already."""
        case = self._session.current
        self._enqueue([] if case is None else [case], batch=False)

    def run_all(self) -> None:
        """Propose for every open case, one after another."""
        cases = list(self._session.cases)
        self._enqueue(cases, batch=len(cases) > 1)

    def begin(self, ask: Asking) -> None:
        """Ask something else of the current case, at once; no question on the way."""
        case = self._session.current
        if case is None or self._run is not None:
            first = "open an image first" if case is None else "wait, or cancel"
            self._notices.show(first, "warning")
            return
        try:
            self._start(case, True, ask)
        except Exception as error:
            self._fail(case, error)

    @property
    def redraws(self) -> bool:
        """Whether a mask is being drawn anew around strokes."""
        return self._run is not None and self._run.question.kept is not None

    def cancel(self) -> None:
        """Stop at once, and ask for nothing that is still waiting."""
        self._queue.clear()
        if self._run is not None:
            name, taken = self._run.case.name, self._run.taken
            self._drop()
            if not taken:
                self._notices.show(f"{name}: cancelled, the mask is as it was")

    def _enqueue(self, cases: list[Case], batch: bool) -> None:
        if not cases:
            self._notices.show("open an image first", "warning")
            return
        running = None if self._run is None else self._run.case
        new = self._queue.add([case for case in cases if case is not running], batch)
        if self._run is not None and new:
            names = ", ".join(case.name for case in new)
            self._notices.show(f"{names}: waits for {self._run.case.name}")
        self._next()

    def _next(self) -> None:
        while self._run is None and (first := self._queue.take()) is not None:
            case, batch = first
            try:
                self._start(case, batch)
            except Exception as error:  # whatever it is, the next one is due
                self._fail(case, error)

    def _fail(self, case: Case, error: Exception) -> None:
        run = self._run
        if run is not None and run.case is case:
            self._end(run)
        self._notices.show(f"{case.name}: {told(error)}", "error")

    def _start(self, case: Case, batch: bool, ask: Asking | None = None) -> None:
        card, settings = self._session.model, self._settings()
        if card is None or settings is None:
            raise UserError("choose a model first")
        if case.locked:
            raise UserError(case.locked)
        check_unchanged(case)
        self._fit(case, card)
        ask = ask or partial(question_for, canvas=self._canvas)
        question = ask(case, card, settings)
        run = Run(case, card, question, batch)
        self._run = run
        self._canvas.begin_preview(case)
        self._tell(run, Busy(case.id, f"{case.name}: starting ..."))
        job = Job(self._session.model_name, question.request, self._session.device)
        try:
            run.ticket = self._runner.propose(job, partial(self._heard, run))
        except DiffsegError as error:
            self._heard(run, Failed(str(error), error.exit_status))

    def _heard(self, run: Run, event: Event) -> None:
        if run is not self._run:
            return  # cancelled, or of a case that is gone
        if isinstance(event, Advanced):
            self._advance(run, event.progress)
            return
        if isinstance(event, Finished):
            self._compare(run, event.proposal)
            return
        self._end(run)
        if isinstance(event, Failed):
            said = without_name(run.case, event.message)
            self._notices.show(f"{run.case.name}: {said}", "error")
        elif isinstance(event, Stopped):
            self._notices.show(f"{run.case.name}: stopped, the mask is as it was")
        self._next()

    def _advance(self, run: Run, progress: Progress) -> None:
        if isinstance(progress, Preview):
            self._canvas.show_preview(run.case, progress)
        if run is self._run:  # showing it may have let the user cancel
            self._tell(run, run.busy_with(progress, self._clock()))

    def _compare(self, run: Run, proposal: Proposal, again: bool = True) -> None:
        """Find beside the window what the answer changes; then take it in.

        Once more where somebody draws meanwhile; at last while nobody can.
        """
        case, edits = run.case, run.case.edits

        def find() -> Answer:
            answer = answer_for(case, proposal.mask, run.question)
            self._canvas.prepare_proposal(case, proposal)
            return answer

        def found(answer: Answer) -> None:
            if run is not self._run:
                return  # cancelled meanwhile
            try:
                if edits == case.edits:
                    self._take(run, proposal, answer)
                elif again:
                    self._compare(run, proposal, again=False)
                else:
                    self._take(run, proposal, find())
            except Exception as error:  # else nothing could be proposed any more
                self._give_up(run, told(error))

        self._background(find, found, lambda error: self._give_up(run, told(error)))

    def _take(self, run: Run, proposal: Proposal, answer: Answer) -> None:
        """Put the answer into the mask: one undo step, no stroke lost."""
        case, canvas = run.case, self._canvas
        canvas.end_preview(case.id)
        try:  # names may have changed since it was asked for
            self._fit(case, run.card)
        except UserError as error:
            self._give_up(run, str(error))
            return
        kept, word = 0, voxel_word(proposal)

        def ask(touched: int) -> bool | None:
            nonlocal kept
            replace = False if run.batch else self._view.ask_replace(touched, word)
            kept = touched if replace is False else 0
            return replace

        change = settled(answer, ask)
        if run is not self._run:
            return  # the case was closed while the user was asked
        if change is None:
            self._go_on(run)
            return
        if len(change):
            canvas.apply(case, change)
        case.annotation.proposed = answer.mask
        case.proposal = proposal
        case.proposed_in = run.question.answered_in(proposal)
        run.taken = True
        self._journal.note(case.id)
        self._session.change(case, "proposal")
        self._session.change(case, "mask")
        self._notices.show(summary(run, proposal, len(change), kept))
        canvas.show_proposal(case, lambda: self._go_on(run))

    def _give_up(self, run: Run, why: str) -> None:
        if run is self._run:
            self._notices.show(f"{run.case.name}: {why}", "error")
            self._go_on(run)

    def _go_on(self, run: Run) -> None:
        """End a run, and begin the next."""
        if run is self._run:
            self._end(run)
            self._next()

    def _end(self, run: Run) -> None:
        self._canvas.end_preview(run.case.id)
        if self._run is run:
            self._run = None
            self._session.set_busy(None)

    def _drop(self) -> None:
        """Leave the job under way, whatever it may still tell."""
        run = self._run
        if run is None:
            return
        self._end(run)
        if run.ticket is not None:
            run.ticket.cancel()

    def _tell(self, run: Run, busy: Busy) -> None:
        if busy != run.last:
            run.last = busy
            self._session.set_busy(busy)

    def _on_removed(self, case: Case) -> None:
        if self._run is not None and self._run.case is case:
            self._drop()
            self._next()

    def _on_changed(self, case: Case, aspect: str) -> None:
        # The image has got another grid: what is being drawn would not lie on it.
        if aspect == "geometry" and self._run is not None and self._run.case is case:
            taken = self._run.taken
            self._drop()
            if not taken:
                self._notices.show(
                    f"{case.name}: cancelled, as its spacing has changed"
                )
            self._next()
