"""Scope and ensemble of the next proposal, and what it will take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from diffseg.domain import ModelCard
from diffseg.engine.events import Event, Failed, Job, Plan, Planned
from diffseg.errors import DiffsegError, UserError
from napari_diffseg.presenters.asking import Settings, question_for, scope_note
from napari_diffseg.presenters.fitness import check_fit, doubts_of, without_name
from napari_diffseg.presenters.ports import Catalogue, Later
from napari_diffseg.session import Busy, Case, Session
from napari_diffseg.views import Canvas, ProposeView, Runner, Scope, Ticket

PAUSE_MS = 400
"""Settings rest so long before an estimate is asked for."""

_GB = 1e9


class SettingsPresenter:
    """The settings of panel "Propose", whether it can run, and its estimate.

    Parameters
    ----------
    session : Session
    view : ProposeView
    canvas : Canvas
    runner : Runner
    later : Later
    catalogue : Catalogue
        Asked which other models take an image that the chosen one does not.
    refused : callable
        Is told, in a line, what the model has against a request; answers whether it
        is the words.
    """

    def __init__(
        self,
        session: Session,
        view: ProposeView,
        canvas: Canvas,
        runner: Runner,
        later: Later,
        catalogue: Catalogue,
        refused: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._runner = runner
        self._later = later
        self._catalogue = catalogue
        self._refused = refused
        self._settings: Settings | None = None
        self._seed = 0
        self._scope: Scope = "volume"
        self._asked = 0
        self._ticket: Ticket | None = None
        view.scope_chosen.connect(self.choose_scope)
        view.settings_changed.connect(self.choose_ensemble)
        canvas.box_drawn.connect(self._on_box)
        canvas.moved.connect(self._show_scope)
        session.model_changed.connect(self._on_model)
        session.current_changed.connect(self._on_case)
        session.case_changed.connect(self._on_changed)
        session.device_changed.connect(self._refresh)
        session.machine_changed.connect(self._refresh)
        session.busy_changed.connect(self._on_busy)
        self._refresh()

    @property
    def settings(self) -> Settings | None:
        """The settings now; None without a model."""
        return self._settings

    def choose_scope(self, scope: Scope) -> None:
        """Ask for a slice, a box, or everything."""
        self._scope = scope
        if self._settings is not None:
            self._settings = replace(self._settings, scope=scope)
        case = self._session.current
        if case is not None and scope == "region":
            self._want_box(case)
        self._refresh()

    def choose_ensemble(self, members: int, steps: int, seed: int) -> None:
        """Draw so many members of so many steps, from this seed."""
        self._seed = seed
        if self._settings is not None:
            self._settings = replace(
                self._settings, members=members, steps=steps, seed=seed
            )
        self._refresh()

    def _want_box(self, case: Case) -> None:
        if self._canvas.box_region(case) is None:
            self._canvas.start_box(case)

    def _on_model(self, card: ModelCard | None) -> None:
        if card is None:
            self._settings = None
        else:
            self._settings = Settings.of(card, self._seed, self._scope)
            one = self._settings
            self._view.set_settings(one.members, one.steps, one.seed)
        self._refresh()

    def _on_case(self, _case: Case | None) -> None:
        self._refresh()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if case is self._session.current and aspect in ("labels", "geometry"):
            self._refresh()

    def _on_box(self, case_id: str) -> None:
        case = self._session.current
        if case is None or case.id != case_id:
            return
        if self._scope == "region":
            self._refresh()
        else:
            self.choose_scope("region")

    def _on_busy(self, busy: Busy | None) -> None:
        if busy is None:
            self._refresh()  # what could not be asked meanwhile
        elif busy.case_id:
            self._leave()  # the worker is wanted for the proposal itself

    def _refresh(self, *_: object) -> None:
        self._show_scope()
        self._show_ready()
        self._ask_soon()

    def _show_scope(self) -> None:
        session = self._session
        note = scope_note(session.current, session.model, self._scope, self._canvas)
        self._view.set_scope(self._scope, note)

    def _show_ready(self) -> None:
        try:
            self._job()
        except DiffsegError as error:
            self._view.set_ready(False, str(error))
        else:
            self._view.set_ready(True, "")
        case, card = self._session.current, self._session.model
        doubts = doubts_of(case, card) if case is not None and card is not None else ()
        self._view.show_doubts(doubts)

    def _job(self) -> Job:
        case, card = self._session.current, self._session.model
        if case is None:
            raise UserError("open an image first")
        if card is None or self._settings is None:
            raise UserError("choose a model first")
        if case.locked:
            raise UserError(case.locked)
        whole = self._scope != "region"
        check_fit(case, card, whole=whole, others=self._cards)
        question = question_for(case, card, self._settings, self._canvas)
        return Job(self._session.model_name, question.request, self._session.device)

    def _cards(self) -> list[ModelCard]:
        """Of all models in the list; none where it cannot be read."""
        try:
            return [model.card for model in self._catalogue.list_models()]
        except DiffsegError:
            return []

    def _ask_soon(self) -> None:
        self._leave()
        self._view.set_plan("")
        asked = self._asked
        self._later(PAUSE_MS, lambda: self._ask(asked))

    def _leave(self) -> None:
        """Forget what was asked for before."""
        self._asked += 1
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.cancel()

    def _ask(self, asked: int) -> None:
        busy = self._session.busy
        if asked != self._asked or (busy is not None and busy.case_id):
            return
        try:
            job = self._job()
            ticket = self._runner.plan(job, lambda event: self._heard(asked, event))
        except DiffsegError:
            return  # why it cannot run is told beside the button
        if asked == self._asked:
            self._ticket = ticket

    def _heard(self, asked: int, event: Event) -> None:
        if asked != self._asked:
            return
        if isinstance(event, Planned):
            self._ticket = None
            self._view.set_plan(plan_text(event.plan))
        elif isinstance(event, Failed):
            self._ticket = None
            case = self._session.current
            why = without_name(case, event.message) if case else event.message
            # What is wrong with words ends a proposal, too, and is told beside them.
            self._view.set_plan(why if self._refused(why) else f"no estimate: {why}")


def plan_text(plan: Plan) -> str:
    """Tell a plan in a line: "about 7 s, 1.1 GB"."""
    text = f"about {duration(plan.seconds)}, {_size(plan.memory_bytes)}"
    return "; ".join([text, *plan.warnings])


def duration(seconds: float) -> str:
    """Tell a time as people do: "7 s", "3 min", "1 h 20 min"."""
    if seconds < 1:
        return "1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _size(count: int) -> str:
    return f"{count / _GB:.1f} GB" if count >= _GB / 10 else f"{count / 1e6:.0f} MB"
