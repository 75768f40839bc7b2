"""A data set's images to learn from and to choose on, with what is known of them."""

from __future__ import annotations

from pathlib import Path

from diffseg.progress import Progress, Work
from diffseg_training.dataset import Dataset
from diffseg_training.labelled import LabelledExample, label_set, prepare_labelled
from diffseg_training.recipe import Recipe


def labelled_splits(
    recipe: Recipe, dataset: Dataset, cache: Path
) -> Work[tuple[list[LabelledExample], list[LabelledExample]]]:
    """Prepare the images of train and val, and tell what is known of their slices.

    Parameters
    ----------
    cache : path
        A folder for prepared images.

    Raises
    ------
    UserError
        Nothing can be learnt from the labels of a split.
    """
    memory, found = recipe.loading.memory_gb * 1e9, []
    for name, cases in zip(("train", "val"), dataset.for_training(), strict=True):
        examples = yield from prepare_labelled(
            cases,
            dataset,
            recipe.preparation,
            recipe.labels,
            cache=cache,
            memory=memory,
        )
        memory -= sum(one.bytes_held for one in examples)
        told = label_set(
            examples,
            f"split {name} of {dataset.root}",
            absent=recipe.objective.needs_absent,
        )
        for line in (told.told(), *told.warnings):
            yield Progress("prepare", len(cases), len(cases), f"{name}: {line}")
        found.append(examples)
    return found[0], found[1]
