"""Proposals: asked for one after another, watched, cancelled, taken in."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from diffseg.domain import ModelCard, Preview, Proposal
from diffseg.engine.events import Advanced, Event, Failed, Finished, Job, Stopped
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress
from napari_diffseg.presenters.asking import (
    Question,
    Settings,
    answer_change,
    question_for,
)
from napari_diffseg.presenters.ports import JournalPort
from napari_diffseg.session import Busy, Case, Session
from napari_diffseg.views import Canvas, Notices, ProposeView, Runner, Ticket

Fit = Callable[[Case, ModelCard], None]
SettingsNow = Callable[[], Settings | None]

_WORDS = {"load": "loading the model", "prepare": "preparing", "sample": "drawing"}


@dataclass(slots=True, eq=False)
class Run:
    """A proposal under way for one case."""

    case: Case
    card: ModelCard
    question: Question
    batch: bool
    ticket: Ticket | None = None
    drawing_since: float | None = None
    last: Busy | None = field(default=None)


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
        self._queue: deque[tuple[str, bool]] = deque()
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
        if case is None:
            self._notices.show("open an image first", "warning")
            return
        self._enqueue([case], batch=False)

    def run_all(self) -> None:
        """Propose for every open case, one after another."""
        cases = list(self._session.cases)
        if not cases:
            self._notices.show("open an image first", "warning")
            return
        self._enqueue(cases, batch=len(cases) > 1)

    def cancel(self) -> None:
        """Stop at once, and ask for nothing that is still waiting."""
        self._queue.clear()
        if self._run is not None:
            name = self._run.case.name
            self._drop()
            self._notices.show(f"{name}: cancelled, the mask is as it was")

    def _enqueue(self, cases: list[Case], batch: bool) -> None:
        waiting = {case_id for case_id, _ in self._queue}
        if self._run is not None:
            waiting.add(self._run.case.id)
        new = [case for case in cases if case.id not in waiting]
        self._queue.extend((case.id, batch) for case in new)
        if self._run is not None and new:
            names = ", ".join(case.name for case in new)
            self._notices.show(f"{names}: waits for {self._run.case.name}")
        self._next()

    def _next(self) -> None:
        while self._run is None and self._queue:
            case_id, batch = self._queue.popleft()
            case = self._session.case(case_id)
            if case is None:
                continue
            try:
                self._start(case, batch)
            except DiffsegError as error:
                self._notices.show(f"{case.name}: {error}", "error")

    def _start(self, case: Case, batch: bool) -> None:
        card, settings = self._session.model, self._settings()
        if card is None or settings is None:
            raise UserError("choose a model first")
        if case.locked:
            raise UserError(case.locked)
        self._fit(case, card)
        question = question_for(case, card, settings, self._canvas)
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
            self._take(run, event.proposal)
        self._end(run)
        if isinstance(event, Failed):
            self._notices.show(f"{run.case.name}: {event.message}", "error")
        elif isinstance(event, Stopped):
            self._notices.show(f"{run.case.name}: stopped, the mask is as it was")
        self._next()

    def _advance(self, run: Run, progress: Progress) -> None:
        if isinstance(progress, Preview):
            self._canvas.show_preview(run.case, progress)
        if run is not self._run:
            return  # showing it may have let the user cancel
        now = self._clock()
        fraction = left = None
        if progress.stage == "sample" and progress.total:
            fraction = progress.fraction
            if run.drawing_since is None:
                run.drawing_since = now
            if fraction > 0:
                left = (now - run.drawing_since) * (1 - fraction) / fraction
                left = left if left > 0 else None
        words = _WORDS.get(progress.stage, progress.stage)
        detail = f" {progress.message}" if progress.message else ""
        if progress.stage == "sample" and progress.total:
            detail += f", {progress.done} of {progress.total}"
        message = f"{run.case.name}: {words}{detail}"
        self._tell(run, Busy(run.case.id, message, fraction, left))

    def _take(self, run: Run, proposal: Proposal) -> None:
        """Put the answer into the mask: one undo step, no stroke lost."""
        case, canvas = run.case, self._canvas
        canvas.end_preview(case.id)
        if proposal.mask.shape != case.volume.shape:
            self._notices.show(
                f"{case.name}: the proposal is of another size than the image; "
                "the mask is as it was",
                "error",
            )
            return
        try:  # names may have changed since it was asked for
            self._fit(case, run.card)
        except UserError as error:
            self._notices.show(f"{case.name}: {error}", "error")
            return
        kept = 0

        def ask(touched: int) -> bool | None:
            nonlocal kept
            answer = False if run.batch else self._view.ask_replace(touched)
            kept = touched if answer is False else 0
            return answer

        change = answer_change(case, proposal.mask, run.question.region, ask)
        if change is None or self._session.case(case.id) is not case:
            return
        if len(change):
            canvas.apply(case, change)
        mask = np.array(proposal.mask)
        mask.setflags(write=False)
        case.annotation.proposed = mask
        case.proposal = proposal
        case.accepted = ()
        canvas.show_proposal(case)
        self._journal.note(case.id)
        self._session.change(case, "proposal")
        self._session.change(case, "mask")
        self._notices.show(_summary(case, proposal, len(change), kept))

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
            self._drop()
            self._notices.show(f"{case.name}: cancelled, as its spacing has changed")
            self._next()


def _summary(case: Case, proposal: Proposal, changed: int, kept: int) -> str:
    model = proposal.provenance.model.get("id", "the model")
    text = f"{case.name}: proposed by {model}, {changed:,} voxels changed"
    if kept:
        text += f"; {kept:,} voxels that you drew are kept"
    return text
