"""Coded terms of structures: what a label says, and the dictionary's words for it.

A label's code is used as it stands; the words for it, and the category that it belongs
to, come from the dictionary that pydicom carries (DICOM PS3.16, CIDs 7150 and 7191 to
7197). A label without a code is coded as 3D Slicer codes a new segment: SCT 85756007,
Tissue, as its category and its type. No code is ever guessed from a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from diffseg.domain import Label
from diffseg.errors import UserError

_CATEGORIES = (  # from the narrowest meaning to the widest
    ("MorphologicallyAbnormalStructure", "cid7194"),
    ("Tissue", "cid7191"),
    ("PhysicalObject", "cid7193"),
    ("BodySubstance", "cid7197"),
    ("AnatomicalStructure", "cid7192"),
)
_LONGEST_CODE = 16  # DICOM's short string


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded term: scheme, value and the words that it stands for."""

    scheme: str
    value: str
    meaning: str

    @property
    def code(self) -> str:
        """As a label keeps it: ``SCT:85756007``."""
        return f"{self.scheme}:{self.value}"


GENERIC = Coded("SCT", "85756007", "Tissue")
"""What stands where a label has no code."""


@dataclass(frozen=True, slots=True)
class Term:
    """What a structure is coded as: a category, and a type within it."""

    category: Coded
    kind: Coded


def term_of(label: Label) -> Term:
    """Code a label.

    Raises
    ------
    UserError
        Its code is not ``scheme:value``.
    """
    if label.code is None:
        return Term(GENERIC, GENERIC)
    scheme, _, value = (part.strip() for part in label.code.partition(":"))
    if not scheme or not value or max(len(scheme), len(value)) > _LONGEST_CODE:
        raise UserError(
            f"label {label.name!r}: code {label.code!r} is not scheme:value, as "
            "SCT:5366008"
        )
    meaning, category = _known().get((scheme, value), ("", GENERIC))
    return Term(category, Coded(scheme, value, meaning or label.name[:64]))


def code_of(scheme: str, value: str) -> str | None:
    """A label's code for a term that was read; None for the generic one."""
    if not scheme or not value or (scheme, value) == (GENERIC.scheme, GENERIC.value):
        return None
    return f"{scheme}:{value}"


@cache
def _known() -> dict[tuple[str, str], tuple[str, Coded]]:
    """Words and category of each term that the dictionary has."""
    from pydicom.sr.codedict import codes

    known: dict[tuple[str, str], tuple[str, Coded]] = {}
    for name, context in _CATEGORIES:
        found = codes.cid7150.concepts[name]
        category = Coded(found.scheme_designator, found.value, found.meaning)
        for term in getattr(codes, context).concepts.values():
            key = (term.scheme_designator, term.value)
            known.setdefault(key, (term.meaning, category))
    for term in codes.SCT.concepts.values():
        key = (term.scheme_designator, term.value)
        known.setdefault(key, (term.meaning.removesuffix(" (body structure)"), GENERIC))
    return known
