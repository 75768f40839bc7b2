"""A segmenter from the weak masks of the chosen model: what there is, and the start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from diffseg.engine.events import Failed
from diffseg.progress import Progress, Work
from napari_diffseg.presenters.ports import Later
from napari_diffseg.presenters.training import LOOK_MS, TrainPresenter
from napari_diffseg.session import Session
from napari_diffseg.views import Done, Ticket, TrainView, WeakState, WorkEvent, Works

if TYPE_CHECKING:
    from diffseg_training.selftraining.job import SelfTrainJob
    from diffseg_training.selftraining.outlook import WeakOutlook

NOT_WEAK = "the chosen model learnt from masks: choose one that learnt from labels"
NO_PROJECT = "open a project: its proposals are the weak masks"
COUNTING = "counting weak masks ..."


def iter_weak_outlook(job: SelfTrainJob) -> Work[WeakOutlook]:
    """Count beside the window; reads the project through a door of its own."""
    from diffseg.project import store
    from diffseg_training.selftraining.outlook import weak_outlook

    yield Progress("look")
    with store.open_project(job.project) as project:
        return weak_outlook(project, job)


class SelfTrainPresenter:
    """The part of panel "Train" that begins with weak masks.

    The run itself, its curve and its verdict are the panel's as of any other.

    Parameters
    ----------
    session : Session
    view : TrainView
    works : Works
    later : Later
    train : TrainPresenter
        Carries the run out.
    save : callable
        Saves what is drawn in the open case, then calls on.
    look : callable
        Starts the work that counts a job's cases.
    """

    def __init__(
        self,
        session: Session,
        view: TrainView,
        works: Works,
        later: Later,
        train: TrainPresenter,
        save: Callable[[Callable[[], Any]], Any],
        look: Callable[[SelfTrainJob], Work[WeakOutlook]] = iter_weak_outlook,
    ) -> None:
        self._session, self._view, self._works = session, view, works
        self._later, self._train, self._save = later, train, save
        self._count = look
        self._open, self._asked = False, 0
        self._looking: Ticket | None = None
        self._state = WeakState(why_not=NO_PROJECT)
        view.looked.connect(self._on_looked)
        view.self_train_requested.connect(self.start)
        session.project_changed.connect(lambda _: self.look())
        session.model_changed.connect(lambda _: self.look())
        self.look()

    def look(self) -> None:
        """Count anew what there is to learn from, once changes rest."""
        self._asked += 1
        why = self._why_not()
        self._show(WeakState(why_not=why or COUNTING, weak=self._weak))
        if self._open and not why:
            self._later(LOOK_MS, partial(self._look, self._asked))

    def start(
        self,
        recipe: str,
        minutes: float | None,
        tolerance: float,
        overall_tolerance: float,
    ) -> None:
        """Train a segmenter by a recipe; what is drawn is saved."""
        usable = recipe in self._state.recipes
        if self._train.running or self._state.why_not or not usable:
            return
        job = self._job(
            recipe=recipe,
            minutes=minutes,
            tolerance=tolerance,
            overall_tolerance=overall_tolerance,
        )
        self._save(partial(self._train.begin, job))

    def stop(self) -> None:
        """Let go of everything: the window goes."""
        self._open = False
        if self._looking is not None:
            self._looking.cancel()

    def _why_not(self) -> str:
        if self._session.project is None:
            return NO_PROJECT
        return "" if self._weak else NOT_WEAK

    @property
    def _weak(self) -> bool:
        model = self._session.model
        return model is not None and model.weak

    def _job(self, **wishes: Any) -> SelfTrainJob:
        from diffseg_training.selftraining.job import SelfTrainJob

        facts = self._session.project
        assert facts is not None
        return SelfTrainJob(
            project=str(facts.folder),
            model=self._session.model_name,
            annotator=facts.annotator,
            device=self._session.device,
            **wishes,
        )

    def _look(self, asked: int) -> None:
        if asked != self._asked or self._why_not():
            return
        if self._looking is not None:
            self._looking.cancel()
        job = self._job()

        def heard(event: WorkEvent) -> None:
            if asked != self._asked:
                return
            if isinstance(event, Done):
                self._looking = None
                self._show(state_of(event.result))
            elif isinstance(event, Failed):
                self._looking = None
                self._show(WeakState(why_not=event.message))

        self._looking = self._works(lambda: self._count(job), heard)

    def _show(self, state: WeakState) -> None:
        self._state = state
        self._view.show_weak(state)

    def _on_looked(self, open_: bool) -> None:
        self._open = open_
        if open_:
            self.look()


def state_of(found: WeakOutlook) -> WeakState:
    """Say in a line what would be learnt from: "4 weak masks and 2 corrected cases"."""
    if found.refused:
        return WeakState(found.recipes, "", found.refused)
    masks = f"{found.weak} weak mask{'s' * (found.weak != 1)}"
    line = f"{masks} and {found.corrected} corrected; judged by {found.held_out}"
    if found.lacking:
        line += f"; {found.lacking} without a proposal"
    return WeakState(found.recipes, line)
