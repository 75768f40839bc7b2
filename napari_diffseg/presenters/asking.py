"""From what the panels say to a request: where to look, and what may change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Proposal, Region, Request
from diffseg.domain.vocabulary import check_asked
from diffseg.errors import UserError
from diffseg.project.annotation import Change, proposed_change
from napari_diffseg.presenters.kept import Kept
from napari_diffseg.presenters.tables import (
    labels_for,
    slice_labels_for,
    without_absent,
)
from napari_diffseg.presenters.words import extent_of, voxel_word
from napari_diffseg.session import Case
from napari_diffseg.views import Canvas, Scope

MOST_KEPT_BYTES = 2**29
"""Members are kept for the contours up to this size in all, a byte a voxel."""

_AROUND = 16
"""Planes on each side of a slice that a model of volumes is shown."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much of a case is asked for, and by how large an ensemble."""

    members: int
    steps: int
    seed: int = 0
    scope: Scope = "volume"

    @classmethod
    def of(cls, card: ModelCard, seed: int = 0, scope: Scope = "volume") -> Settings:
        """The card's defaults."""
        return cls(card.sampling.members, card.sampling.steps, seed, scope)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A request, and the part of the mask that its answer may change.

    `region` None stands for the whole mask. `kept` stays whatever comes, of a mask
    that is drawn anew around strokes.
    """

    request: Request
    region: Region | None
    kept: Kept | None = None

    def answered_in(self, proposal: Proposal) -> Region | None:
        """The part that a proposal says something new of; None for all of it."""
        if self.kept is None or self.region is not None or not proposal.regions:
            return self.region
        return Region(*proposal.regions[0].box)


Asking = Callable[[Case, ModelCard, Settings], Question]
"""Puts what is asked of a model about a case into a request."""


def question_for(
    case: Case, card: ModelCard, settings: Settings, canvas: Canvas
) -> Question:
    """Put what the panels say into a request.

    A slice is asked for with planes around it where the model looks at volumes,
    and in the model's own places where it has such; only the slice changes.

    Raises
    ------
    UserError
        The model cannot do this, or something is missing.
    """
    levels = card.sampling.timesteps
    if settings.steps > levels:
        raise UserError(
            f"model {card.id} has {levels} noise levels: take 1 to {levels} steps, not "
            f"{settings.steps}"
        )
    target = _target(case, card, settings.scope, canvas)
    region = target
    if settings.scope == "slice" and target is not None:
        region = _seen_with(target, case, card)
    reads = "text" in card.capabilities  # else no field for words is shown
    request = Request(
        case.volume,
        region=region,
        labels=labels_for(case, card),
        slice_labels=slice_labels_for(case, card),
        text=(case.prompt or None) if reads else None,
        members=settings.members,
        steps=settings.steps,
        seed=settings.seed,
        keep_members=keeps_members(case, settings),
    )
    check_asked(card, request)
    return Question(request, target)


def keeps_members(case: Case, settings: Settings) -> bool:
    """Whether each member's mask comes with the proposal."""
    size = settings.members * int(np.prod(case.volume.shape))
    return size <= MOST_KEPT_BYTES and settings.members > 1


def scope_note(
    case: Case | None, card: ModelCard | None, scope: Scope, canvas: Canvas
) -> str:
    """In words, what a scope covers, or what is missing for it."""
    if case is None:
        return ""
    try:
        target = _target(case, card, scope, canvas)
    except UserError as error:
        return str(error)
    if target is None:
        places = card.localisation.boxes if card and card.localisation else ()
        names = " and ".join(place.name for place in places)
        return f"the whole image; looks for {names}" if names else "the whole image"
    volume = case.volume
    extent = extent_of(target.shape, voxel_word(volume))
    if scope == "slice":
        return f"the slice that is shown ({extent})"
    return f"the box that was drawn ({extent})"


def work_of_a_person(case: Case, change: Change) -> NDArray[np.bool_]:
    """(N,) which voxels of a change were drawn here, or read to be corrected."""
    held = case.annotation.touched[change.indices].copy()
    if case.given is not None:
        there = case.given[change.indices]
        held |= (there != 0) & (there == change.before)
    return held


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a proposal would change in a case's mask.

    Parameters
    ----------
    change : Change
        Wherever the mask differs from it.
    held : (N,) bool ndarray
        Which of these voxels are a person's work, or stay anyhow.
    mask : (Z, Y, X) uint8 ndarray
        The proposal, read-only and its own; beyond the part that was asked for,
        the earlier one.
    """

    change: Change
    held: NDArray[np.bool_]
    mask: NDArray[np.uint8]


def answer_for(case: Case, mask: NDArray[np.uint8], question: Question) -> Answer:
    """Compare a proposal with a case's mask; in any thread.

    Parameters
    ----------
    mask : (Z, Y, X) uint8 ndarray
        The proposal.

    Raises
    ------
    UserError
        It is of another size.
    """
    region, kept = question.region, question.kept
    if mask.shape != case.volume.shape:
        raise UserError(
            "the proposal is of another size than the image; the mask is as it was"
        )
    mask = without_absent(case, mask)
    change = proposed_change(case.annotation, mask, region, replace_touched=True)
    own = np.array(mask)
    if region is not None:
        earlier, part = case.annotation.proposed, own[region.slices].copy()
        own[...] = 0 if earlier is None else earlier
        own[region.slices] = part
    own.setflags(write=False)
    held = work_of_a_person(case, change) if kept is None else kept.holds(case, change)
    return Answer(change, held, own)


def settled(answer: Answer, ask: Callable[[int], bool | None]) -> Change | None:
    """What an answer changes after all; None if the user gave up.

    Parameters
    ----------
    ask : callable
        Is given the number of voxels of a person's work that differ, and answers
        whether to replace them, too. Not called where there are none.
    """
    count = int(np.count_nonzero(answer.held))
    if not count:
        return answer.change
    replace = ask(count)
    if replace is None:
        return None
    return answer.change if replace else subset(answer.change, ~answer.held)


def subset(change: Change, chosen: NDArray[np.bool_]) -> Change:
    """Only the chosen voxels of a change."""
    z, y, x = (axis[chosen] for axis in change.indices)
    return Change((z, y, x), change.before[chosen], change.after[chosen])


def _target(
    case: Case, card: ModelCard | None, scope: Scope, canvas: Canvas
) -> Region | None:
    if scope == "volume":
        return None
    if card is not None and "region" not in card.capabilities:
        raise UserError(
            f"model {card.id} looks at whole images only: choose the scope volume"
        )
    if scope == "slice":
        return canvas.slice_region(case)
    box = canvas.box_region(case)
    if box is None:
        raise UserError("draw a box around what to look at first")
    return box


def _seen_with(target: Region, case: Case, card: ModelCard) -> Region | None:
    if card.localisation is not None:
        return None
    preparation = card.preparation
    if preparation.size is not None:
        return target  # it sees the whole image, and neighbours with it
    margin = _AROUND if preparation.dims == 3 else preparation.context
    shape = case.volume.shape
    ranges = [
        (max(0, start - margin), min(size, stop + margin))
        if stop - start == 1
        else (start, stop)
        for (start, stop), size in zip(target.ranges, shape, strict=True)
    ]
    return Region(*ranges)
