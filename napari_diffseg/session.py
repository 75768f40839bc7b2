"""What is open, proposed, corrected and busy: one evented model, no Qt, no napari."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from diffseg.domain import (
    ImageLabels,
    Label,
    LabelTable,
    ModelCard,
    Proposal,
    Region,
)
from diffseg.engine.events import Machine
from diffseg.project.annotation import Annotation
from diffseg.project.entries import CaseState, Origin, ProjectFacts, Said
from diffseg.project.facts import Stamp
from diffseg.volume import Display, Volume

Aspect = Literal[
    "name", "labels", "table", "proposal", "mask", "reviewed", "geometry", "entry"
]
"""What of a case changed."""

UNNAMED = LabelTable(labels=(Label(name="structure", value=1),))


@dataclass(slots=True, eq=False)
class Entry:
    """An open case's place in the project.

    Parameters
    ----------
    origin : Origin
        Which case it is, and the version and proposal that its mask comes from.
    state : CaseState
        How far it is.
    version : int
        Of the newest correction; 0 before the first.
    said : mapping of str to Said
        What is known of each structure that was named.
    begun : (str, int), optional
        Structure and plane at which a range was begun.
    seen : set of (int, int)
        Axis and index of the slices that the annotator has looked at.
    fixed : bool
        The project has a label table of its own.
    saved : str
        When the mask was last saved, in words.
    errors : (Z,) float32 ndarray, optional
        1 - expected Dice of each plane of the newest proposal.
    """

    origin: Origin
    state: CaseState = "not_started"
    version: int = 0
    said: Mapping[str, Said] = field(default_factory=dict)
    begun: tuple[str, int] | None = None
    seen: set[tuple[int, int]] = field(default_factory=set)
    fixed: bool = False
    saved: str = ""
    errors: NDArray[np.float32] | None = None


@dataclass(slots=True, eq=False)
class Case:
    """One open image with what is known of it.

    Parameters
    ----------
    volume : Volume
    display : Display
        How it is shown.
    annotation : Annotation
        The mask in hand, on the source's grid.
    table : LabelTable
        Names, values and colours of the structures in the mask.
    labels : ImageLabels
        What the annotator says is present or absent.
    proposal : Proposal, optional
        The latest one.
    name : str
        As shown; unique in the session. The image layer's name at first.
    locked : str, optional
        Why the mask may not be edited here (open in another window); in one line.
    table_model : str
        ``id@version`` of the model whose values the table has, whatever the
        annotator calls them; "" where they are the annotator's own.
    model_table : LabelTable, optional
        That model's own table.
    prompt : str
        What to look for, in words; "" for nothing.
    given : (Z, Y, X) uint8 ndarray, optional
        The mask that was read from a file to be corrected. Where it still stands
        it is as good as drawn: a proposal asks before it replaces it.
    accepted : tuple of (plane, row, column)
        Doubtful places that the annotator looked at and accepted.
    unsaved : bool
        Whether a person changed the mask since it was last exported.
    edits : int
        Raised whenever the mask may have changed.
    proposed_in : Region, optional
        The part that the latest proposal was asked for; None is all of it.
    stamps : tuple of Stamp or None
        What the image's files were when it was read, one a path.
    layers : tuple of object
        Image layers that came from elsewhere and show this case's image.
    entry : Entry, optional
        Its place in the open project; None outside of one.
    """

    volume: Volume
    display: Display
    annotation: Annotation
    name: str
    table: LabelTable = UNNAMED
    labels: ImageLabels = field(default_factory=ImageLabels)
    proposal: Proposal | None = None
    locked: str | None = None
    id: str = field(default_factory=lambda: uuid4().hex)
    table_model: str = ""
    model_table: LabelTable | None = None
    prompt: str = ""
    given: NDArray[np.uint8] | None = None
    accepted: tuple[tuple[int, int, int], ...] = ()
    unsaved: bool = False
    edits: int = 0
    proposed_in: Region | None = None
    stamps: tuple[Stamp | None, ...] = ()
    layers: tuple[object, ...] = ()
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Busy:
    """A job under way: whose, what it is doing, and how far it is.

    `fraction` is in [0, 1], None while unknown; `seconds_left` likewise.
    """

    case_id: str
    message: str
    fraction: float | None = None
    seconds_left: float | None = None


class Session:
    """What is open in one window. Only presenters change it; views listen to it."""

    case_added = Signal(Case)
    case_removed = Signal(Case)
    current_changed = Signal(object)  # Case or None
    case_changed = Signal(Case, str)  # an Aspect
    model_changed = Signal(object)  # ModelCard or None
    machine_changed = Signal(object)  # Machine or None
    busy_changed = Signal(object)  # Busy or None
    device_changed = Signal(str)  # auto, cpu, cuda, mps
    project_changed = Signal(object)  # ProjectFacts or None

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}
        self._current: str | None = None
        self._model: ModelCard | None = None
        self._model_name = ""
        self._machine: Machine | None = None
        self._busy: Busy | None = None
        self._device = "auto"
        self._project: ProjectFacts | None = None

    @property
    def project(self) -> ProjectFacts | None:
        """The project that is open."""
        return self._project

    @property
    def cases(self) -> tuple[Case, ...]:
        """Open cases, in order of opening."""
        return tuple(self._cases.values())

    @property
    def current(self) -> Case | None:
        """The case that the panels speak of."""
        return self._cases.get(self._current or "")

    @property
    def model(self) -> ModelCard | None:
        """Card of the chosen model."""
        return self._model

    @property
    def model_name(self) -> str:
        """``id@version`` of the chosen model, or ""."""
        return self._model_name

    @property
    def machine(self) -> Machine | None:
        """Where models run; None until the engine has said so."""
        return self._machine

    @property
    def device(self) -> str:
        """Device that was chosen: auto, cpu, cuda or mps."""
        return self._device

    @property
    def busy(self) -> Busy | None:
        """The job under way."""
        return self._busy

    def case(self, case_id: str) -> Case | None:
        """The case of that id, or None once it was closed."""
        return self._cases.get(case_id)

    def free_name(self, wish: str) -> str:
        """`wish`, or `wish` with the first number that makes it unique."""
        taken = {case.name for case in self.cases}
        name, number = wish, 2
        while name in taken:
            name, number = f"{wish} ({number})", number + 1
        return name

    def add(self, case: Case) -> None:
        """Open a case and make it the current one."""
        self._cases[case.id] = case
        self.case_added.emit(case)
        self.choose(case.id)

    def remove(self, case_id: str) -> None:
        """Close a case; another open one becomes current."""
        case = self._cases.pop(case_id, None)
        if case is None:
            return
        self.case_removed.emit(case)
        if self._current == case_id:
            self.choose(next(reversed(self._cases), None))

    def choose(self, case_id: str | None) -> None:
        """Make a case the current one."""
        if case_id != self._current:
            self._current = case_id
            self.current_changed.emit(self.current)

    def change(self, case: Case, aspect: Aspect) -> None:
        """Tell that something about a case has changed."""
        self.case_changed.emit(case, aspect)

    def set_model(self, card: ModelCard | None, name: str = "") -> None:
        """Choose a model."""
        self._model, self._model_name = card, name
        self.model_changed.emit(card)

    def set_machine(self, machine: Machine | None) -> None:
        """Note where models run."""
        self._machine = machine
        self.machine_changed.emit(machine)

    def set_device(self, device: str) -> None:
        """Choose where models run."""
        if device != self._device:
            self._device = device
            self.device_changed.emit(device)

    def set_project(self, project: ProjectFacts | None) -> None:
        """Note which project is open, and what is known of it."""
        self._project = project
        self.project_changed.emit(project)

    def set_busy(self, busy: Busy | None) -> None:
        """Note the job under way, or that there is none."""
        self._busy = busy
        self.busy_changed.emit(busy)

    def fall_silent(self) -> None:
        """Tell nobody anything from here on: the window is going."""
        for signal in (
            self.case_added,
            self.case_removed,
            self.current_changed,
            self.case_changed,
            self.model_changed,
            self.machine_changed,
            self.busy_changed,
            self.device_changed,
            self.project_changed,
        ):
            signal.disconnect()
