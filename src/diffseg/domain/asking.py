"""What is looked for, in words: a text becomes classes and words; no torch.

A text is words between commas. ``lesion`` is a class, by its name or by a word that
means it; ``lesion=dark spot`` says the class in words of one's own; and words that
mean no class go, in order, to the classes that were given no words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffseg.domain.labels import ImageLabels, Presence
from diffseg.domain.prompts import PromptBook, Prompts, plain, prompts_for
from diffseg.errors import UserError, nearest

Spoken = tuple[str | None, str]
"""A class that is named before the ``=``, if one is, and words."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for in an image.

    Parameters
    ----------
    prompts : Prompts or None
        Words of every class that has any, those that are not looked for, too: what
        texts have in common is told by all of them. None where nothing is looked for.
    indices : tuple of int
        Of these classes, in the table of the model.
    wanted : tuple of int
        Classes, by the same count, that are looked for.
    """

    prompts: Prompts | None
    indices: tuple[int, ...]
    wanted: tuple[int, ...]


def spoken(text: str) -> tuple[Spoken, ...]:
    """Take a text apart at its commas.

    Raises
    ------
    UserError
        It is empty, or a part of it says nothing.
    """
    if not text.strip():
        raise UserError("the text is empty; say in words what is looked for")
    parts: list[Spoken] = []
    for part in text.split(","):
        name, equals, words = (piece.strip() for piece in part.partition("="))
        if not equals:
            name, words = "", name
        if not words or (equals and not name):
            raise UserError(
                f"text {text.strip()!r} has an empty part; give words between commas, "
                "or CLASS=WORDS"
            )
        parts.append((name or None, words))
    return tuple(parts)


def asked_of(
    names: Sequence[str],
    book: PromptBook,
    text: str | None,
    labels: ImageLabels,
    present: Sequence[str] = (),
) -> Asked:
    """Find out what is looked for.

    Classes of the text and classes that are said to be present; where there are
    neither, all classes that have words. What is said to be absent is not looked for.

    Parameters
    ----------
    names : sequence of str
        Classes of the model.
    book : PromptBook
        Its words; a class without any has to be told in a text.
    text : str, optional
        See the module.
    labels : ImageLabels
        Of the whole image.
    present : sequence of str
        Classes that some slice is said to show.

    Raises
    ------
    UserError
        The text says nothing, nothing that the model knows, or the same of two
        classes; or a class that is said to be present has no words.
    """
    own = {name: _words_of(name, book) for name in names}
    told = _told(names, own, text) if text is not None else {}
    said = [name for name in names if labels[name] is Presence.PRESENT]
    wanted = [name for name in names if name in {*told, *said, *present}]
    both = {name: told.get(name) or own[name] for name in names}
    if not wanted:
        wanted = [name for name in names if both[name]] or list(names)
    wanted = [name for name in wanted if labels[name] is not Presence.ABSENT]
    if not wanted:
        return Asked(None, (), ())
    silent = next((name for name in wanted if not both[name]), None)
    if silent is not None:
        raise UserError(
            f"class {silent!r} has no words of its own: say in a text what it is, such "
            f"as {silent}=WORDS"
        )
    worded = [name for name in names if both[name]]
    index = list(names).index
    prompts = prompts_for(
        worded,
        PromptBook(
            book.templates,
            {plain(name): both[name] for name in worded},
            book.background,
        ),
    )
    return Asked(
        prompts,
        tuple(index(name) for name in worded),
        tuple(index(name) for name in wanted),
    )


def _words_of(name: str, book: PromptBook) -> tuple[str, ...]:
    return tuple(book.classes.get(plain(name), ()))


def _told(
    names: Sequence[str], own: Mapping[str, tuple[str, ...]], text: str
) -> dict[str, tuple[str, ...]]:
    """Words of each class that a text speaks of."""
    meaning = {plain(word): name for name in names for word in own[name]}
    meaning |= {plain(name): name for name in names}
    told: dict[str, tuple[str, ...]] = {}
    for name, words in spoken(text):
        found, is_name = _class_of(name, words, names, own, meaning, told)
        words_here = own[found] if is_name and own[found] else (_spaced(words),)
        told[found] = tuple(dict.fromkeys((*told.get(found, ()), *words_here)))
    return told


def _class_of(
    name: str | None,
    words: str,
    names: Sequence[str],
    own: Mapping[str, tuple[str, ...]],
    meaning: Mapping[str, str],
    told: Mapping[str, tuple[str, ...]],
) -> tuple[str, bool]:
    """Class of a part of a text, and whether it is called by its own name."""
    if name is not None:
        if plain(name) not in {plain(one) for one in names}:
            known = ", ".join(names)
            raise UserError(f"text: {name!r} is no class of the model: {known}")
        return meaning[plain(name)], False
    found = meaning.get(plain(words))
    if found is not None and own[found]:
        return found, plain(words) == plain(found)
    waiting = [one for one in names if not own[one] and one not in told]
    if not waiting:
        known = ", ".join(names)
        then = f"; say of which class it speaks, such as {names[0]}={words}"
        meant = nearest(plain(words), [one for one in meaning if own[meaning[one]]])
        raise UserError(
            f"text {words!r} means no class of the model ({known}){meant or then}"
        )
    return waiting[0], False


def _spaced(words: str) -> str:
    return re.sub(r"\s+", " ", words.strip())
