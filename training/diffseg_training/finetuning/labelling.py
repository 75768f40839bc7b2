"""What a project teaches a model that learns from image-level labels, too.

Cases of which something was said are learnt from beside those that were corrected or
accepted, whose masks tell which slices show what. Loads without torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.domain.label_set import LabelSet, learnable
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN, SliceLabels, States
from diffseg.project import store
from diffseg.project.store.slice_labels import slice_labels_of
from diffseg_training.finetuning.gathering import (
    Candidate,
    Taught,
    candidates,
    patients,
    taught,
)
from diffseg_training.finetuning.materials import NOTHING, Materials, Teach
from diffseg_training.recipe import Recipe

NOTHING_KNOWN = (
    "nothing is known of any slice of these cases, and there is nothing to learn from: "
    "say what slices show, draw, or finish a review"
)


def known_to(
    project: store.Project, patient: str, recipe: Recipe
) -> tuple[Candidate, ...]:
    """Every case that has something to teach by a recipe, in order of name.

    Raises
    ------
    UserError
        `patient` is no regular expression with a group.
    """
    known = candidates(project, patient)
    if not recipe.objective.assembled:
        return known
    ids, group = {one.case.id for one in known}, patients(patient)
    said = [
        Candidate(
            case := store.case_of(project, line.id), None, None, group(case), False
        )
        for line in store.list_cases(project, limit=None).lines
        if line.state is not store.State.FLAGGED
        and line.id not in ids
        and store.statements_of(project, line.id)
    ]
    return tuple(sorted((*known, *said), key=lambda one: one.case.name))


def teach_of(recipe: Recipe) -> Teach:
    """What a case teaches by a recipe."""
    return taught_with_labels if recipe.objective.assembled else taught


def nothing_of(recipe: Recipe) -> str:
    """What is told where nothing is left to learn from."""
    return NOTHING_KNOWN if recipe.objective.assembled else NOTHING


def check_labels(recipe: Recipe, materials: Materials) -> None:
    """Refuse labels from which a structure cannot be told, where labels teach.

    Raises
    ------
    UserError
        Of a structure nothing is known, or it is present in no slice.
    """
    if recipe.objective.assembled:
        dataset = materials.dataset
        learnt = [case.case for case in dataset.split("train")]
        require_present(
            dataset.labels, {name: dataset.slice_labels[name] for name in learnt}
        )


def require_present(labels: LabelTable, said: Mapping[str, SliceLabels]) -> None:
    """Refuse labels that show a structure nowhere; see `check_labels`."""
    learnable(LabelSet(labels.names, said), "what would be learnt from", absent=False)


def taught_with_labels(
    project: store.Project, one: Candidate, labels: LabelTable
) -> Taught:
    """What a person drew or accepted of a case, and what is known of each slice.

    Where masks and words differ, the mask is believed: who drew looked closer.

    Raises
    ------
    UserError
        The project lacks a structure of the model, or a mask was changed outside.
    """
    said = slice_labels_of(project, one.case.id, labels.names).states
    if one.correction is None and one.proposal is None:
        nothing = np.zeros(one.case.grid.shape, np.uint8)
        return Taught(nothing, nothing.astype(np.bool_), states=said)
    found = taught(project, one, labels)
    drawn = _states_of(found, labels)
    return Taught(
        found.mask, found.counts, states=np.where(drawn == UNKNOWN, said, drawn)
    )


def _states_of(found: Taught, labels: LabelTable) -> States:
    """What reviewed voxels tell of each slice (Z, K)."""
    shape = found.mask.shape
    counts: NDArray[np.bool_] = (
        np.ones(shape, np.bool_) if found.counts is None else found.counts
    )
    whole = counts.all(axis=(1, 2))
    columns = []
    for value in labels.values:
        there = ((found.mask == value) & counts).any(axis=(1, 2))
        known = np.where(there, PRESENT, np.where(whole, ABSENT, UNKNOWN))
        columns.append(known.astype(np.uint8))
    return np.stack(columns, axis=1)
