"""The licence of what was learnt from several sources: the most restrictive holds."""

from __future__ import annotations

import re

_COMMONS = re.compile(
    r"CC[ -]BY((?:-(?:NC|SA|ND))*)(?:[ -]\d(?:\.\d)?)?", re.IGNORECASE
)
_FREE = re.compile(r"CC0(?:[ -]\d(?:\.\d)?)?|public domain", re.IGNORECASE)


def inherited(*licences: str) -> str:
    """What holds for a model that was made with all of these.

    A Creative Commons licence gives way to one that asks for all that it asks for and
    more: CC0 to any, BY to BY-SA and BY-NC, these to BY-NC-SA. Others cannot be
    compared, and hold side by side.

    Returns
    -------
    str
        The licences that give way to none, in their order, joined by "; also".
    """
    given = tuple(dict.fromkeys(one.strip() for one in licences if one.strip()))
    left = [
        one
        for number, one in enumerate(given)
        if not any(
            _gives_way(one, other) and (number > at or not _gives_way(other, one))
            for at, other in enumerate(given)
            if at != number
        )
    ]
    return "; also ".join(left)


def _gives_way(one: str, other: str) -> bool:
    """Whether all that a licence asks for is asked by the other."""
    mine, others = _asks(one), _asks(other)
    if mine is None:
        return False
    return not mine if others is None else mine <= others


def _asks(licence: str) -> frozenset[str] | None:
    """What a Creative Commons licence asks for; None of any other."""
    if _FREE.fullmatch(licence):
        return frozenset()
    found = _COMMONS.fullmatch(licence)
    if found is None:
        return None
    return frozenset({"BY", *(part for part in found[1].upper().split("-") if part)})
