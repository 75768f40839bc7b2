"""Some of many, evenly over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int | None) -> Sequence[Item]:
    """At most so many of the items, the first and the last among them; None: all.

    Where there are no more, the items themselves: some are read only when asked for.
    """
    if most is None or len(items) <= most:
        return items
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, most)]
