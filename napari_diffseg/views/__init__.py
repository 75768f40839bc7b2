"""What presenters speak to: protocols, so that they run without a display.

A view tells intents (signals with ``connect``) and takes what it is to show
(``set_...``, ``show_...``). It decides nothing.
"""

from __future__ import annotations

from napari_diffseg.views.canvas import Canvas
from napari_diffseg.views.editing import (
    BrushRange,
    Edit,
    EditState,
    EditTool,
    Paints,
    Target,
)
from napari_diffseg.views.exporting import ProjectExportView
from napari_diffseg.views.nouns import (
    CaseFacts,
    Intent,
    Leftover,
    ModelChoice,
    Place,
    Plane,
    Scope,
    Severity,
    Shown,
    Tool,
)
from napari_diffseg.views.outcome import (
    CorrectView,
    ExportView,
    Notices,
    RecoverView,
    ResultView,
    ReviewView,
)
from napari_diffseg.views.panels import CaseView, LabelsView, ModelView, ProposeView
from napari_diffseg.views.project import (
    CaseStatus,
    Column,
    LabelStrip,
    PresenceView,
    ProjectView,
)
from napari_diffseg.views.resampling import Keep, Redraw, ResampleView
from napari_diffseg.views.runner import Done, Runner, Ticket, WorkEvent, Works
from napari_diffseg.views.text import CacheView, PromptView
from napari_diffseg.views.training import (
    CalibrationFacts,
    CalibrationView,
    ClassChange,
    DiceLine,
    LearningCurve,
    ReadingView,
    Reliability,
    Side,
    TrainCase,
    TrainState,
    TrainVerdict,
    TrainView,
    Version,
)
from napari_diffseg.views.weak import WeakState

__all__ = [
    "BrushRange",
    "CacheView",
    "CalibrationFacts",
    "CalibrationView",
    "Canvas",
    "CaseFacts",
    "CaseStatus",
    "CaseView",
    "ClassChange",
    "Column",
    "CorrectView",
    "DiceLine",
    "Done",
    "Edit",
    "EditState",
    "EditTool",
    "ExportView",
    "Intent",
    "Keep",
    "LabelStrip",
    "LabelsView",
    "LearningCurve",
    "Leftover",
    "ModelChoice",
    "ModelView",
    "Notices",
    "Paints",
    "Place",
    "Plane",
    "PresenceView",
    "ProjectExportView",
    "ProjectView",
    "PromptView",
    "ProposeView",
    "ReadingView",
    "RecoverView",
    "Redraw",
    "Reliability",
    "ResampleView",
    "ResultView",
    "ReviewView",
    "Runner",
    "Scope",
    "Severity",
    "Shown",
    "Side",
    "Target",
    "Ticket",
    "Tool",
    "TrainCase",
    "TrainState",
    "TrainVerdict",
    "TrainView",
    "Version",
    "WeakState",
    "WorkEvent",
    "Works",
]
