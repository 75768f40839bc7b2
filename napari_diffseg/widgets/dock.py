"""The dock: panels that read top to bottom as the work does."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QPoint, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.widgets.case_panel import CasePanel
from napari_diffseg.widgets.correct_panel import CorrectPanel
from napari_diffseg.widgets.export_panel import ExportPanel
from napari_diffseg.widgets.labels_panel import LabelsPanel
from napari_diffseg.widgets.model_panel import ModelPanel
from napari_diffseg.widgets.notices import NoticeBoard, NoticeStrip
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import UNIT, WheelGuard, button, hairline, row
from napari_diffseg.widgets.project_panel import ProjectPanel
from napari_diffseg.widgets.propose_panel import ProposePanel
from napari_diffseg.widgets.recover import Recover
from napari_diffseg.widgets.result_panel import ResultPanel
from napari_diffseg.widgets.review_panel import ReviewPanel
from napari_diffseg.widgets.style import sheet
from napari_diffseg.widgets.tone import Tone
from napari_diffseg.widgets.train_panel import TrainPanel

_WIDTH, _LEAST_WIDTH = 360, 320
_FOOTER = "Not a medical device."


class Dock(QWidget):
    """Every panel below the other; each attribute is a view of `views`.

    Parameters
    ----------
    parent : QWidget, optional
    """

    help_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg.dock")
        self.setAccessibleName("DiffSeg")
        self._tone: Tone | None = None
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._take_theme)
        self.project = ProjectPanel()
        self.case = CasePanel()
        self.labels = LabelsPanel()
        self.presence = self.labels.presence
        self.prompt = self.labels.prompt
        self.reading = self.project.reading
        self.model = ModelPanel()
        self.calibration = self.model.calibration
        self.cache = self.model.cache
        self.propose = ProposePanel()
        self.result = ResultPanel()
        self.review = ReviewPanel()
        self.correct = CorrectPanel()
        self.resample = self.correct.resample
        self.train = TrainPanel()
        self.export = ExportPanel()
        self.project_export = self.export.project
        self.recover = Recover(self)
        self._strip = NoticeStrip()
        self.notices = NoticeBoard(self._strip)
        self._area = self._scrolled()
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self._strip)
        whole.addWidget(self._area, 1)
        whole.addWidget(hairline())
        whole.addLayout(self._footer())
        self.setMinimumWidth(_LEAST_WIDTH)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setAcceptDrops(True)
        self._guard = WheelGuard(self)
        for kind in (QAbstractSpinBox, QComboBox, QSlider):
            for field in self.findChildren(kind):
                self._guard.guard(field)
        self._take_theme()

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels, from top to bottom."""
        return (
            self.project,
            self.case,
            self.labels,
            self.model,
            self.propose,
            self.result,
            self.review,
            self.correct,
            self.train,
            self.export,
        )

    def reveal(self, panel: Panel) -> None:
        """Scroll until a panel is in sight, from its headline on."""
        content, bar = self._area.widget(), self._area.verticalScrollBar()
        if content is not None and bar is not None:
            bar.setValue(panel.mapTo(content, QPoint(0, 0)).y())

    def _scrolled(self) -> QScrollArea:
        content = QWidget()
        content.setObjectName("diffseg.panels")
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, UNIT)
        column.setSpacing(UNIT // 2)
        for panel in self.panels:
            column.addWidget(panel)
        column.addStretch(1)
        area = QScrollArea()
        area.setObjectName("diffseg.scroll")
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(content)
        return area

    def _footer(self) -> QHBoxLayout:
        help_ = button("diffseg.help.show", "?", "Show every key. Key: ?")
        help_.setAccessibleName("Keys")
        help_.setProperty("link", True)
        help_.clicked.connect(lambda: self.help_requested.emit())
        line = row(_notice(), 1, help_)
        line.setContentsMargins(0, 0, UNIT, 0)
        return line

    def sizeHint(self) -> QSize:
        """360 px wide."""
        return QSize(_WIDTH, UNIT * 100)

    def minimumSizeHint(self) -> QSize:
        """320 px wide, and as low as a window may be."""
        return QSize(_LEAST_WIDTH, UNIT * 30)

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme around."""
        super().changeEvent(event)
        if event.type() in (
            QEvent.Type.StyleChange,
            QEvent.Type.PaletteChange,
        ):
            # Half way through a change the palette is not the theme's: wait.
            self._later.start()

    def showEvent(self, event: QShowEvent) -> None:
        """Take the theme's colours before the first look."""
        super().showEvent(event)
        self._take_theme()

    def _take_theme(self) -> None:
        tone = Tone.of(self)
        if tone != self._tone:
            self._tone = tone
            self.setStyleSheet(sheet(tone))
            self._later.stop()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Ask for each file that was dropped to be opened."""
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.case.open_requested.emit(url.toLocalFile())
        event.acceptProposedAction()


def _notice() -> QLabel:
    footer = QLabel(_FOOTER)
    footer.setObjectName("diffseg.footer")
    footer.setProperty("role", "quiet")
    footer.setToolTip("For research; not intended for clinical use")
    footer.setContentsMargins(UNIT * 3 // 2, 2, UNIT, 4)
    footer.setAlignment(Qt.AlignmentFlag.AlignLeft)
    return footer
