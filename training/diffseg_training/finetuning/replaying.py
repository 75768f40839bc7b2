"""Base data beside the corrections, so that what was known is not forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from diffseg.domain import LabelTable
from diffseg.errors import UserError
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.training_set import AnyExample


def replay_data(path: str, labels: LabelTable, most: int, seed: int) -> Dataset:
    """Cases of a data set's split ``train``, at most so many, drawn by a seed.

    Returns
    -------
    Dataset
        Its structures in the order of the model's `labels`.

    Raises
    ------
    UserError
        It is no data set, has no such split with masks, or has other structures.
    """
    dataset = load_dataset(path)
    if set(dataset.labels.names) != set(labels.names):
        raise UserError(
            f"the model finds {', '.join(labels.names)}, but the classes of "
            f"{dataset.root} are {', '.join(dataset.labels.names)}; name them alike in "
            "its classes.json"
        )
    cases = [case for case in dataset.split("train") if case.mask is not None]
    if not cases:
        raise UserError(f"no case of split 'train' of {dataset.root} has a mask")
    order = np.random.default_rng(seed).permutation(len(cases))[:most]
    known = {one.name: one for one in dataset.labels.each()}
    table = LabelTable(labels=tuple(known[name] for name in labels.names))
    chosen = tuple(cases[int(index)] for index in sorted(order))
    return replace(dataset, root=Path(dataset.root), cases=chosen, labels=table)


def mixed(
    corrected: Sequence[AnyExample], base: Sequence[AnyExample], share: float
) -> list[AnyExample]:
    """Examples of which about a `share` is of the base data.

    Every example comes at least once; those of the smaller part come again.

    Parameters
    ----------
    share : float
        In [0, 1); 0 leaves the base data out.
    """
    if not base or not share:
        return list(corrected)
    odds = share / (1 - share)  # base examples for each corrected one
    again = max(1, round(len(base) / (odds * len(corrected))))
    base_again = max(1, round(odds * len(corrected) * again / len(base)))
    return [*corrected] * again + [*base] * base_again
