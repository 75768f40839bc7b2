"""Resampling around strokes: what was drawn stays, the rest is drawn anew."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from diffseg.domain import ModelCard
from diffseg.errors import DiffsegError, UserError
from napari_diffseg.presenters.asking import Question, Settings
from napari_diffseg.presenters.kept import Tick
from napari_diffseg.presenters.ports import Catalogue
from napari_diffseg.presenters.propose import ProposePresenter
from napari_diffseg.presenters.redrawing import check_redraws, redraw_question
from napari_diffseg.presenters.slices import slice_at_hand
from napari_diffseg.session import Busy, Case, Session
from napari_diffseg.views import Canvas, Keep, Redraw, ResampleView


class ResamplePresenter:
    """The part "Resample" of panel "Correct".

    Parameters
    ----------
    session : Session
    view : ResampleView
    canvas : Canvas
    propose : ProposePresenter
        Asks the model, one thing after another, and takes its answer in.
    catalogue : Catalogue
        Asked which other models can do it where the chosen one cannot.
    """

    def __init__(
        self,
        session: Session,
        view: ResampleView,
        canvas: Canvas,
        propose: ProposePresenter,
        catalogue: Catalogue,
    ) -> None:
        self._session, self._view, self._canvas = session, view, canvas
        self._propose, self._catalogue = propose, catalogue
        self._drawn: dict[str, set[Tick]] = {}
        view.run_requested.connect(self.run)
        view.cancel_requested.connect(propose.cancel)
        canvas.edited.connect(self._on_edited)
        session.current_changed.connect(self._show)
        session.model_changed.connect(self._show)
        session.case_changed.connect(self._on_changed)
        session.case_removed.connect(self._on_removed)
        session.busy_changed.connect(self._on_busy)
        self._show()

    def run(self, wanted: Redraw) -> None:
        """Draw the mask of the current case anew around what was drawn."""
        self._propose.begin(partial(self._question, wanted))

    def whole_slices(self, case: Case, keep: Keep) -> set[Tick]:
        """Axis and index of the slices that stay as a whole."""
        if keep == "strokes":
            return set()
        found = self._drawn.get(case.id, set()) | {(0, z) for z, _, _ in case.accepted}
        if keep == "seen" and case.entry is not None:
            found |= case.entry.seen
        return found

    def _question(
        self, wanted: Redraw, case: Case, card: ModelCard, settings: Settings
    ) -> Question:
        check_redraws(case, card, self._cards)
        slices = self.whole_slices(case, wanted.keep)
        return redraw_question(case, card, settings, self._canvas, wanted, slices)

    def _cards(self) -> Iterable[ModelCard]:
        try:
            return [model.card for model in self._catalogue.list_models()]
        except DiffsegError:
            return []

    def _check(self) -> None:
        case, card = self._session.current, self._session.model
        if case is None:
            raise UserError("open an image first")
        if case.locked:
            raise UserError(case.locked)
        if card is None:
            raise UserError("choose a model first")
        check_redraws(case, card, self._cards)

    def _show(self, *_: object) -> None:
        case = self._session.current
        if case is not None:
            several = min(case.volume.shape) > 1
            self._view.set_slices(several, case.entry is not None)
        try:
            self._check()
        except UserError as error:
            self._view.set_ready(False, str(error))
        else:
            self._view.set_ready(True, "")

    def _on_edited(self, case_id: str) -> None:
        case = self._session.current
        if case is not None and case.id == case_id:
            here = slice_at_hand(case, self._canvas)
            self._drawn.setdefault(case_id, set()).add(here)
            self._show()

    def _on_changed(self, case: Case, aspect: str) -> None:
        if case is self._session.current and aspect in ("mask", "geometry", "entry"):
            self._show()

    def _on_removed(self, case: Case) -> None:
        self._drawn.pop(case.id, None)

    def _on_busy(self, busy: Busy | None) -> None:
        self._view.set_busy(busy if self._propose.redraws else None)
