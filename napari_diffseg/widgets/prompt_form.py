"""What to look for, in words: a field that offers what the model knows."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QStringListModel, Qt, QTimer, Signal
from qtpy.QtGui import QFocusEvent, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QCompleter, QLineEdit, QListView, QVBoxLayout, QWidget

from napari_diffseg.widgets.parts import UNIT, Banner, key, named, quietly
from napari_diffseg.widgets.style import sheet
from napari_diffseg.widgets.tone import Tone

_TIP = (
    "Say in words what to look for, several between commas: lesion, hair. A class in "
    "words of your own: lesion=brown spot"
)
_PAUSE_MS = 600
_EXAMPLES = 3


class PromptForm(QWidget):
    """A field for words and what they are taken for; a `PromptView`.

    Parameters
    ----------
    prefix : str
        Of the handles.
    """

    prompt_given = Signal(str)

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.setObjectName(f"{prefix}.words")
        self._field = named(WordsField(), f"{prefix}.prompt", _TIP)
        self._said = Banner("", handle=f"{prefix}.prompt_said")
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        head = key("In words")
        head.setBuddy(self._field)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(UNIT // 2)
        layout.addWidget(head)
        layout.addWidget(self._field)
        layout.addWidget(self._said)
        self._field.textEdited.connect(lambda _: self._pause.start())
        self._field.picked.connect(self._tell)
        self._field.editingFinished.connect(self._tell)
        self._field.returnPressed.connect(self._tell)
        self._pause.timeout.connect(self._tell)
        self.show_prompt(False, "", ())

    def _tell(self) -> None:
        self._pause.stop()
        self.prompt_given.emit(self._field.text().strip())

    def settle(self) -> None:
        """Tell at once what was typed: another case comes."""
        if self._pause.isActive():
            self._tell()

    def show_prompt(self, shown: bool, text: str, words: Sequence[str]) -> None:
        """Show the text of the case at hand, and offer the words that mean a class."""
        self.setVisible(shown)
        self._field.offer(words)
        examples = ", ".join(words[:_EXAMPLES])
        self._field.setPlaceholderText(
            f"Such as {examples}" if examples else "What to look for"
        )
        # What is being typed is not taken out of anybody's hands.
        if self._field.text().strip() != text and not self._pause.isActive():
            with quietly(self._field):
                self._field.setText(text)

    def say_prompt(self, line: str, trouble: bool) -> None:
        """Tell what would be looked for, or in a line what is wrong with the text."""
        self._said.tell(line, "warning" if trouble else "quiet")


class WordsField(QLineEdit):
    """A line of words between commas, the last of which can be completed."""

    picked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._words = QStringListModel(self)
        self._list = QCompleter(self._words, self)
        self._list.setWidget(self)
        self._list.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._list.setFilterMode(Qt.MatchFlag.MatchContains)
        self._popup = QListView()
        self._popup.setProperty("words", True)
        self._list.setPopup(self._popup)
        self._list.activated.connect(lambda word: self._take(str(word)))
        self.textEdited.connect(lambda _: self._suggest())

    def offer(self, words: Sequence[str]) -> None:
        """Offer these words from now on."""
        if self._words.stringList() != list(words):
            self._words.setStringList(list(words))

    def _parts(self) -> tuple[str, str]:
        """What stands before the word at the end, and that word."""
        head, comma, last = self.text().rpartition(",")
        return f"{head}{comma}", last.strip()

    def _suggest(self, every: bool = False) -> None:
        _, word = self._parts()
        self._list.setCompletionPrefix(word)
        popup = self._popup
        exact = [word.casefold()] == [one.casefold() for one in self._matches()]
        if (not word and not every) or "=" in word or exact or not self._matches():
            popup.hide()
        else:
            # It is a window of its own, and takes no style from ours.
            self._popup.setStyleSheet(sheet(Tone.of(self)))
            self._list.complete()

    def _matches(self) -> list[str]:
        shown = self._list.completionModel()
        return [str(shown.index(row, 0).data()) for row in range(shown.rowCount())]

    def _take(self, word: str) -> None:
        head, _ = self._parts()
        self.setText(f"{head} {word}" if head else word)
        self.picked.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Show all words at a click into what is empty."""
        super().mousePressEvent(event)
        if not self._parts()[1]:
            self._suggest(every=True)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Show the words at the key Down; Enter takes the one that is chosen."""
        if event.key() == Qt.Key.Key_Down and not self._popup.isVisible():
            self._suggest(every=True)
            return
        super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Tell what was typed, but not when the list of words takes the focus."""
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self._popup.hide()
        super().focusOutEvent(event)
