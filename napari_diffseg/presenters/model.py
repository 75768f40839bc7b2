"""Which model proposes, and where it runs."""

from __future__ import annotations

from collections import Counter

from diffseg.domain import ModelCard
from diffseg.engine.events import Machine
from diffseg.errors import DiffsegError
from napari_diffseg.presenters.ports import Catalogue, Later, at_once
from napari_diffseg.session import Session
from napari_diffseg.views import ModelChoice, ModelView, Notices, Runner

DEFAULT_MODEL = "hippocampus-mri"
WARM_AFTER_MS = 100
DEVICES = ("auto", "cpu", "cuda", "mps")


class ModelPresenter:
    """Panel "Model".

    Parameters
    ----------
    session : Session
    view : ModelView
    runner : Runner
    catalogue : Catalogue
    notices : Notices
    later : Later
        Calls after a pause.
    """

    def __init__(
        self,
        session: Session,
        view: ModelView,
        runner: Runner,
        catalogue: Catalogue,
        notices: Notices,
        later: Later = at_once,
    ) -> None:
        self._session = session
        self._view = view
        self._runner = runner
        self._catalogue = catalogue
        self._notices = notices
        self._later = later
        self._state = "starting"
        view.model_chosen.connect(self.choose)
        view.device_chosen.connect(self.choose_device)
        view.card_requested.connect(self._show_card)
        runner.machine_found.connect(self._on_machine)
        runner.state_changed.connect(self._on_state)
        session.model_changed.connect(self._on_model)

    def start(self) -> None:
        """List the models and take the default one."""
        try:
            names = [model.name for model in self._catalogue.list_models()]
        except DiffsegError as error:
            self._notices.show(str(error), "error")
            names = []
        self._show_machine()
        self._list()
        ids = [name.partition("@")[0] for name in names]
        if DEFAULT_MODEL in ids:
            self.choose(DEFAULT_MODEL)  # its newest version
        elif names:
            self.choose(names[-1])
        else:
            self._session.set_model(None)
            self._notices.show(
                "no model is installed; add one with diffseg models add", "warning"
            )
            self._warm("")

    def choose(self, name: str) -> None:
        """Take a model, and have the engine load it ahead of the first job."""
        try:
            model = self._catalogue.find_model(name)
        except DiffsegError as error:
            self._notices.show(str(error), "error")
            self._list()
            return
        if model.name == self._session.model_name:
            return
        self._session.set_model(model.card, model.name)
        self._warm(model.name)

    def _warm(self, name: str) -> None:
        """Start the worker once the window stands: both at once make it wait."""
        self._later(WARM_AFTER_MS, lambda: self._runner.warm(name))

    def choose_device(self, device: str) -> None:
        """Run models there from now on."""
        if device not in DEVICES:
            known = ", ".join(DEVICES)
            self._notices.show(f"device {device!r} is not one of {known}", "error")
            return
        self._session.set_device(device)

    def _list(self) -> None:
        try:
            models = self._catalogue.list_models()
        except DiffsegError:
            models = ()
        known = Counter(model.card.title for model in models)
        choices = [
            ModelChoice(model.name, _titled(model.card, known)) for model in models
        ]
        self._view.set_models(choices, self._session.model_name)

    def _show_card(self) -> None:
        self._view.show_card(self._session.model)

    def _show_machine(self) -> None:
        self._view.show_machine(self._session.machine, self._state)

    def _on_model(self, card: ModelCard | None) -> None:
        self._list()
        self._view.show_card(card)

    def _on_machine(self, machine: Machine) -> None:
        self._state = "ready"
        self._session.set_machine(machine)
        self._show_machine()

    def _on_state(self, state: str) -> None:
        self._state = state
        self._show_machine()


def _titled(card: ModelCard, known: Counter[str]) -> str:
    """A model's title; its version first where several have that title."""
    return f"{card.version} · {card.title}" if known[card.title] > 1 else card.title
