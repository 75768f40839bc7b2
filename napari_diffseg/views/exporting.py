"""What the part "All cases" of panel "Export" and its presenter tell one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from napari_diffseg.views.nouns import Intent


class ProjectExportView(Protocol):
    """The part "All cases of the project" of panel "Export"."""

    @property
    def format_chosen(self) -> Intent:
        """Str: name of a format."""

    @property
    def folder_changed(self) -> Intent:
        """Str: where the files go."""

    @property
    def run_requested(self) -> Intent:
        """No argument."""

    def show_formats(self, formats: Sequence[tuple[str, str]], current: str) -> None:
        """Offer formats, each by name and title; none of them: no project is open."""

    def show_folder(self, folder: str) -> None:
        """Show where the files go."""

    def set_ready(self, ready: bool, why_not: str) -> None:
        """Whether it can be done, and if not why."""

    def show_done(self, text: str) -> None:
        """Say what was written and where."""
