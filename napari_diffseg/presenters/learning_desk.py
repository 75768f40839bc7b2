"""What learns from corrections, put together: train, versions, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffseg.domain import LabelTable
from napari_diffseg.presenters.calibration import CalibrationPresenter
from napari_diffseg.presenters.comparing import ComparePresenter
from napari_diffseg.presenters.examples import ExamplesPresenter
from napari_diffseg.presenters.model import ModelPresenter
from napari_diffseg.presenters.panels import Views
from napari_diffseg.presenters.ports import Background, Catalogue, Later
from napari_diffseg.presenters.project_cases import ProjectCases
from napari_diffseg.presenters.saving import SavePresenter
from napari_diffseg.presenters.saving_first import save_open
from napari_diffseg.presenters.self_training import SelfTrainPresenter
from napari_diffseg.presenters.train_doors import Doors
from napari_diffseg.presenters.training import TrainPresenter
from napari_diffseg.presenters.versions import VersionsPresenter
from napari_diffseg.session import Session
from napari_diffseg.views import Canvas, Works

if TYPE_CHECKING:
    from diffseg_training.finetuning.job import Finetuned


class LearningDesk:
    """Wires the presenters of panel "Train", of the calibration and of the examples.

    Parameters
    ----------
    session : Session
    views : Views
    canvas : Canvas
    catalogue : Catalogue
    works : Works
    background : Background
    later : Later
    model : ModelPresenter
    cases : ProjectCases
    saving : SavePresenter
    """

    def __init__(
        self,
        session: Session,
        views: Views,
        canvas: Canvas,
        catalogue: Catalogue,
        works: Works,
        background: Background,
        later: Later,
        model: ModelPresenter,
        cases: ProjectCases,
        saving: SavePresenter,
    ) -> None:
        self._catalogue = catalogue
        self.compare = ComparePresenter(
            session, views.train, canvas, cases.open, self._table_of, views.notices,
            background,
        )  # fmt: skip
        self.versions = VersionsPresenter(
            session, views.train, catalogue, model.choose, views.notices, background
        )
        doors = Doors(
            save=lambda then: save_open(cases, saving, then),
            kept=model.choose, ended=self._ended,
        )  # fmt: skip
        self.train = TrainPresenter(
            session, views.train, works, later, views.notices, doors
        )
        self.weak = SelfTrainPresenter(
            session, views.train, works, later, self.train, doors.save
        )
        self.calibration = CalibrationPresenter(
            session, views.calibration, catalogue, works, background, later,
            views.notices, model.choose,
        )  # fmt: skip
        self.examples = ExamplesPresenter(
            session, views.cache, catalogue, views.notices, background, model.choose
        )

    def stop(self) -> None:
        """Nothing learns any more: the window goes."""
        self.train.stop()
        self.weak.stop()
        self.calibration.stop()

    def _table_of(self, name: str) -> LabelTable:
        return self._catalogue.find_model(name).card.labels

    def _ended(self, done: Finetuned) -> None:
        self.compare.take(done)
        self.weak.look()
