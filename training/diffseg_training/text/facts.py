"""What is true of a picture: its set, what is present or absent, where, how large.

Facts are statements, each a tuple of words: ``("set", "lgg")``, ``("present",
"tumour")``, ``("absent", "tumour")``, ``("at", "tumour", "left")``, ``("size",
"tumour", "small")``. A caption says some of them, and is true of every picture of which
all that it says is stated.

Sides are those of the picture, as it is looked at: in radiological images the left of
the picture is the right of the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diffseg_training.text.picture_sets import PictureSet, Structure

Statement = tuple[str, ...]

_LEAST = 1 / 2000  # of the picture: less of a structure is neither present nor absent
_MIDDLE = (0.4, 0.6)  # of an extent, in which a centre of mass lies on no side


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one picture.

    Parameters
    ----------
    of : PictureSet or None
        The set that it belongs to; None where nothing tells.
    statements : frozenset of tuple of str
    """

    of: PictureSet | None
    statements: frozenset[Statement]

    def hold(self, said: frozenset[Statement]) -> bool:
        """Whether all that is said is true of the picture."""
        return said <= self.statements

    def words_of(self, kind: str, structure: str) -> tuple[str, ...]:
        """What the statements of a kind say of a structure, in order."""
        found = [s[2] for s in self.statements if s[:2] == (kind, structure)]
        return tuple(sorted(found))


def facts_of(
    classes: NDArray[np.integer], sets: Sequence[PictureSet], *, places: bool
) -> Facts:
    """Tell the facts of a picture from its mask.

    Parameters
    ----------
    classes : (Y, X) integer ndarray
        Classes of all the sets in their order, surroundings among them; 0 is beyond
        the picture's edge.
    sets : sequence of PictureSet
        The picture is of the one that most of it belongs to.
    places : bool
        Whether sides and sizes are stated, which the mask alone can tell; set and
        presence are what image-level labels say, too.
    """
    firsts = np.cumsum([1, *(one.classes for one in sets)])
    counts = np.bincount(classes.ravel(), minlength=int(firsts[-1]))
    shown = [int(counts[first:stop].sum()) for first, stop in pairwise(firsts)]
    picture = max(shown)
    if not picture:
        return Facts(None, frozenset())
    index = shown.index(picture)
    of = sets[index]
    said: set[Statement] = {("set", of.name)}
    for value, structure in enumerate(of.structures, start=int(firsts[index]) + 1):
        said |= _statements(structure, classes == value, picture, places)
    return Facts(of, frozenset(said))


def _statements(
    structure: Structure, mask: NDArray[np.bool_], picture: int, places: bool
) -> set[Statement]:
    """What is stated of a structure in a picture of so many pixels."""
    name, count = structure.name, int(mask.sum())
    if not count:
        return {("absent", name)}
    share = count / picture
    if share < _LEAST:
        return set()
    said: set[Statement] = {("present", name)}
    if places:
        said.add(("size", name, size_of(share, structure)))
        if structure.placed:
            said |= {("at", name, side) for side in sides_of(mask)}
    return said


def size_of(share: float, structure: Structure) -> str:
    """What a structure of a share of the picture, in (0, 1], is called."""
    for word, most in structure.sizes:
        if share <= most:
            return word
    return structure.sizes[-1][0]


def sides_of(mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Sides of the picture on which the centre of mass of a mask (Y, X) lies.

    Returns
    -------
    tuple of str
        Of upper and lower, left and right; ``centre`` alone where it is on neither.

    Raises
    ------
    ValueError
        The mask is empty.
    """
    rows, columns = np.nonzero(mask)
    if not rows.size:
        raise ValueError("an empty mask lies nowhere")
    sides = []
    for places, extent, words in (
        (rows, mask.shape[0], ("upper", "lower")),
        (columns, mask.shape[1], ("left", "right")),
    ):
        middle = (float(places.mean()) + 0.5) / extent
        if middle < _MIDDLE[0]:
            sides.append(words[0])
        elif middle > _MIDDLE[1]:
            sides.append(words[1])
    return tuple(sides) or ("centre",)
