"""A window to read a model card in."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from diffseg.domain import ModelCard
from napari_diffseg.widgets.card_text import card_html
from napari_diffseg.widgets.parts import UNIT, button, named, row
from napari_diffseg.widgets.tone import Tone


class CardDialog(QDialog):
    """Title, intended use, limits, data, licence and measured quality."""

    def __init__(self, card: ModelCard, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("diffseg.model.card_dialog")
        self.setWindowTitle(f"Model card: {card.id} {card.version}")
        self.resize(UNIT * 68, UNIT * 80)
        page = named(QTextBrowser(), "diffseg.model.card_text", "The model card")
        page.setHtml(card_html(card, Tone.of(parent or self).muted))
        close = button("diffseg.model.card_close", "Close", "Close the card")
        close.clicked.connect(self.accept)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(UNIT * 2, UNIT * 2, UNIT * 2, UNIT * 2)
        layout.setSpacing(UNIT)
        layout.addWidget(page)
        layout.addLayout(row(1, close))
