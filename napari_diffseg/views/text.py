"""What is looked for in words, and what a model that reads them remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from diffseg.domain.cache_keys import CacheKey
from napari_diffseg.views.nouns import Intent


class PromptView(Protocol):
    """Part "In words" of panel "What is in it"; shown for models that read words."""

    @property
    def prompt_given(self) -> Intent:
        """Str: what to look for; told while somebody types, after a pause."""

    def settle(self) -> None:
        """Tell at once what was typed: another case comes."""

    def show_prompt(self, shown: bool, text: str, words: Sequence[str]) -> None:
        """Show the text of the case at hand, and offer the words that mean a class."""

    def say_prompt(self, line: str, trouble: bool) -> None:
        """Tell what would be looked for, or in a line what is wrong with the text."""


class CacheView(Protocol):
    """Part "Examples" of panel "Model": what the model compares images with."""

    @property
    def looked(self) -> Intent:
        """Bool: whether it was opened."""

    @property
    def drop_requested(self) -> Intent:
        """Tuple of int: keys to leave out."""

    @property
    def undo_requested(self) -> Intent:
        """No argument: go back to the version before keys were dropped."""

    def show_there(self, there: bool) -> None:
        """Whether the model has such a part at all."""

    def show_keys(self, keys: Sequence[CacheKey], colors: Sequence[str]) -> None:
        """List the keys class by class; `colors` are those of each key's class."""

    def show_state(self, line: str, why_not: str, undo: str) -> None:
        """Tell how it stands; why nothing can be dropped; the version to go back to."""
