"""Learning from corrections: what it would learn from, its curve, verdict, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from napari_diffseg.views.nouns import Intent
from napari_diffseg.views.weak import WeakState

Side = Literal["off", "before", "after"]
"""Whose mask of a held-out case is shown over the annotator's."""


@dataclass(frozen=True, slots=True)
class TrainCase:
    """A case that was corrected or accepted, or of which something was said.

    Parameters
    ----------
    voxels : int
        That were reviewed; 0 where the labels of its slices are all that teaches.
    whole : bool
        Whether its review is done.
    held_out : bool
        Whether it judges; else it is learnt from.
    used : bool
        Whether the user lets it take part.
    slices : int
        Of which something is known, where the model learns from that, too.
    """

    id: str
    name: str
    voxels: int
    whole: bool
    held_out: bool
    used: bool = True
    slices: int = 0


@dataclass(frozen=True, slots=True)
class TrainState:
    """What can be done now.

    Parameters
    ----------
    cases : tuple of TrainCase
    line : str
        What would be learnt from, in a line.
    why_not : str
        Why it cannot start; "" where it can.
    looking : bool
        Whether the cases are still being counted.
    running : bool
    resumable : bool
        Whether a run was broken off that can go on.
    """

    cases: tuple[TrainCase, ...] = ()
    line: str = ""
    why_not: str = ""
    looking: bool = False
    running: bool = False
    resumable: bool = False


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Loss by step, and the Dice of held-out cases at some steps.

    Parameters
    ----------
    losses : tuple of (int, float)
        Step, and the mean loss of the latest steps.
    scores : tuple of (int, float)
        Step, and the mean Dice of held-out cases.
    total : int
        Steps that there will be; 0 while unknown.
    """

    losses: tuple[tuple[int, float], ...] = ()
    scores: tuple[tuple[int, float], ...] = ()
    total: int = 0


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Held-out Dice of a class before and after; `worse`: the gate refused for it."""

    name: str
    before: float
    after: float
    low: float | None
    high: float | None
    present: int
    worse: bool


@dataclass(frozen=True, slots=True)
class TrainVerdict:
    """How a fine-tuning ended.

    Parameters
    ----------
    kept : bool
    model : str
        ``id@version`` of the child.
    sentence : str
        The gate's own, with its figures.
    held_out : tuple of (str, str)
        Id and name of the cases that judged.
    """

    kept: bool
    model: str
    sentence: str
    classes: tuple[ClassChange, ...]
    held_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Version:
    """A version in the tree of its model; `current`: what the model's id means."""

    name: str
    version: str
    depth: int
    current: bool
    line: str = ""


class TrainView(Protocol):
    """Panel "Train"."""

    @property
    def looked(self) -> Intent:
        """Bool: the panel was unfolded, or folded."""

    @property
    def case_ticked(self) -> Intent:
        """Str, bool: id of a case, and whether it takes part."""

    @property
    def run_requested(self) -> Intent:
        """Float or None, float, float: minutes (None: the recipe's steps), tolerances.

        Of a structure, and of the mean of all.
        """

    @property
    def self_train_requested(self) -> Intent:
        """Str, float or None, float, float: recipe, minutes, tolerances."""

    @property
    def resume_requested(self) -> Intent:
        """No argument: go on with the run that was broken off."""

    @property
    def cancel_requested(self) -> Intent:
        """No argument."""

    @property
    def compare_requested(self) -> Intent:
        """Str, Side: id of a held-out case, and whose mask of it."""

    @property
    def version_chosen(self) -> Intent:
        """Str: ``id@version``; it becomes what the id means."""

    @property
    def rollback_requested(self) -> Intent:
        """No argument: back to the parent of the current version."""

    def show_state(self, state: TrainState) -> None:
        """Show what would be learnt from, and what can be done."""

    def show_weak(self, state: WeakState) -> None:
        """Show what weak masks could teach."""

    def show_progress(self, message: str, fraction: float | None) -> None:
        """Show how far it is; `fraction` in [0, 1], None while unknown."""

    def show_curve(self, curve: LearningCurve) -> None:
        """Draw the live curve; nothing at all without a point."""

    def show_verdict(self, verdict: TrainVerdict | None) -> None:
        """Show how it ended."""

    def show_side(self, side: Side) -> None:
        """Show whose mask is shown, without telling an intent."""

    def show_versions(self, versions: Sequence[Version], back_to: str) -> None:
        """Show the tree; `back_to` is the parent's version, "" without one."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """What was said against what was so, before and after a calibration.

    Parameters
    ----------
    name : str
        "likeliest class", or a structure.
    before, after : tuple of (float, float)
        Mean probability and share that was right, of each bin that has voxels.
    ece : (float, float)
        Calibration error before and after.
    """

    name: str
    before: tuple[tuple[float, float], ...]
    after: tuple[tuple[float, float], ...]
    ece: tuple[float, float]


@dataclass(frozen=True, slots=True)
class DiceLine:
    """What the Dice of a structure of the proposal is expected to be, in words."""

    structure: str
    expected: str = ""
    predicted: str = ""
    correlation: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationFacts:
    """The calibration of the chosen model, as far as it is known."""

    line: str = ""
    curves: tuple[Reliability, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


class CalibrationView(Protocol):
    """Calibration: a part of panel "Model"."""

    @property
    def looked(self) -> Intent:
        """Bool: the part was unfolded, or folded."""

    @property
    def run_requested(self) -> Intent:
        """No argument: calibrate on the project's reviewed cases."""

    @property
    def cancel_requested(self) -> Intent:
        """No argument."""

    def show_facts(self, facts: CalibrationFacts) -> None:
        """Show the model's calibration before and after."""

    def show_dice(self, lines: Sequence[DiceLine]) -> None:
        """Show what Dice is expected of the proposal at hand."""

    def show_ready(self, line: str, why_not: str, *, running: bool) -> None:
        """Show what it would be fitted on, or why it cannot be, or how far it is."""


class ReadingView(Protocol):
    """Both readings of the project's case at hand: a part of panel "Project"."""

    @property
    def second_requested(self) -> Intent:
        """No argument: begin to read the case a second time."""

    @property
    def comment_given(self) -> Intent:
        """Str."""

    def show_reading(
        self,
        about: str,
        line: str,
        comment: str,
        *,
        closed: str,
        refused: str,
        second: bool,
    ) -> None:
        """Show how the readings of a case stand.

        Parameters
        ----------
        about : str
            Id of the case.
        line : str
            Who read it, and how far the readings agree.
        closed : str
            Why no comment can be written; "" where it can.
        refused : str
            Why no second reading can be begun; "" where it can.
        second : bool
            This is the second reading.
        """

    def hide_reading(self) -> None:
        """Show nothing: no case of a project is at hand."""
