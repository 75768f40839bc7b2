"""The cases that wait for a look, in an order that the ensemble advises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffseg.ensemble.routing import Candidate
from diffseg.project.review.strategies import DEFAULT, checked, ordered
from diffseg.project.store import Project, Role, Standing, State, standings

OPEN = (State.NOT_STARTED, State.IN_PROGRESS)
"""States of cases that wait. What was flagged waits for an answer, not for a look."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A case in the queue.

    Parameters
    ----------
    state : State
        Of the reading that is asked for.
    holder : str
        Who works on it right now; "" for nobody.
    proposal : str or None
        Id of the newest proposal; None before the first.
    error : float in [0, 1], or None
        1 - expected Dice, mean over structures; None without a proposal.
    errors : mapping of str to float
        The same of each structure.
    entropy, information : float in [0, 1], or None
        Mean uncertainty, and mean mutual information of members, where a structure
        is claimed; None where it is not known.
    """

    case_id: str
    name: str
    state: State
    holder: str
    proposal: str | None
    error: float | None
    errors: dict[str, float]
    entropy: float | None
    information: float | None


@dataclass(frozen=True, slots=True)
class Queue:
    """Cases in order, how many wait in all, and what the order follows from."""

    strategy: str
    seed: int
    total: int
    cases: tuple[Waiting, ...]


def queue(
    project: Project,
    *,
    strategy: str = DEFAULT,
    seed: int = 0,
    limit: int | None = 100,
    role: Role = Role.FIRST,
    annotator: str | None = None,
    states: Sequence[State] = OPEN,
) -> Queue:
    """Put the cases that wait in order.

    Cases without a proposal, of which nothing is known, come after the others, and
    last those that somebody else works on.

    Parameters
    ----------
    strategy : str
        One of `diffseg.project.review.strategies.ORDERS`.
    seed : int
    limit : int, optional
        Cases at most; all of them with None.
    role : Role
        Of the second reading, cases whose first is done, and was not `annotator`'s.
    annotator : str, optional
        Who asks: a case that they hold themselves is not held.
    states : sequence of State
        Only cases whose reading is there.

    Raises
    ------
    UserError
        There is no such strategy.
    """
    checked(strategy)
    known = standings(project)
    waits = [one for one in known.cases if _waits(one, role, annotator, states)]
    done = sorted(
        (one for one in known.cases if one.candidate and one.state is State.DONE),
        key=lambda one: (one.reviewed, one.case_id),
    )
    ready: list[Standing] = []
    rest: list[Standing] = []
    for one in waits:
        free = one.candidate is not None and not _held(one, annotator)
        (ready if free else rest).append(one)
    order = ordered(
        [one.candidate for one in ready if one.candidate is not None],
        strategy,
        seed,
        [one.candidate for one in done if one.candidate is not None],
    )
    rest.sort(key=lambda one: (_held(one, annotator), one.name))
    rows = [*(ready[index] for index in order[:limit]), *rest][:limit]
    cases = tuple(_told(one, role, known.names) for one in rows)
    return Queue(strategy, seed, len(waits), cases)


def error_of(candidate: Candidate) -> float:
    """What is expected to be wrong: 1 - expected Dice, mean over structures."""
    return 1 - float(np.mean(candidate.expected_dice))


def _waits(
    one: Standing, role: Role, annotator: str | None, states: Sequence[State]
) -> bool:
    if role is Role.FIRST:
        return one.state in states
    if one.state is not State.DONE or one.second_state not in states:
        return False
    # Whoever has begun to read a case a second time, reads on; nobody reads twice.
    taken = one.second_reader not in ("", annotator)
    return one.reviewer != annotator and not (
        taken and one.second_state is State.IN_PROGRESS
    )


def _held(one: Standing, annotator: str | None) -> bool:
    return one.holder not in ("", annotator)


def _told(one: Standing, role: Role, names: Sequence[str]) -> Waiting:
    found = one.candidate
    errors = {} if found is None else dict(zip(names, found.expected_dice, strict=True))
    return Waiting(
        case_id=one.case_id,
        name=one.name,
        state=one.state if role is Role.FIRST else one.second_state,
        holder=one.holder,
        proposal=one.proposal,
        error=None if found is None else error_of(found),
        errors={name: 1 - value for name, value in errors.items()},
        entropy=None if found is None else found.entropy,
        information=None if found is None else found.information,
    )
