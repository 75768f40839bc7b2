"""A held-out case before and after a fine-tuning, over the annotator's own mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import LabelTable
from diffseg.volume import Volume, read_mask
from napari_diffseg.presenters.ports import Background, told
from napari_diffseg.session import Case, Session
from napari_diffseg.views import Canvas, Notices, Side, TrainView

if TYPE_CHECKING:
    from diffseg_training.finetuning.job import Finetuned

_WHO: dict[Side, str] = {"before": "parent", "after": "child"}


class ComparePresenter:
    """Shows the masks that parent and child gave for a held-out case.

    Parameters
    ----------
    session : Session
    view : TrainView
    canvas : Canvas
    open_case : callable
        Opens a case of the project by its id, then calls on with it.
    table_of : callable
        Label table of a model by its name.
    notices : Notices
    background : Background
        Reads masks without making the window wait.
    """

    def __init__(
        self,
        session: Session,
        view: TrainView,
        canvas: Canvas,
        open_case: Callable[[str, Callable[[Case], Any]], Any],
        table_of: Callable[[str], LabelTable],
        notices: Notices,
        background: Background,
    ) -> None:
        self._session, self._view, self._canvas = session, view, canvas
        self._open_case, self._table_of = open_case, table_of
        self._notices, self._background = notices, background
        self._run: Finetuned | None = None
        self._wish: tuple[str, Side] = ("", "off")
        self._shown: str | None = None  # id of the session's case
        view.compare_requested.connect(self.compare)
        session.case_removed.connect(self._on_removed)

    def take(self, run: Finetuned) -> None:
        """Compare what this run made from now on."""
        self._drop()
        self._run, self._wish = run, ("", "off")
        self._view.show_side("off")

    def compare(self, id: str, side: Side) -> None:
        """Show whose mask of a case: the parent's, the child's, or neither."""
        self._wish = (id, side)
        self._drop()
        if side == "off" or self._run is None or id not in self._run.held_out:
            self._view.show_side("off")
            return
        self._view.show_side(side)
        self._open_case(id, lambda case: self._read(case, id, side))

    def _read(self, case: Case, id: str, side: Side) -> None:
        run = self._run
        if run is None or self._wish != (id, side):
            return
        path = run.run / "held-out" / f"{id}-{_WHO[side]}.nii.gz"
        volume, table = case.volume, case.table

        def fn() -> NDArray[np.uint8]:
            return _mask_of(path, volume, self._table_of(run.parent), table)

        def done(values: NDArray[np.uint8]) -> None:
            if self._wish == (id, side) and self._session.case(case.id) is case:
                self._canvas.show_compared(case, values, f"model {side}")
                self._shown = case.id

        self._background(fn, done, self._failed)

    def _drop(self) -> None:
        if self._shown is not None:
            self._canvas.end_compared(self._shown)
            self._shown = None

    def _failed(self, error: Exception) -> None:
        self._view.show_side("off")
        self._notices.show(told(error), "error")

    def _on_removed(self, case: Case) -> None:
        if case.id == self._shown:
            self._shown = None
            self._wish = ("", "off")
            self._view.show_side("off")


def _mask_of(
    path: Path, volume: Volume, model: LabelTable, table: LabelTable
) -> NDArray[np.uint8]:
    """Read a mask in a model's values, and give it a case's; by name."""
    values = read_mask(path, like=volume, classes=model.values)
    lookup = np.zeros(256, np.uint8)
    for label in model.each():
        mine = label.value
        if label.name in table.names:
            mine = table.values[table.index(label.name)]
        lookup[label.value] = mine
    return lookup[values]
