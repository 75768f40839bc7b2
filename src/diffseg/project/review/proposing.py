"""A model proposes for the cases of a project, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diffseg.domain import ImageLabels, Presence, Request
from diffseg.errors import UserError
from diffseg.progress import Work
from diffseg.project.store import (
    Case,
    Project,
    StoredProposal,
    add_proposal,
    image_labels_of,
    open_source,
    proposals_of,
    slice_labels_of,
)

if TYPE_CHECKING:
    from diffseg.domain import ModelCard, Proposal
    from diffseg.domain.slice_labels import SliceLabels
    from diffseg.segmenters import Segmenter


@dataclass(frozen=True, slots=True)
class Wish:
    """How it is to be proposed.

    Parameters
    ----------
    members, steps : int, optional
        The model's own without them.
    seed : int
    again : bool
        For cases, too, that have such a proposal.
    """

    members: int | None = None
    steps: int | None = None
    seed: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Proposed:
    """What became of the cases.

    Parameters
    ----------
    made : tuple of StoredProposal
    skipped : tuple of str
        Names of cases that had such a proposal.
    refused : dict of str to str
        Names of cases that could not be proposed for, and why.
    notes : tuple of str
        What the model did not use, and what it doubts, a line each.
    """

    made: tuple[StoredProposal, ...]
    skipped: tuple[str, ...]
    refused: dict[str, str]
    notes: tuple[str, ...]


def propose_cases(
    project: Project,
    segmenter: Segmenter,
    cases: Sequence[Case],
    *,
    annotator: str,
    wish: Wish | None = None,
) -> Work[Proposed]:
    """Propose for cases, and keep each proposal as soon as it is made.

    What is said of a whole case at image level goes into its request; members are
    drawn to the end and summed up, and not kept. Stopped early, the work goes on where
    it was when it is asked for again: a case with a proposal of this model's version,
    seed and, where they are given, members and steps is skipped. A case whose image
    cannot be used does not end the work for the others.

    Yields
    ------
    Progress
        The segmenter's, with the case's name.
    """
    wish, card = wish or Wish(), segmenter.card
    made: list[StoredProposal] = []
    skipped: list[str] = []
    refused: dict[str, str] = {}
    notes: list[str] = []
    for index, case in enumerate(cases):
        if not wish.again and _has(project, case, card, wish):
            skipped.append(case.name)
            continue
        place = f"{case.name} ({index + 1} of {len(cases)})"
        try:
            request, unused = request_of(project, case, card, wish)
            proposal = yield from _named(place, segmenter.iter_propose(request))
        except UserError as err:
            refused[case.name] = str(err)
            continue
        made.append(add_proposal(project, case.id, proposal, annotator=annotator))
        notes += [f"{case.name}: {one}" for one in (*unused, *proposal.warnings)]
    return Proposed(tuple(made), tuple(skipped), refused, tuple(notes))


def _has(project: Project, case: Case, card: ModelCard, wish: Wish) -> bool:
    """Whether such a proposal is there already."""
    return any(
        (one.model_id, one.model_version, one.seed)
        == (card.id, card.version, wish.seed)
        and one.model_sha256 == card.sha256
        and wish.members in (None, one.members)
        and wish.steps in (None, one.steps)
        for one in proposals_of(project, case.id)
    )


def request_of(
    project: Project, case: Case, card: ModelCard, wish: Wish
) -> tuple[Request, list[str]]:
    """What is asked of a case, and what is said of it that the model cannot use.

    Raises
    ------
    UserError
        The case's image cannot be read.
    """
    volume = open_source(case)
    said = {
        name: state
        for name, state in image_labels_of(project, case.id).items()
        if state is not Presence.UNKNOWN
    }
    uses = "labels" in card.capabilities
    used = {
        name: state
        for name, state in said.items()
        if uses and name in card.labels.names
    }
    unused = sorted(said.keys() - used.keys())
    notes = []
    if unused:
        why = "has no such structure" if uses else "does not use image-level labels"
        notes.append(f"{', '.join(unused)} not used: model {card.id} {why}")
    request = Request(
        volume,
        labels=ImageLabels(used),
        slice_labels=_said_of_slices(project, case, card),
        members=wish.members,
        steps=wish.steps,
        seed=wish.seed,
        keep_members=True,
    )
    return request, notes


def _said_of_slices(
    project: Project, case: Case, card: ModelCard
) -> SliceLabels | None:
    """What is said of a case's slices, where the model can use it."""
    if "slice_labels" not in card.capabilities:
        return None
    found = slice_labels_of(project, case.id, card.labels.names)
    return found if found.states.any() else None


def _named(name: str, work: Work[Proposal]) -> Work[Proposal]:
    """Carry work on, with a case's name in every sign of life."""
    try:
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                found: Proposal = stop.value
                return found
            yield replace(progress, message=name)
    finally:
        work.close()
