"""Both readings of a case, as a window asks for them: begun, commented on, compared."""

from __future__ import annotations

from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.project import review, store
from diffseg.project.entries import Agreed, Readings


def readings_of(project: store.Project, case_id: str, annotator: str) -> Readings:
    """How the readings of a case stand; what is blind to an annotator is left out.

    Raises
    ------
    UserError
        There is no such case, or a mask was changed outside of the project.
    """
    role = review.role_of(project, case_id, annotator)
    first = store.review_of(project, case_id, store.Role.FIRST)
    second = store.review_of(project, case_id, store.Role.SECOND)
    mine = second if role is store.Role.SECOND else first
    begun = second.state is not store.State.NOT_STARTED
    theirs = mine.state is store.State.DONE and mine.reviewer not in ("", annotator)
    done = store.State.DONE
    both = first.state is done and second.state is done
    return Readings(
        second=role is store.Role.SECOND,
        comment=mine.comment,
        closed=f"{mine.reviewer} has read this case" if theirs else "",
        refused=review.second_refused(project, case_id, annotator=annotator),
        readers=tuple(one.reviewer for one in (first, second)[: 1 + begun]),
        agreed=_agreed(project, case_id) if both else (),
    )


def comment_on(
    project: store.Project, case_id: str, annotator: str, comment: str
) -> None:
    """Write a comment of an annotator's reading; its state stays as it is.

    Raises
    ------
    UserError
        There is no such case, or the reading is somebody else's and done.
    """
    now = readings_of(project, case_id, annotator)
    if now.closed:
        raise UserError(f"{now.closed}; begin a second reading to write of yours")
    role = store.Role.SECOND if now.second else store.Role.FIRST
    state = store.review_of(project, case_id, role).state
    store.set_review(
        project, case_id, state, reviewer=annotator, role=role, comment=comment
    )


def begin_second(project: store.Project, case_id: str, annotator: str) -> None:
    """Begin to read a case a second time; see `review.begin_second_reading`."""
    review.begin_second_reading(project, case_id, annotator=annotator)


def _agreed(project: store.Project, case_id: str) -> tuple[Agreed, ...]:
    report = run(review.agreement(project, [case_id]))
    return tuple(
        Agreed(name, one.dice, one.hd95_mm)
        for name, one in report.cases[0].structures.items()
    )
