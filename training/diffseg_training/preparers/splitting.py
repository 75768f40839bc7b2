"""Splits of a data set: the papers' own, and a val split taken from train alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diffseg_training.preparers.nouns import Item

SEED = 0
"""Of every choice that a paper leaves open, unless another is asked for."""


def with_val(items: Sequence[Item], share: float, seed: int = SEED) -> list[Item]:
    """Items with a share of the train split's groups moved to val, whole groups.

    Nothing is taken from test. Nothing changes where there is a val split already.
    """
    train = sorted({item.group for item in items if item.split == "train"})
    if any(item.split == "val" for item in items) or len(train) < 2:
        return list(items)
    count = min(max(1, round(share * len(train))), len(train) - 1)
    chosen = set(shuffled(train, seed)[:count])
    return [
        replace(item, split="val")
        if item.split == "train" and item.group in chosen
        else item
        for item in items
    ]


def by_counts(
    items: Sequence[Item], counts: Sequence[tuple[str, int]], seed: int = SEED
) -> list[Item]:
    """Deal items out to splits at random, group by group.

    Parameters
    ----------
    items : sequence of Item
    counts : sequence of (split, number of groups)
        Of all groups; where there are fewer, in the same proportion.
    """
    groups = shuffled(sorted({item.group for item in items}), seed)
    total = sum(count for _, count in counts)
    split_of: dict[str, str] = {}
    ends = np.cumsum([count for _, count in counts]) * len(groups) / total
    for position, group in enumerate(groups):
        place = int(np.searchsorted(ends, position + 0.5))
        split_of[group] = counts[place][0]
    return [replace(item, split=split_of[item.group]) for item in items]


def shuffled(names: Sequence[str], seed: int) -> list[str]:
    """Names in an order that the seed alone decides."""
    order = np.random.default_rng(seed).permutation(len(names))
    return [names[int(place)] for place in order]


def kept_apart(items: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """Items whose groups keep to one split, and a remark where they did not.

    A patient whom the publishers put into train and test becomes one group in each.
    """
    splits: dict[str, set[str]] = {}
    for item in items:
        splits.setdefault(item.group, set()).add(item.split)
    shared = {group for group, where in splits.items() if len(where) > 1}
    if not shared:
        return list(items), []
    remark = (
        f"{len(shared)} of {len(splits)} patients stand in both train and test as "
        "published: their test scores flatter"
    )
    apart = [
        replace(item, group=f"{item.group}-{item.split}")
        if item.group in shared
        else item
        for item in items
    ]
    return apart, [remark]
