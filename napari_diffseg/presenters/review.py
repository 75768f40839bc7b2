"""Review: from one doubtful place to the next, and the doubt of each slice."""

from __future__ import annotations

import numpy as np

from napari_diffseg.presenters.ports import Background, told
from napari_diffseg.presenters.slices import (
    flipped,
    flips,
    plane_word,
    slice_at_hand,
    where_of,
)
from napari_diffseg.presenters.tour import Center, Tour, around, tour_of, with_earlier
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, Notices, ReviewView

_NOTHING = "No doubtful places: the model is sure of its mask"
_LOOKING = "Looking for doubtful places ..."
_ABSENT = "Nothing was found, so there are no doubtful places"


class ReviewPresenter:
    """Panel "Review".

    Parameters
    ----------
    session : Session
    view : ReviewView
    canvas : Canvas
    notices : Notices
    background : Background
        Finds the places without making the window wait.
    """

    def __init__(
        self,
        session: Session,
        view: ReviewView,
        canvas: Canvas,
        notices: Notices,
        background: Background,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._notices = notices
        self._background = background
        self._tours: dict[str, Tour] = {}
        self._looking: set[str] = set()  # cases whose places are being looked for
        # What the mask held at each place that was accepted, by case.
        self._accepted: dict[str, dict[Center, bytes]] = {}
        view.next_requested.connect(self.next)
        view.previous_requested.connect(self.previous)
        view.accept_requested.connect(self.accept)
        view.slice_chosen.connect(self.go_to_slice)
        canvas.moved.connect(self._show_strip)
        canvas.edited.connect(self._on_edited)
        session.case_added.connect(self._on_added)
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        session.case_removed.connect(self._on_removed)
        self._show()

    def next(self) -> None:
        """Look at the next open place; the first one at first."""
        case, tour = self._at_hand()
        if case is None or tour is None or not tour.places:
            return
        if tour.started or tour.places[tour.index].center in case.accepted:
            ahead = _open_ahead(case, tour)
            if ahead is None:
                return  # what was accepted can still be seen, going back
            tour.index = ahead
        tour.started = True
        self._look(case, tour)

    def previous(self) -> None:
        """Look at the place before, accepted or not."""
        case, tour = self._at_hand()
        if case is None or tour is None or not tour.places:
            return
        if tour.started:
            tour.index = (tour.index - 1) % len(tour.places)
        tour.started = True
        self._look(case, tour)

    def accept(self) -> None:
        """Note that the place at hand is right now, and go to the next open one.

        A place that was not looked at yet is looked at instead.
        """
        case, tour = self._at_hand()
        if case is None or tour is None or not tour.places:
            return
        if not tour.started:
            self.next()
            return
        center = tour.places[tour.index].center
        if center not in case.accepted:
            case.accepted = (*case.accepted, center)
            self._note_accepted(case)
            self._session.change(case, "reviewed")
        ahead = _open_ahead(case, tour)
        if ahead is not None:
            tour.index = ahead
            self._look(case, tour)
        else:
            self._show(at_end=True)

    def go_to_slice(self, shown: int) -> None:
        """Look at a slice, as shown, where it is most doubtful."""
        case, tour = self._at_hand()
        if case is None:
            return
        axis, _ = slice_at_hand(case, self._canvas)
        index = flipped(case, axis, shown)
        if not 0 <= index < case.volume.shape[axis]:
            return
        if tour is not None:
            plane = np.take(tour.proposal.uncertainty, index, axis=axis)
        else:
            plane = np.take(case.annotation.values, index, axis=axis)
        row, column = np.unravel_index(int(plane.argmax()), plane.shape)
        if not plane.any():
            row, column = (n // 2 for n in plane.shape)
        voxel = [int(row), int(column)]
        voxel.insert(axis, index)
        self._canvas.go_to(case, (voxel[0], voxel[1], voxel[2]))

    def _at_hand(self) -> tuple[Case | None, Tour | None]:
        case = self._session.current
        return case, self._tours.get(case.id) if case else None

    def _look(self, case: Case, tour: Tour) -> None:
        self._canvas.go_to(case, tour.places[tour.index].center)
        self._show()

    def _on_current(self, _case: Case | None) -> None:
        self._show()

    def _on_added(self, case: Case) -> None:
        self._note_accepted(case)
        if case.proposal is not None:  # closed before, and open again
            self._look_for_places(case)

    def _on_removed(self, case: Case) -> None:
        self._tours.pop(case.id, None)
        self._looking.discard(case.id)
        self._accepted.pop(case.id, None)

    def _on_edited(self, case_id: str) -> None:
        """What a person draws at a place does not open it again."""
        case = self._session.case(case_id)
        if case is not None:
            self._note_accepted(case)

    def _note_accepted(self, case: Case) -> None:
        values = case.annotation.values
        self._accepted[case.id] = {one: around(values, one) for one in case.accepted}

    def _forget_changed(self, case: Case) -> None:
        """Open those places again at which a proposal has changed the mask."""
        before, values = self._accepted.get(case.id, {}), case.annotation.values
        case.accepted = tuple(
            center for center, held in before.items() if around(values, center) == held
        )
        self._note_accepted(case)

    def _on_changed(self, case: Case, aspect: str) -> None:
        if aspect == "proposal":
            earlier = self._tours.pop(case.id, None)
            self._forget_changed(case)
            self._look_for_places(case, earlier)
        elif aspect == "geometry" and case.id not in self._tours:
            self._look_for_places(case)
        elif aspect == "entry" and case is self._session.current:
            self._show_strip()
        if case is self._session.current and aspect in ("proposal", "reviewed"):
            self._show()

    def _look_for_places(self, case: Case, earlier: Tour | None = None) -> None:
        proposal = case.proposal
        if proposal is None:
            return
        names = {label.value: label.name for label in case.table.each()}

        def ended(tour: Tour | None) -> None:
            if case.proposal is proposal and self._session.case(case.id) is case:
                self._looking.discard(case.id)
                if tour is not None:
                    self._tours[case.id] = tour
                if case is self._session.current:
                    self._show()

        def failed(error: Exception) -> None:
            line = f"doubtful places were not found: {told(error)}"
            self._notices.show(line, "warning")
            ended(None)

        self._looking.add(case.id)
        self._background(
            lambda: with_earlier(tour_of(proposal, names), earlier), ended, failed
        )

    def _show(self, at_end: bool = False) -> None:
        case, tour = self._at_hand()
        if case is None or tour is None or not tour.places:
            looking = case is not None and case.id in self._looking
            why = _LOOKING if looking and tour is None else _why_none(tour)
            self._view.show_place(None, 0, 0, 0, told=why)
        else:
            place, total = tour.places[tour.index], len(tour.places)
            seen = sum(one.center in case.accepted for one in tour.places)
            accepted = place.center in case.accepted
            shown = None if at_end or (seen == total and not tour.started) else place
            self._view.show_place(shown, tour.index, total, seen, accepted=accepted)
        self._show_strip()

    def _show_strip(self) -> None:
        case, tour = self._at_hand()
        if case is None or tour is None:
            self._view.show_strip(np.zeros(0, np.float32), 0)
            return
        axis, index = slice_at_hand(case, self._canvas)
        doubts, what = tour.doubts[axis], "doubt"
        expected = case.entry.errors if case.entry is not None else None
        if axis == 0 and expected is not None and len(expected) == len(doubts):
            doubts, what = expected, "expected error"
        here = flipped(case, axis, index)
        self._view.show_strip(
            doubts[::-1].copy() if flips(case, axis) else doubts,
            here,
            title=f"{what} by {plane_word(case, axis)}",
            where=where_of(case, axis, here),
            marks=tuple(
                (flipped(case, axis, one.center[axis]), one.center in case.accepted)
                for one in tour.places
            ),
            seen=_seen(case, axis),
        )


def _open_ahead(case: Case, tour: Tour) -> int | None:
    """The next place after the one at hand that was not accepted; None without."""
    count = len(tour.places)
    ahead = ((tour.index + step) % count for step in range(1, count + 1))
    return next((i for i in ahead if tour.places[i].center not in case.accepted), None)


def _why_none(tour: Tour | None) -> str:
    if tour is None:
        return ""
    return _NOTHING if tour.proposal.mask.any() else _ABSENT


def _seen(case: Case, axis: int) -> tuple[int, ...]:
    """Shown slices along an axis that the annotator has looked at."""
    ticked = case.entry.seen if case.entry is not None else ()
    return tuple(sorted(flipped(case, axis, at) for one, at in ticked if one == axis))
