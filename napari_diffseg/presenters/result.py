"""The result: volumes with their spread, and what of it is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffseg.domain import Label, Proposal, StructureReport
from napari_diffseg.presenters.ports import Background, Later
from napari_diffseg.presenters.tables import counts_of
from napari_diffseg.presenters.words import extent_of, voxel_word
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, ResultView, Shown

PAUSE_MS = 500
"""Strokes rest so long before the mask is measured again."""

Rows = list[tuple[Label, StructureReport]]


class ResultPresenter:
    """Panel "Result".

    Volumes are those of the mask in hand; the spread is the proposal's.

    Parameters
    ----------
    session : Session
    view : ResultView
    canvas : Canvas
    background : Background
        Measures without making the window wait.
    later : Later
    """

    def __init__(
        self,
        session: Session,
        view: ResultView,
        canvas: Canvas,
        background: Background,
        later: Later,
    ) -> None:
        self._session = session
        self._view = view
        self._canvas = canvas
        self._background = background
        self._later = later
        self._shown: dict[str, tuple[Shown, int]] = {}
        self._asked = 0
        view.view_chosen.connect(self.show_as)
        view.member_chosen.connect(self.show_member)
        view.structure_chosen.connect(self.go_to)
        view.opacity_changed.connect(canvas.set_opacity)
        view.outline_toggled.connect(canvas.set_outline)
        canvas.edited.connect(self._on_edited)
        session.current_changed.connect(self._on_current)
        session.case_changed.connect(self._on_changed)
        session.case_removed.connect(self._on_removed)
        self._show()

    def show_as(self, shown: Shown) -> None:
        """Show mask, contours, uncertainty or a member."""
        self._show_as(shown, None)

    def show_member(self, member: int) -> None:
        """Show one member."""
        self._show_as("member", member)

    def go_to(self, value: int) -> None:
        """Look at the middle of a structure."""
        case = self._session.current
        if case is None:
            return
        voxel = middle_of(case.annotation.values == value)
        if voxel is not None:
            self._canvas.go_to(case, voxel)

    @property
    def shown(self) -> Shown:
        """What of the current case is shown."""
        case = self._session.current
        return self._shown.get(case.id if case else "", ("mask", 0))[0]

    def _find(self, case: Case) -> None:
        """Look at what was proposed, where nothing of it is in sight."""
        values, proposal = case.annotation.values, case.proposal
        if proposal is None or not proposal.mask.any():
            return
        if values[self._canvas.slice_region(case).slices].any():
            return

        def found(voxel: tuple[int, int, int] | None) -> None:
            here = case is self._session.current and case.proposal is proposal
            if here and voxel is not None:
                self._canvas.go_to(case, voxel)

        self._background(
            lambda: middle_of_largest(values),
            found,
            lambda error: None,  # the user finds it as well
        )

    def _show_as(self, shown: Shown, member: int | None) -> None:
        case = self._session.current
        if case is None or shown not in views_of(case.proposal):
            return
        before = self._shown.get(case.id, ("mask", 0))[1]
        count = members_of(case.proposal)
        number = min(max(before if member is None else member, 0), max(count - 1, 0))
        self._shown[case.id] = (shown, number)
        self._canvas.show_as(case, shown, number)
        self._view.set_views(views_of(case.proposal), shown, count)

    def _on_current(self, _case: Case | None) -> None:
        self._show()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if aspect == "proposal":
            self._shown.pop(case.id, None)
        if case is not self._session.current:
            return
        if aspect == "proposal":
            self._find(case)
        if aspect in ("proposal", "table", "geometry"):
            self._show()
        elif aspect == "mask":
            self._measure_soon()

    def _on_edited(self, case_id: str) -> None:
        case = self._session.current
        if case is not None and case.id == case_id:
            self._measure_soon()

    def _on_removed(self, case: Case) -> None:
        self._shown.pop(case.id, None)

    def _show(self) -> None:
        case = self._session.current
        proposal = case.proposal if case else None
        shown, _ = self._shown.get(case.id if case else "", ("mask", 0))
        self._view.set_views(views_of(proposal), shown, members_of(proposal))
        self._view.show_warnings(proposal.warnings if proposal else ())
        if case is None:
            self._asked += 1
            self._view.show_structures([], "")
            return
        if proposal is not None:
            note = _note_on(case, False)
            self._view.show_structures(_rows(case, None), note, voxel_word(case.volume))
        elif not case.annotation.touched.any() and case.given is None:
            self._view.show_structures([], "")
        self._measure_soon()

    def _measure_soon(self) -> None:
        self._asked += 1
        asked = self._asked
        self._later(PAUSE_MS, lambda: self._measure(asked))

    def _measure(self, asked: int) -> None:
        case = self._session.current
        if asked != self._asked or case is None:
            return
        values, proposed = case.annotation.values, case.annotation.proposed
        self._background(
            lambda: (
                counts_of(values),
                proposed is not None and not np.array_equal(values, proposed),
            ),
            lambda found: self._measured(asked, case, *found),
            lambda error: None,  # volumes stay as they were shown
        )

    def _measured(
        self, asked: int, case: Case, counts: np.ndarray, corrected: bool
    ) -> None:
        if asked != self._asked or case is not self._session.current:
            return
        note = _note_on(case, corrected)
        if case.proposal is None and not counts[1:].any():
            note = ""
        self._view.show_structures(_rows(case, counts), note, voxel_word(case.volume))


def views_of(proposal: Proposal | None) -> tuple[Shown, ...]:
    """What can be shown of a proposal."""
    if proposal is None:
        return ("mask",)
    if members_of(proposal) > 1:
        return ("mask", "contours", "uncertainty", "member")
    return ("mask", "uncertainty")


def members_of(proposal: Proposal | None) -> int:
    """How many members' masks a proposal holds."""
    if proposal is None or proposal.members is None:
        return 0
    return len(proposal.members)


