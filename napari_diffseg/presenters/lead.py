"""Led through a project: to the slice, then to the case, that deserves a look most."""

from __future__ import annotations

from functools import partial

from diffseg.project.entries import Advised
from napari_diffseg.presenters.books import Books
from napari_diffseg.presenters.project_cases import ProjectCases
from napari_diffseg.presenters.slices import (
    flipped,
    plane_word,
    slice_at_hand,
    voxel_in,
)
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, Notices, Plane, ReviewView

_PLANES: dict[str, Plane] = {
    "axial slice": "axial",
    "coronal slice": "coronal",
    "sagittal slice": "sagittal",
}


class LeadPresenter:
    """One key to the next place; the project's log says that it was gone to.

    Parameters
    ----------
    session : Session
    view : ReviewView
    canvas : Canvas
    books : Books
    cases : ProjectCases
    notices : Notices
    """

    def __init__(
        self,
        session: Session,
        view: ReviewView,
        canvas: Canvas,
        books: Books,
        cases: ProjectCases,
        notices: Notices,
    ) -> None:
        self._session, self._view, self._canvas = session, view, canvas
        self._books, self._cases, self._notices = books, cases, notices
        view.lead_requested.connect(self.go_on)
        session.project_changed.connect(lambda facts: view.set_lead(facts is not None))
        view.set_lead(False)

    def go_on(self) -> None:
        """Go to where a look is deserved most."""
        if self._books.ledger is None:
            self._notices.show("open a project to be led through it", "warning")
            return
        case = self._cases.current
        here = case.entry.origin.case if case and case.entry else None
        # After the ticks of what has been seen, which are kept in order.
        self._books.do(lambda ledger: ledger.advise(here), self._advised)

    def _advised(self, found: Advised | None) -> None:
        if found is None:
            self._notices.show("nothing waits for a look")
            return
        self._cases.open(found.case, partial(self._arrived, found))

    def _arrived(self, found: Advised, case: Case) -> None:
        plane = found.plane
        if plane is not None and 0 <= plane < case.volume.shape[0]:
            if slice_at_hand(case, self._canvas)[0] != 0:
                word = plane_word(case, 0)
                if word in _PLANES:
                    self._canvas.set_plane(_PLANES[word])
            self._canvas.go_to(case, voxel_in(case, plane))
            number = flipped(case, 0, plane) + 1
            text = f"{case.name}: slice {number} deserves a look"
            text += ": most voxels are expected to be wrong there"
        else:
            text = f"{case.name}: nothing is known of its slices yet; propose first"
        self._notices.show(text)
        self._books.do(lambda ledger: ledger.went(found))
