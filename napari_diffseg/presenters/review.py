"""Review: from one doubtful place to the next, and the doubt of each slice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, Proposal
from diffseg.ensemble.places import DoubtfulPlace, doubtful_places, slice_doubts
from napari_diffseg.presenters.ports import Background, told
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, Notices, Place, ReviewView

_APART_MM = 8.0


@dataclass(slots=True, eq=False)
class Tour:
    """The places of one proposal and how far the annotator has come."""

    proposal: Proposal
    places: tuple[Place, ...]
    doubts: tuple[NDArray[np.float32], ...]  # along each axis of the source
    index: int = 0
    started: bool = field(default=False)


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
        view.next_requested.connect(self.next)
        view.previous_requested.connect(self.previous)
        view.accept_requested.connect(self.accept)
        view.slice_chosen.connect(self.go_to_slice)
        canvas.moved.connect(self._show_strip)
        session.case_added.connect(self._on_added)
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        session.case_removed.connect(self._on_removed)
        self._show()

    def next(self) -> None:
        """Look at the next place; the first one at first."""
        self._step(1)

    def previous(self) -> None:
        """Look at the place before."""
        self._step(-1)

    def accept(self) -> None:
        """Note that the place at hand is right now, and go to the next open one.

        A place that was not looked at yet is looked at instead.
        """
        case, tour = self._at_hand()
        if case is None or tour is None or not tour.places:
            return
        if not tour.started:
            self._step(1)
            return
        center = tour.places[tour.index].center
        if center not in case.accepted:
            case.accepted = (*case.accepted, center)
            self._session.change(case, "reviewed")
        count = len(tour.places)
        ahead = [(tour.index + step) % count for step in range(1, count)]
        still = [i for i in ahead if tour.places[i].center not in case.accepted]
        if still:
            tour.index = still[0]
            self._look(case, tour)
        else:
            self._show()
            self._notices.show(f"{case.name}: every doubtful place was accepted")

    def go_to_slice(self, shown: int) -> None:
        """Look at a slice, as shown, where it is most doubtful."""
        case, tour = self._at_hand()
        if case is None:
            return
        axis, _ = _slice_at_hand(case, self._canvas)
        index = _flipped(case, axis, shown)
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

    def _step(self, by: int) -> None:
        case, tour = self._at_hand()
        if case is None or tour is None or not tour.places:
            return
        if tour.started:
            tour.index = (tour.index + by) % len(tour.places)
        tour.started = True
        self._look(case, tour)

    def _look(self, case: Case, tour: Tour) -> None:
        self._canvas.go_to(case, tour.places[tour.index].center)
        self._show()

    def _on_current(self, _case: Case | None) -> None:
        self._show()

    def _on_added(self, case: Case) -> None:
        if case.proposal is not None:  # closed before, and open again
            self._look_for_places(case)

    def _on_removed(self, case: Case) -> None:
        self._tours.pop(case.id, None)

    def _on_changed(self, case: Case, aspect: str) -> None:
        if aspect == "proposal":
            self._tours.pop(case.id, None)
            case.accepted = ()
            self._look_for_places(case)
        elif aspect == "geometry" and case.id not in self._tours:
            self._look_for_places(case)
        if case is self._session.current and aspect in ("proposal", "reviewed"):
            self._show()

    def _look_for_places(self, case: Case) -> None:
        proposal = case.proposal
        if proposal is None:
            return
        names = {label.value: label.name for label in case.table.each()}

        def done(tour: Tour) -> None:
            if case.proposal is proposal and self._session.case(case.id) is case:
                self._tours[case.id] = tour
                if case is self._session.current:
                    self._show()

        self._background(
            lambda: tour_of(proposal, names),
            done,
            lambda error: self._notices.show(
                f"doubtful places were not found: {told(error)}", "warning"
            ),
        )

    def _show(self) -> None:
        case, tour = self._at_hand()
        if case is None or tour is None or not tour.places:
            self._view.show_place(None, 0, 0, 0)
        else:
            place, total = tour.places[tour.index], len(tour.places)
            seen = sum(one.center in case.accepted for one in tour.places)
            self._view.show_place(place, tour.index, total, seen)
        self._show_strip()

    def _show_strip(self) -> None:
        case, tour = self._at_hand()
        if case is None or tour is None:
            self._view.show_strip(np.zeros(0, np.float32), 0)
            return
        axis, index = _slice_at_hand(case, self._canvas)
        doubts = tour.doubts[axis]
        flip = _flips(case, axis)
        here = len(doubts) - 1 - index if flip else index
        self._view.show_strip(doubts[::-1].copy() if flip else doubts, here)


def tour_of(proposal: Proposal, names: dict[int, str]) -> Tour:
    """Find a proposal's places, told in words, and the doubt of its slices.

    Parameters
    ----------
    names : dict
        What the annotator calls each mask value.
    """
    table, grid = proposal.labels, proposal.grid
    labels = table.labels
    classes = np.zeros(proposal.mask.shape, np.uint8)
    for index, label in enumerate(labels, start=1):
        classes[proposal.mask == label.value] = index
    found = doubtful_places(
        proposal.uncertainty,
        proposal.probability,
        classes,
        grid.spacing_zyx if grid.has_spacing else (1.0, 1.0, 1.0),
        apart=_APART_MM,
    )
    places = tuple(
        Place(
            center=one.center,
            reason=_reason(one, labels, names, grid.voxel_ml),
            structure=names.get(labels[one.index].value, labels[one.index].name),
            score=one.score,
        )
        for one in found
    )
    doubts = tuple(
        slice_doubts(proposal.uncertainty, proposal.mask, axis) for axis in range(3)
    )
    return Tour(proposal, places, doubts)


def _reason(
    place: DoubtfulPlace,
    labels: tuple[Label, ...],
    names: dict[int, str],
    voxel_ml: float | None,
) -> str:
    def name(index: int) -> str:
        return names.get(labels[index].value, labels[index].name)

    own = name(place.index)
    others = [name(index) for index in place.neighbours if index != place.index]
    if not place.neighbours:
        where = f"some members see {own} here, the mask does not"
    elif place.index not in place.neighbours:
        where = f"some members see {own} beside {' and '.join(others)}"
    elif others:
        where = f"members disagree where {own} meets {' and '.join(others)}"
    else:
        where = f"members disagree at the border of {own}"
    if voxel_ml is None:
        return f"{where}, {place.voxels:,} voxels in doubt"
    return f"{where}, {place.voxels * voxel_ml:.2g} ml in doubt"


def _slice_at_hand(case: Case, canvas: Canvas) -> tuple[int, int]:
    """Axis of the source that slices are shown along, and the index on it."""
    region, shape = canvas.slice_region(case), case.volume.shape
    thin = [axis for axis in range(3) if region.shape[axis] == 1]
    axis = next((one for one in thin if shape[one] > 1), thin[0] if thin else 0)
    return axis, region.ranges[axis][0]


def _flips(case: Case, axis: int) -> bool:
    turn = case.display.turn
    return turn.flips[turn.axes.index(axis)]


def _flipped(case: Case, axis: int, index: int) -> int:
    return case.volume.shape[axis] - 1 - index if _flips(case, axis) else index
