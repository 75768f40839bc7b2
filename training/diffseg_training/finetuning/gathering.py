"""What a project has to learn from: cases that were corrected or accepted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.domain.slice_labels import States
from diffseg.errors import UserError
from diffseg.project import store


@dataclass(frozen=True, slots=True)
class Candidate:
    """A case with a mask of a person's, or accepted by one.

    Parameters
    ----------
    case : store.Case
    correction : store.Correction, optional
        The newest; None where a proposal was accepted as it is.
    proposal : store.StoredProposal, optional
        That was accepted; None where there is a correction.
    group : str
        Alike for cases of one patient.
    whole : bool
        Whether its review is done: every voxel of it counts.
    """

    case: store.Case
    correction: store.Correction | None
    proposal: store.StoredProposal | None
    group: str
    whole: bool


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What a case teaches, on its own grid.

    Parameters
    ----------
    mask : (Z, Y, X) uint8 ndarray
        In the model's values.
    counts : (Z, Y, X) bool ndarray or None
        Voxels that are learnt from; None where all are.
    weak : int
        Of them, voxels of a weak mask: nobody reviewed them.
    states : (Z, K) uint8 ndarray, optional
        What is known of each slice, where that is learnt from, too; codes of
        `diffseg.domain.slice_labels`.
    """

    mask: NDArray[np.uint8]
    counts: NDArray[np.bool_] | None
    weak: int = 0
    states: States | None = None

    @property
    def voxels(self) -> int:
        """Voxels that are learnt from."""
        if self.counts is None:
            return int(self.mask.size)
        return int(np.count_nonzero(self.counts))

    @property
    def slices(self) -> int:
        """Slices of which something is known, where that is learnt from."""
        return 0 if self.states is None else int((self.states > 0).any(axis=1).sum())


def candidates(project: store.Project, patient: str) -> tuple[Candidate, ...]:
    """Every case that has something to teach, in order of name; flagged ones have not.

    Parameters
    ----------
    patient : str
        Regular expression whose first group in a case's name is the patient.

    Raises
    ------
    UserError
        It is no regular expression with a group.
    """
    group, found = patients(patient), []
    for line in store.list_cases(project, limit=None).lines:
        whole = line.state is store.State.DONE
        if line.state is store.State.FLAGGED or not (whole or line.versions):
            continue
        case = store.case_of(project, line.id)
        newest = store.newest_correction(project, case.id)
        proposal = None
        if newest is None and whole:  # a proposal counts once it was accepted
            proposal = next(reversed(store.proposals_of(project, case.id)), None)
        if newest is not None or proposal is not None:
            found.append(Candidate(case, newest, proposal, group(case), whole))
    return tuple(found)


def named(
    project: store.Project, names: Iterable[str], known: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """Candidates of these names or ids.

    Raises
    ------
    UserError
        There is no such case, or it has nothing to teach.
    """
    by_id = {one.case.id: one for one in known}
    found = []
    for name in names:
        case = store.find_case(project, name)
        if case.id not in by_id:
            raise UserError(
                f"case {case.name!r} is flagged, or has neither a correction nor an "
                "accepted proposal: correct or accept it first"
            )
        found.append(by_id[case.id])
    return tuple(found)


def lesson(
    project: store.Project, one: Candidate, labels: LabelTable
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """What a case teaches, on its own grid.

    Parameters
    ----------
    labels : LabelTable
        The model's; structures are matched by name.

    Returns
    -------
    mask : (Z, Y, X) uint8 ndarray
        In the model's values.
    reviewed : (Z, Y, X) bool ndarray or None
        Voxels that count: reviewed, and not of a structure that the model does not
        know. None where all do.

    Raises
    ------
    UserError
        The project lacks a structure of the model, or a mask was changed outside.
    """
    if one.correction is not None:
        mask = store.read_correction(project, one.correction)
        table = store.label_table(project)
        reviewed = store.reviewed_voxels(project, one.case, one.correction)
    else:
        assert one.proposal is not None
        mask, table = store.read_proposed(project, one.proposal), one.proposal.labels
        reviewed = None
    lacking = [n for n in labels.names if table is None or n not in table.names]
    if lacking or table is None:
        raise UserError(
            f"the model finds {lacking[0]!r}, which case {one.case.name!r} could not "
            "be given: take it into the project's labels, and review the case again"
        )
    lookup, strange = lookup_of(table, labels)
    if strange[mask].any():
        known = ~strange[mask]
        reviewed = known if reviewed is None else reviewed & known
    return lookup[mask], reviewed


def taught(project: store.Project, one: Candidate, labels: LabelTable) -> Taught:
    """What a person reviewed of a case; see `lesson`."""
    return Taught(*lesson(project, one, labels))


def patients(patient: str) -> Callable[[store.Case], str]:
    """What is alike for cases of one patient, as a function of a case.

    Raises
    ------
    UserError
        `patient` is no regular expression with a group.
    """
    pattern = _pattern(patient)
    return lambda case: _group(case, pattern)


def _pattern(patient: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(patient)
    except re.error as err:
        raise UserError(
            f"patient {patient!r} is no regular expression: {err}"
        ) from None
    if not pattern.groups:
        raise UserError(f"patient {patient!r} has no group; put the patient in ( )")
    return pattern


def _group(case: store.Case, pattern: re.Pattern[str]) -> str:
    """The patient, as far as it is known: else whatever shares the image's files."""
    found = pattern.search(case.name)
    return f"name:{found[1]}" if found and found[1] else f"file:{case.sha256}"


def lookup_of(
    table: LabelTable, labels: LabelTable
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A table's values to a model's, by name.

    Returns
    -------
    lookup : (256,) uint8 ndarray
    strange : (256,) bool ndarray
        Values that the model does not know.
    """
    lookup, strange = np.zeros(256, np.uint8), np.ones(256, np.bool_)
    strange[0] = False
    for label in table.each():
        if label.name in labels.names:
            lookup[label.value] = labels.values[labels.index(label.name)]
            strange[label.value] = False
    return lookup, strange
