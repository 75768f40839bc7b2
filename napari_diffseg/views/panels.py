"""The panels that come before a result: case, labels, model, propose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from diffseg.domain import Label, ModelCard, Presence
from diffseg.engine.events import Machine
from napari_diffseg.session import Busy
from napari_diffseg.views.nouns import CaseFacts, Intent, ModelChoice, Scope


class CaseView(Protocol):
    """Panel "Case": open images, geometry, display."""

    @property
    def open_requested(self) -> Intent:
        """Str: path(s) joined by ";", or "" to ask for files."""

    @property
    def mask_requested(self) -> Intent:
        """Str: path of a mask to correct, or "" to ask."""

    @property
    def close_requested(self) -> Intent:
        """No argument: the current case."""

    @property
    def case_chosen(self) -> Intent:
        """Str: case id."""

    @property
    def spacing_given(self) -> Intent:
        """Float, float, float: mm of (plane, row, column)."""

    @property
    def plane_chosen(self) -> Intent:
        """Plane."""

    @property
    def radiological_toggled(self) -> Intent:
        """Bool."""

    @property
    def window_chosen(self) -> Intent:
        """Str: name of a window/level preset."""

    def set_cases(self, cases: Sequence[tuple[str, str]], current: str | None) -> None:
        """List (id, name) of the open cases."""

    def show_facts(self, facts: CaseFacts | None) -> None:
        """Show the current case's facts, or the empty state."""

    def set_windows(self, names: Sequence[str], current: str | None) -> None:
        """List the window/level presets that fit the current case."""

    def ask_series(self, lines: Sequence[str]) -> int | None:
        """Ask which DICOM series to open; None if the user gave up."""


class LabelsView(Protocol):
    """Panel "What is in it": image-level labels, names, colours, the active one."""

    @property
    def presence_given(self) -> Intent:
        """Str, Presence."""

    @property
    def label_chosen(self) -> Intent:
        """Int: value to paint with."""

    @property
    def renamed(self) -> Intent:
        """Int, str: value, new name."""

    @property
    def recolored(self) -> Intent:
        """Int, str: value, "#rrggbb"."""

    @property
    def added(self) -> Intent:
        """Str: name of a new structure."""

    def show_labels(
        self, rows: Sequence[tuple[Label, Presence]], active: int, editable: bool
    ) -> None:
        """Show every structure of the current case; editable: names and rows."""


class ModelView(Protocol):
    """Panel "Model": choice, card, licence, device."""

    @property
    def model_chosen(self) -> Intent:
        """Str: name."""

    @property
    def device_chosen(self) -> Intent:
        """Str: auto, cpu, cuda, mps."""

    @property
    def card_requested(self) -> Intent:
        """No argument: show the whole card."""

    def set_models(self, choices: Sequence[ModelChoice], current: str) -> None:
        """List the models."""

    def show_card(self, card: ModelCard | None) -> None:
        """Show title, licence, data, limits and measured quality."""

    def show_machine(self, machine: Machine | None, state: str) -> None:
        """Show where models run; with a reason, lastingly, when on the CPU.

        `state` is "starting", "ready", or a line that says what is wrong.
        """


class ProposeView(Protocol):
    """Panel "Propose": scope, ensemble, run, cancel."""

    @property
    def run_requested(self) -> Intent:
        """No argument: the current case."""

    @property
    def run_all_requested(self) -> Intent:
        """No argument: every open case."""

    @property
    def cancel_requested(self) -> Intent:
        """No argument."""

    @property
    def scope_chosen(self) -> Intent:
        """Scope."""

    @property
    def settings_changed(self) -> Intent:
        """Int members, int steps, int seed."""

    def set_settings(self, members: int, steps: int, seed: int) -> None:
        """Show the ensemble's settings without telling an intent."""

    def set_scope(self, scope: Scope, note: str) -> None:
        """Show the scope, and in words what it covers or what is missing."""

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether a run can start, and if not what to do first."""

    def show_doubts(self, lines: Sequence[str]) -> None:
        """Show what makes a run doubtful, though it can start; () for nothing."""

    def set_plan(self, text: str) -> None:
        """Show the estimate ("about 7 s, 1.1 GB"), or ""."""

    def set_busy(self, busy: Busy | None) -> None:
        """Show progress and the way to cancel, or that nothing runs."""

    def ask_replace(self, touched: int, word: str = "voxel") -> bool | None:
        """Ask whether to replace what was drawn: keep (False), replace, give up.

        `word` is what the `touched` voxels of this image are called.
        """
