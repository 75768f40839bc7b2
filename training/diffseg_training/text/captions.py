"""Captions of pictures from facts, in several phrasings, and the words they need.

What a caption says it says of this picture, and every caption knows what it says: so
that one which is true of another picture too is not taken for false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffseg_training.text.facts import Facts, Statement
from diffseg_training.text.picture_sets import PictureSet, Structure

UNTOLD = "picture"
"""Caption of a picture of which nothing is known."""

_SAID = 0.5  # chance that a size, a side or an absence is told where it is known
# All that the phrasings below say beside the words of the sets.
_OWN = (
    "a an the with without no showing on of in and left right upper lower centre part "
    f"{UNTOLD}"
)


@dataclass(frozen=True, slots=True)
class Caption:
    """A text in small letters, and the statements that it makes."""

    text: str
    said: frozenset[Statement]


def caption_of(facts: Facts, random: np.random.Generator) -> Caption:
    """Put some of the facts of a picture into words, drawn at random.

    Parameters
    ----------
    facts : Facts
    random : Generator
        The same facts and the same numbers give the same caption.
    """
    if facts.of is None:
        return Caption(UNTOLD, frozenset())
    structures = facts.of.structures
    present = [s for s in structures if ("present", s.name) in facts.statements]
    absent = [s for s in structures if ("absent", s.name) in facts.statements]
    picture = _drawn(facts.of.pictures, random)
    its_set: frozenset[Statement] = frozenset({("set", facts.of.name)})
    if absent and (not present or random.random() < _SAID / 2):
        return _of_absence(facts.of, absent, picture, random)
    if not present or random.random() < _SAID / 4:
        return Caption(_with_article(picture, random), its_set)
    found = [_finding(structure, facts, random) for structure in present]
    if len(found) > 1 and random.random() < _SAID:
        found = [found[int(random.integers(len(found)))]]
    text = " and ".join(one.text for one in found)
    said = frozenset().union(*(one.said for one in found))
    form = int(random.integers(4))
    if form == 0:  # nothing but what is found, as a prompt for a structure is
        return Caption(text, said)
    picture = _with_article(picture, random)
    if form == 1:
        return Caption(f"{text} on {picture}", said | its_set)
    joint = "with" if form == 2 else "showing"
    return Caption(f"{picture} {joint} {text}", said | its_set)


def _of_absence(
    of: PictureSet,
    absent: Sequence[Structure],
    picture: str,
    random: np.random.Generator,
) -> Caption:
    """A caption that says of one structure, or of all, that it is not there."""
    if len(absent) == len(of.structures) and random.random() < _SAID:
        said = {("absent", structure.name) for structure in absent}
        text = _drawn(of.normal, random)
        return Caption(text, frozenset({("set", of.name), *said}))
    one = absent[int(random.integers(len(absent)))]
    noun = _drawn(one.words, random)
    nothing = f"no {noun}"
    if random.random() < _SAID:
        nothing = noun if one.plural else f"{_article(noun)} {noun}"
        text = f"{_with_article(picture, random)} without {nothing}"
    else:
        text = f"{_with_article(picture, random)} with {nothing}"
    return Caption(text.lower(), frozenset({("set", of.name), ("absent", one.name)}))


def _finding(
    structure: Structure, facts: Facts, random: np.random.Generator
) -> Caption:
    """A structure, now and then with its size and its side."""
    noun = _drawn(structure.words, random)
    said: set[Statement] = {("present", structure.name)}
    sizes = facts.words_of("size", structure.name)
    if sizes and random.random() < _SAID:
        noun = f"{sizes[0]} {noun}"
        said.add(("size", structure.name, sizes[0]))
    if not structure.plural and random.random() < _SAID:
        noun = f"{_article(noun)} {noun}"
    sides = facts.words_of("at", structure.name)
    if sides and random.random() < _SAID:
        if len(sides) > 1 and random.random() < _SAID:
            sides = (sides[int(random.integers(len(sides)))],)
        noun = f"{noun} {where(sides)}"
        said |= {("at", structure.name, side) for side in sides}
    return Caption(noun.lower(), frozenset(said))


def where(sides: Sequence[str]) -> str:
    """A side in words: of upper or lower, left or right, both, or the centre."""
    if list(sides) == ["centre"]:
        return "in the centre"
    order = [word for word in ("upper", "lower", "left", "right") if word in sides]
    if order in (["left"], ["right"]):
        return f"on the {order[0]}"
    return f"in the {' '.join(order)} part"


def _drawn(words: Sequence[str], random: np.random.Generator) -> str:
    return words[int(random.integers(len(words)))].lower()


def _article(noun: str) -> str:
    """A or an; the words of captions are spoken as they are written, but for MR."""
    spoken = "e" if noun.split()[0].lower() in ("mr", "mri") else noun[0].lower()
    return "an" if spoken in "aeiou" else "a"


def _with_article(picture: str, random: np.random.Generator) -> str:
    return f"{_article(picture)} {picture}" if random.random() < _SAID else picture


def vocabulary(sets: Sequence[PictureSet]) -> tuple[str, ...]:
    """All words that captions of these sets can hold, in order."""
    phrases = [_OWN]
    for one in sets:
        phrases += [*one.pictures, *one.normal]
        for structure in one.structures:
            phrases += [*structure.words, *(word for word, _ in structure.sizes)]
    return tuple(
        sorted({word for phrase in phrases for word in phrase.lower().split()})
    )
