"""The second reading: blind to the first until it is done, kept beside it."""

from __future__ import annotations

from diffseg.errors import UserError
from diffseg.project.store import (
    Correction,
    Project,
    Review,
    Role,
    State,
    corrections_of,
    review_of,
    set_review,
)


def begin_second_reading(project: Project, case_id: str, *, annotator: str) -> Review:
    """Begin to read a case a second time, or go on with it.

    What the second reader saves has ``role=Role.SECOND`` (`add_correction`), and never
    becomes the case's newest mask.

    Raises
    ------
    UserError
        The first reading is not done, was this annotator's, or somebody else reads
        the case a second time.
    """
    refused = second_refused(project, case_id, annotator=annotator)
    if refused:
        raise UserError(refused)
    second = review_of(project, case_id, Role.SECOND)
    if second.state is State.IN_PROGRESS:
        return second
    return set_review(
        project, case_id, State.IN_PROGRESS, reviewer=annotator, role=Role.SECOND
    )


def second_refused(project: Project, case_id: str, *, annotator: str) -> str:
    """Why an annotator may not read a case a second time; "" where they may."""
    first, second = _reviews(project, case_id)
    if first.state is not State.DONE:
        return (
            "the first reading is not done; a second one begins once it is (now: "
            f"{first.state.value})"
        )
    if annotator in {first.reviewer, *_authors(project, case_id, Role.FIRST)}:
        return (
            f"{annotator} has read this case before; the second reading is for "
            "somebody else"
        )
    begun = second.state is not State.NOT_STARTED
    if begun and second.reviewer != annotator:
        return f"{second.reviewer} reads this case a second time already"
    return ""


def role_of(project: Project, case_id: str, annotator: str) -> Role:
    """Whose reading an annotator's work on a case is."""
    second = review_of(project, case_id, Role.SECOND)
    began = second.state is not State.NOT_STARTED
    return Role.SECOND if began and second.reviewer == annotator else Role.FIRST


def visible_corrections(
    project: Project, case_id: str, *, annotator: str
) -> tuple[Correction, ...]:
    """Versions that an annotator may see, the first first.

    A second reader sees the first reading once their own is done, and only then is
    theirs seen by anybody else. A reading that was flagged is not done.
    """
    versions = corrections_of(project, case_id)
    second = review_of(project, case_id, Role.SECOND)
    if second.state is State.DONE:
        return versions
    mine = role_of(project, case_id, annotator)
    return tuple(one for one in versions if one.role is mine)


def _reviews(project: Project, case_id: str) -> tuple[Review, Review]:
    first = review_of(project, case_id, Role.FIRST)
    return first, review_of(project, case_id, Role.SECOND)


def _authors(project: Project, case_id: str, role: Role) -> set[str]:
    versions = corrections_of(project, case_id)
    return {one.annotator for one in versions if one.role is role}
