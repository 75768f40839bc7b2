"""What to look for, in words: kept with the case, and understood while one types."""

from __future__ import annotations

from collections.abc import Sequence

from diffseg.domain import ModelCard
from diffseg.domain.asking import Asked
from diffseg.domain.vocabulary import Vocabulary, speaks_of_words, vocabulary_of
from diffseg.errors import UserError
from napari_diffseg.presenters.tables import labels_for, slice_labels_for
from napari_diffseg.session import Case, Session
from napari_diffseg.views import PromptView

_MOST = 3
"""Words of a class that are named in a line."""


class PromptPresenter:
    """Part "In words" of panel "What is in it".

    Parameters
    ----------
    session : Session
    view : PromptView
    """

    def __init__(self, session: Session, view: PromptView) -> None:
        self._session, self._view = session, view
        self._case: Case | None = session.current  # whose words are in the field
        view.prompt_given.connect(self.say)
        session.model_changed.connect(lambda _: self._show())
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        self._show()

    def say(self, text: str) -> None:
        """Note what to look for."""
        case = self._case
        if case is None or self._session.case(case.id) is None:
            return
        if case.prompt != text.strip():
            case.prompt = text.strip()
            self._session.change(case, "labels")

    def refuse(self, message: str) -> bool:
        """Show what the model itself says of the words; whether it speaks of them."""
        case = self._session.current
        mine = case is not None and bool(case.prompt) and speaks_of_words(message)
        if mine:
            self._view.say_prompt(message, True)
        return mine

    def _on_current(self, case: Case | None) -> None:
        self._view.settle()  # what was typed is of the case before
        self._case = case
        self._show()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if case is self._session.current and aspect in ("labels", "table", "entry"):
            self._show()

    def _show(self) -> None:
        card, case = self._session.model, self._session.current
        reads = card is not None and "text" in card.capabilities
        if card is None or case is None or not reads:
            self._view.show_prompt(False, "", ())
            return
        try:
            known = vocabulary_of(card)
        except UserError as error:
            self._view.show_prompt(True, case.prompt, ())
            self._view.say_prompt(str(error), True)
            return
        self._view.show_prompt(True, case.prompt, known.all_words if known else ())
        if known is None:  # another's method: it alone knows what it reads
            self._view.say_prompt("", False)
            return
        try:
            line = understood(known, self._asked(known, case, card))
        except UserError as error:
            self._view.say_prompt(str(error), True)
        else:
            self._view.say_prompt(line, False)

    @staticmethod
    def _asked(known: Vocabulary, case: Case, card: ModelCard) -> Asked:
        return known.asked(
            case.prompt or None, labels_for(case, card), slice_labels_for(case, card)
        )


def understood(known: Vocabulary, asked: Asked) -> str:
    """Tell in a line what would be looked for.

    Parameters
    ----------
    known : Vocabulary
        Of the model.
    asked : Asked
    """
    if asked.prompts is None:
        return "nothing is looked for: all of it is said to be absent"
    told = dict(zip(asked.indices, asked.prompts.words, strict=True))
    parts = [_named(known.names[index], told[index]) for index in asked.wanted]
    line = f"looks for {_listed(parts)}"
    waiting = [
        name for name in known.silent if known.names.index(name) not in asked.wanted
    ]
    if waiting:
        line += f". {_listed(waiting)}: say in words what it is"
    return line


def _named(name: str, words: Sequence[str]) -> str:
    """A class, and words that mean it, where they are others than its name."""
    others = [word for word in words if word.casefold() != name.casefold()]
    if not others:
        return name
    shown, rest = others[:_MOST], len(others) - _MOST
    more = f" and {rest} more" if rest > 0 else ""
    return f"{name} ({', '.join(shown)}{more})"


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
