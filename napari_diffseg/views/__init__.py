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
from napari_diffseg.views.runner import Runner, Ticket

__all__ = [
    "BrushRange",
    "Canvas",
    "CaseFacts",
    "CaseStatus",
    "CaseView",
    "Column",
    "CorrectView",
    "Edit",
    "EditState",
    "EditTool",
    "ExportView",
    "Intent",
    "LabelStrip",
    "LabelsView",
    "Leftover",
    "ModelChoice",
    "ModelView",
    "Notices",
    "Paints",
    "Place",
    "Plane",
    "PresenceView",
    "ProjectView",
    "ProposeView",
    "RecoverView",
    "ResultView",
    "ReviewView",
    "Runner",
    "Scope",
    "Severity",
    "Shown",
    "Target",
    "Ticket",
    "Tool",
]