def middle_of_largest(values: np.ndarray) -> tuple[int, int, int] | None:
    """The middle of the structure with the most voxels in a (Z, Y, X) uint8 mask."""
    counts = counts_of(values)
    counts[0] = 0
    return middle_of(values == counts.argmax()) if counts.any() else None


def middle_of(there: np.ndarray) -> tuple[int, int, int] | None:
    """The voxel of a (Z, Y, X) bool mask that is nearest to its centroid."""
    planes = np.flatnonzero(there.any(axis=(1, 2)))
    if not len(planes):
        return None
    first = int(planes[0])
    inner = there[first : int(planes[-1]) + 1]
    cz, cy, cx = (_centre_along(inner, axis) for axis in range(3))
    best, found = np.inf, (0, 0, 0)
    # A plane at a time, the nearest first: a large structure has many voxels.
    for z in sorted(range(len(inner)), key=lambda z: abs(z - cz)):
        if (z - cz) ** 2 >= best:
            break
        rows, columns = np.nonzero(inner[z])
        if not len(rows):
            continue
        away = (z - cz) ** 2 + (rows - cy) ** 2 + (columns - cx) ** 2
        nearest = int(away.argmin())
        if away[nearest] < best:
            best = float(away[nearest])
            found = (first + z, int(rows[nearest]), int(columns[nearest]))
    return found


def _centre_along(there: np.ndarray, axis: int) -> float:
    """Mean index along an axis of what is set in a (Z, Y, X) bool mask."""
    others = tuple(one for one in range(3) if one != axis)
    counts = np.count_nonzero(there, axis=others)
    return float(np.average(np.arange(len(counts)), weights=counts))


def _rows(case: Case, counts: np.ndarray | None) -> Rows:
    """Every structure of the table that is in the mask or was looked for."""
    reports = {r.label: r for r in case.proposal.structures} if case.proposal else {}
    ml = case.volume.grid.voxel_ml
    rows: Rows = []
    for label in case.table.each():
        report = reports.get(label.value)
        if counts is None:
            if report is not None:
                rows.append((label, report))
            continue
        voxels = int(counts[label.value])
        if report is None and not voxels:
            continue
        if report is None:
            report = StructureReport(label.name, label.value, 0, None, None, None, None)
        volume = None if ml is None else voxels * ml
        rows.append((label, replace(report, voxels=voxels, volume_ml=volume)))
    return rows


def _note_on(case: Case, corrected: bool) -> str:
    """Say what made a case's mask."""
    if case.proposal is not None:
        note = _note(case.proposal)
        if case.proposed_in is not None:
            size = extent_of(case.proposed_in.shape, voxel_word(case.volume))
            note += f"; spread and places are of the last part alone ({size})"
    elif case.given is None:
        return "drawn by hand"
    else:
        note, corrected = "read from a file", bool(case.annotation.touched.any())
    return f"{note}; since corrected by hand" if corrected else note


def _note(proposal: Proposal) -> str:
    made = proposal.provenance
    model = f"{made.model.get('id', '?')} {made.model.get('version', '')}".strip()
    members = f"{made.members} member{'s' if made.members != 1 else ''}"
    steps = f"{made.steps} step{'s' if made.steps != 1 else ''}"
    known = made.model.get("calibration")
    calibrated = f", {known.get('words', 'calibrated')}" if known else ""
    return (
        f"{model}, {members}, {steps}, seed {made.seed}, on {made.device}{calibrated}"
    )
