"""Lasting lines for the user, newest first."""

from __future__ import annotations

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFrame, QVBoxLayout, QWidget

from napari_diffseg.views import Severity
from napari_diffseg.widgets.brief import Brief
from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.parts import UNIT, button, row

_SHOWN = 2
_KEPT = 20
_WORDS = {"info": "Note", "warning": "Warning", "error": "Error"}


class Notice(QFrame):
    """One line with its colour and a button that takes it away."""

    def __init__(self, text: str, severity: Severity) -> None:
        super().__init__()
        self.text, self.severity = text, severity
        self.setProperty("notice", severity)
        self.setAccessibleName(f"{_WORDS[severity]}: {text}")
        self._line = Brief(text, role="plain")
        self.close_button = IconButton("", "close", "Take this line away", flat=True)
        line = row(self._line, self.close_button)
        line.setContentsMargins(UNIT, 4, 4, 4)
        line.setStretch(0, 1)
        self.setLayout(line)

    def stand(self, place: int) -> None:
        """Take the handles of a place; 0 is the newest."""
        self._line.setObjectName(f"diffseg.notices.text.{place}")
        self.close_button.setObjectName(f"diffseg.notices.close.{place}")


class NoticeStrip(QWidget):
    """Where notices stand, with a button for those that came earlier."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("diffseg.notices")
        self.notices: list[Notice] = []
        self._all = False
        self._earlier = button(
            "diffseg.notices.earlier", "", "Show or hide earlier lines"
        )
        self._earlier.setProperty("link", True)
        self._earlier.clicked.connect(self._toggle)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addWidget(self._earlier)
        self._arrange()

    def put(self, text: str, severity: Severity) -> None:
        """Put a line on top; the same line again only moves up."""
        for old in [n for n in self.notices if n.text == text]:
            self.drop(old)
        notice = Notice(text, severity)
        notice.close_button.clicked.connect(lambda: self.drop(notice))
        self.notices.insert(0, notice)
        self._column.insertWidget(0, notice)
        for old in self.notices[_KEPT:]:
            self.drop(old)
        self._arrange()

    def drop(self, notice: Notice) -> None:
        """Take a line away."""
        if notice in self.notices:
            self.notices.remove(notice)
            self._column.removeWidget(notice)
            notice.hide()
            notice.setParent(None)
            notice.deleteLater()
            self._arrange()

    def _toggle(self) -> None:
        self._all = not self._all
        self._arrange()

    def _arrange(self) -> None:
        for place, notice in enumerate(self.notices):
            notice.stand(place)
            notice.setVisible(self._all or place < _SHOWN)
        more = len(self.notices) - _SHOWN
        self._earlier.setVisible(more > 0)
        self._earlier.setText("Show fewer" if self._all else f"{more} earlier")
        self.setVisible(bool(self.notices))


class NoticeBoard(QObject):
    """Shows lines on a strip; a `Notices`."""

    def __init__(self, strip: NoticeStrip) -> None:
        super().__init__(strip)
        self._strip = strip

    def show(self, text: str, severity: Severity = "info") -> None:
        """Show one line."""
        self._strip.put(text, severity)

    def text(self) -> str:
        """The newest line that was not taken away, or ""."""
        return self._strip.notices[0].text if self._strip.notices else ""
