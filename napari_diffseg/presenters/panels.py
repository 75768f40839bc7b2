"""The panels of one window, as the desk takes them."""

from __future__ import annotations

from typing import Protocol

from napari_diffseg.views import (
    CacheView,
    CalibrationView,
    CaseView,
    CorrectView,
    ExportView,
    LabelsView,
    ModelView,
    Notices,
    PresenceView,
    ProjectExportView,
    ProjectView,
    PromptView,
    ProposeView,
    ReadingView,
    RecoverView,
    ResampleView,
    ResultView,
    ReviewView,
    TrainView,
)


class Views(Protocol):
    """The panels of one window."""

    @property
    def project(self) -> ProjectView:
        """Panel "Project"."""

    @property
    def presence(self) -> PresenceView:
        """Labels by slice."""

    @property
    def prompt(self) -> PromptView:
        """What to look for, in words."""

    @property
    def cache(self) -> CacheView:
        """Part "Examples" of panel "Model"."""

    @property
    def reading(self) -> ReadingView:
        """Both readings of the case at hand."""

    @property
    def calibration(self) -> CalibrationView:
        """Part "Calibration" of panel "Model"."""

    @property
    def train(self) -> TrainView:
        """Panel "Train"."""

    @property
    def case(self) -> CaseView:
        """Panel "Case"."""

    @property
    def labels(self) -> LabelsView:
        """Panel "What is in it"."""

    @property
    def model(self) -> ModelView:
        """Panel "Model"."""

    @property
    def propose(self) -> ProposeView:
        """Panel "Propose"."""

    @property
    def result(self) -> ResultView:
        """Panel "Result"."""

    @property
    def review(self) -> ReviewView:
        """Panel "Review"."""

    @property
    def correct(self) -> CorrectView:
        """Panel "Correct"."""

    @property
    def resample(self) -> ResampleView:
        """Its part "Resample"."""

    @property
    def export(self) -> ExportView:
        """Panel "Export"."""

    @property
    def project_export(self) -> ProjectExportView:
        """Its part "All cases of the project"."""

    @property
    def recover(self) -> RecoverView:
        """The question after a crash."""

    @property
    def notices(self) -> Notices:
        """One line for the user."""
