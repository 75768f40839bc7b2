"""The weak masks of a project: whose they are, their doubt, what they teach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable, ModelCard
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.project import store
from diffseg_training.finetuning.gathering import (
    Candidate,
    Taught,
    candidates,
    lesson,
    lookup_of,
    patients,
    taught,
)
from diffseg_training.finetuning.materials import Teach
from diffseg_training.recipe_parts import SelfTraining
from diffseg_training.selftraining.choosing import doubt_of, over, taken_voxels


@dataclass(frozen=True, slots=True)
class Cohort:
    """What a project has to teach from a weak model and from persons.

    Parameters
    ----------
    known : tuple of Candidate
        Cases that were corrected or accepted, and such with a proposal of the model;
        in order of name, without flagged ones.
    weak : mapping of str to StoredProposal
        The model's newest, by id of the case; of cases that are not reviewed to their
        end.
    lacking : int
        Cases that have neither.
    """

    known: tuple[Candidate, ...]
    weak: Mapping[str, store.StoredProposal]
    lacking: int


@dataclass(frozen=True, slots=True)
class Doubted:
    """How a weak mask is doubted.

    Parameters
    ----------
    doubt : float or None
        As `diffseg_training.selftraining.choosing.doubt_of` has it.
    inside : int
        Voxels of a structure that count.
    """

    doubt: float | None
    inside: int


def cohort_of(project: store.Project, card: ModelCard, patient: str) -> Cohort:
    """Look up what there is; no mask is read.

    Parameters
    ----------
    card : ModelCard
        Of the weak model; proposals of another version of it are not its own.
    patient : str
        Regular expression whose first group in a case's name is the patient.

    Raises
    ------
    UserError
        It is no regular expression with a group.
    """
    corrected = {one.case.id: one for one in candidates(project, patient)}
    group, lacking = patients(patient), 0
    known: list[Candidate] = []
    weak: dict[str, store.StoredProposal] = {}
    for line in store.list_cases(project, limit=None).lines:
        if line.state is store.State.FLAGGED:
            continue
        one, found = corrected.get(line.id), _newest(project, line.id, card)
        if one is None and found is None:
            lacking += 1
            continue
        if one is None:
            case = store.case_of(project, line.id)
            one = Candidate(case, None, found, group(case), False)
        known.append(one)
        if found is not None and not one.whole:
            weak[line.id] = found
    return Cohort(tuple(known), weak, lacking)


def iter_doubts(
    project: store.Project,
    proposals: Iterable[store.StoredProposal],
    labels: LabelTable,
    options: SelfTraining,
) -> Work[Mapping[str, Doubted]]:
    """Weigh proposals, one after another; by id of the case.

    Raises
    ------
    UserError
        A file is missing or was changed, or a proposal is of other structures.
    """
    found: dict[str, Doubted] = {}
    wanted = tuple(proposals)
    for done, one in enumerate(wanted):
        yield Progress("weigh", done, len(wanted))
        states = _states(project, one, labels)
        classes = _classes(project, one, labels)
        probability, uncertainty = store.read_maps(project, one)
        order = [one.labels.index(name) for name in labels.names]
        doubt = doubt_of(classes, probability[order], uncertainty, states, options.by)
        mask, counts = taken_voxels(classes, uncertainty, states, options.limit)
        found[one.case_id] = Doubted(doubt, int(np.count_nonzero(mask[counts])))
    return found


def teacher(weak: Mapping[str, store.StoredProposal], limit: float) -> Teach:
    """What a case teaches: corrections, and a weak mask wherever there is none.

    Parameters
    ----------
    weak : mapping of str to StoredProposal
        Those that are taken, by id of the case.
    limit : float
        Uncertainty above which a voxel does not count.
    """

    def teach(project: store.Project, one: Candidate, labels: LabelTable) -> Taught:
        proposal = weak.get(one.case.id)
        if one.whole or proposal is None:
            return taught(project, one, labels)
        classes = _classes(project, proposal, labels)
        _, uncertainty = store.read_maps(project, proposal)
        states = _states(project, proposal, labels)
        found, counts = taken_voxels(classes, uncertainty, states, limit)
        mask, left = _values(labels)[found], int(np.count_nonzero(counts))
        if one.correction is not None:
            drawn, known = lesson(project, one, labels)
            seen = store.reviewed_voxels(project, one.case, one.correction)
            if known is None or seen is None:  # reviewed to its end since
                return Taught(drawn, known)
            mask, counts, left = over((mask, counts), (drawn, known), seen)
        return Taught(mask, None if counts.all() else counts, left)

    return teach


def _newest(
    project: store.Project, case_id: str, card: ModelCard
) -> store.StoredProposal | None:
    """The newest proposal of just this version of a model for a case."""
    wanted = (card.id, card.version, card.sha256)
    for one in reversed(store.proposals_of(project, case_id)):
        if (one.model_id, one.model_version, one.model_sha256) == wanted:
            return one
    return None


def _states(
    project: store.Project, one: store.StoredProposal, labels: LabelTable
) -> NDArray[np.uint8]:
    return store.slice_labels_of(project, one.case_id, labels.names).states


def _classes(
    project: store.Project, one: store.StoredProposal, labels: LabelTable
) -> NDArray[np.uint8]:
    """A proposal's mask (Z, Y, X) as indices into a model's structures, from 1."""
    if set(one.labels.names) != set(labels.names):
        raise UserError(
            f"a proposal of {one.model_id} is of {', '.join(one.labels.names)}, and "
            f"the model finds {', '.join(labels.names)}: propose again"
        )
    lookup, _ = lookup_of(one.labels, labels)
    indices = np.zeros(256, np.uint8)
    indices[list(labels.values)] = np.arange(1, len(labels) + 1)
    return indices[lookup[store.read_proposed(project, one)]]


def _values(labels: LabelTable) -> NDArray[np.uint8]:
    """A model's class indices to its values."""
    return np.array([0, *labels.values], np.uint8)
