"""What a model that reads words understands of a request; loads without torch.

The command line, the window and the model itself ask here, so that what is refused is
refused in the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffseg.domain.asking import Asked, asked_of
from diffseg.domain.card import ModelCard
from diffseg.domain.diclip import METHOD, diclip_config
from diffseg.domain.labels import ImageLabels
from diffseg.domain.prompts import PromptBook, plain
from diffseg.domain.request import Request
from diffseg.domain.slice_labels import PRESENT, SliceLabels
from diffseg.errors import UserError

_OF_WORDS = ("words of ", "text ", "text: ", "the text ", "a text ", "no text ")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Classes of a model, and the words that it has for them.

    Parameters
    ----------
    names : tuple of str
    book : PromptBook
    steps : int
        Most that it can be asked for.
    """

    names: tuple[str, ...]
    book: PromptBook
    steps: int

    def words_of(self, name: str) -> tuple[str, ...]:
        """Words that mean a class; none of one that waits for a text."""
        return tuple(self.book.classes.get(plain(name), ()))

    @property
    def silent(self) -> tuple[str, ...]:
        """Classes without any words: a text has to say what they are."""
        return tuple(name for name in self.names if not self.words_of(name))

    @property
    def all_words(self) -> tuple[str, ...]:
        """Names of the classes that have words, then their words, each once."""
        named = [name for name in self.names if self.words_of(name)]
        words = [word for name in named for word in self.words_of(name)]
        return tuple(dict.fromkeys((*named, *words)))

    def asked(
        self,
        text: str | None,
        labels: ImageLabels,
        slice_labels: SliceLabels | None = None,
    ) -> Asked:
        """Find out what is looked for; see `diffseg.domain.asking.asked_of`."""
        marked: Sequence[str] = ()
        if slice_labels is not None:
            marked = [
                name
                for name in slice_labels.names
                if (slice_labels.of(name) == PRESENT).any()
            ]
        return asked_of(self.names, self.book, text, labels, marked)


def vocabulary_of(card: ModelCard) -> Vocabulary | None:
    """Words that a model has; None where its card tells none.

    Raises
    ------
    UserError
        The card is none that can be used.
    """
    if card.method != METHOD:
        return None
    config = diclip_config(card.network, f"model {card.id}")
    return Vocabulary(card.labels.names, config.words.book, len(config.timesteps))


def check_asked(card: ModelCard, request: Request) -> None:
    """Refuse what says nothing to a model of our own, before it is loaded.

    Raises
    ------
    UserError
        The text says nothing that the model can look for, or there are too many steps.
    """
    known = vocabulary_of(card)
    if known is None:
        return
    known.asked(request.text, request.labels, request.slice_labels)
    if request.steps is not None and request.steps > known.steps:
        raise UserError(
            f"steps is {request.steps}, but model {card.id} looks at {known.steps} "
            f"timesteps: give 1 to {known.steps}"
        )


def speaks_of_words(message: str) -> bool:
    """Whether an error is about the words that were asked for, and no other thing."""
    return message.startswith(_OF_WORDS)
