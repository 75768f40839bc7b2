"""The style sheet of the dock: calm, dense, on a grid of 8 px."""

from __future__ import annotations

from string import Template

from diffseg.resources import resource
from napari_diffseg.widgets.tone import AMBER, VERMILLION, Tone

_TEXT = """
QLabel { background: transparent; padding: 0; }
QLabel[role="quiet"], QLabel[role="key"] { color: $muted; }
QLabel[role="title"] { font-weight: 600; }
QFrame[role="hairline"] { background: $hairline; border: 0;
    padding: 0; margin: 0; min-height: 1px; max-height: 1px; }
QWidget[clear="true"] { background: transparent; }
QLabel[banner="quiet"] { color: $muted; }
QLabel[banner="info"] { color: $text; background: $tint_info;
    border-left: 3px solid $focus; padding: 4px 8px; }
QLabel[banner="warning"] { color: $text; background: $tint_warning;
    border-left: 3px solid $amber; padding: 4px 8px; }
QLabel[banner="error"] { color: $text; background: $tint_error;
    border-left: 3px solid $red; padding: 4px 8px; }
QFrame[notice="info"] { background: $tint_info; border-left: 3px solid $focus; }
QFrame[notice="warning"] { background: $tint_warning;
    border-left: 3px solid $amber; }
QFrame[notice="error"] { background: $tint_error; border-left: 3px solid $red; }
QTextBrowser { background: $field; border: 1px solid $hairline; padding: 8px; }
QTextBrowser > QWidget { background: $field; }
"""

_BUTTONS = """
QPushButton, QToolButton { background: $button; color: $text;
    border: 1px solid $edge; border-radius: 4px; padding: 0 9px;
    min-height: 24px; }
QToolButton { padding: 0; min-width: 24px; }
Swatch { min-width: 20px; min-height: 20px; border: 0; }
QPushButton:hover, QToolButton:hover { background: $hover; }
QPushButton:pressed, QToolButton:pressed { background: $chosen; }
QPushButton:focus, QToolButton:focus { border-color: $focus; }
QPushButton:disabled, QToolButton:disabled { background: transparent;
    color: $faint; border-color: $hairline; }
QPushButton:checked, QToolButton:checked { background: $chosen; color: $text;
    border-color: $edge; }
QPushButton:checked:focus, QToolButton:checked:focus { border-color: $focus; }
QPushButton:checked:disabled, QToolButton:checked:disabled {
    background: $button; color: $faint; }
QPushButton[primary="true"], QToolButton[primary="true"] { background: $accent;
    color: #ffffff; border-color: $accent; font-weight: 600; }
QPushButton[primary="true"]:hover, QToolButton[primary="true"]:hover {
    background: $accent_hover; border-color: $accent_hover; }
QPushButton[primary="true"]:focus { border-color: $text; }
QPushButton[primary="true"]:disabled, QToolButton[primary="true"]:disabled {
    background: $button; color: $faint; border-color: $hairline; }
QPushButton[big="true"], QToolButton[big="true"] { min-height: 32px; }
QToolButton[flat="true"] { background: transparent; border-color: transparent; }
QToolButton[flat="true"]:hover { background: $hover; }
QToolButton[flat="true"]:focus { border-color: $focus; }
QToolButton[head="true"] { background: transparent; border: 1px solid transparent;
    padding: 0 4px 0 0; font-weight: 600; font-size: 10pt; min-height: 24px; }
QToolButton[head="true"]:focus { border-color: $focus; }
QToolButton[head="true"]:hover { color: $focus; }
QPushButton[link="true"] { background: transparent; border: 0; color: $muted;
    padding: 0 4px; min-height: 18px; }
QPushButton[link="true"]:hover, QPushButton[link="true"]:focus { color: $focus; }
QPushButton[segment="true"] { border-radius: 0; padding: 0 3px; color: $muted;
    background: $field; min-height: 22px; }
QPushButton[segment="true"]:hover { background: $hover; }
QPushButton[segment="true"]:checked { background: $chosen; color: $text; }
QPushButton[segment="true"]:disabled { color: $faint; background: transparent; }
QPushButton[tool="true"] { padding: 0 2px; min-height: 26px; }
QPushButton[end="first"] { border-top-left-radius: 4px;
    border-bottom-left-radius: 4px; border-right: 0; }
QPushButton[end="middle"] { border-right: 0; }
QPushButton[end="last"] { border-top-right-radius: 4px;
    border-bottom-right-radius: 4px; }
QToolButton::menu-indicator { image: none; }
QMenu { background: $field; color: $text; border: 1px solid $edge; padding: 4px; }
QMenu::item { padding: 4px 16px; }
QMenu::item:selected { background: $chosen; }
QMenu::item:disabled { color: $faint; }
"""

_FIELDS = """
QLineEdit { background: $field; color: $text; border: 1px solid $edge;
    border-radius: 4px; padding: 0 6px; min-height: 24px;
    selection-background-color: $accent; selection-color: #ffffff; }
QLineEdit:focus { border-color: $focus; }
QLineEdit:disabled { background: transparent; color: $faint;
    border-color: $hairline; }
QComboBox { background: $field; color: $text; border: 1px solid $edge;
    border-radius: 4px; padding: 0 4px 0 6px; min-height: 24px; }
QComboBox:hover { background: $field; border-color: $chosen; }
QComboBox:focus { border-color: $focus; }
QComboBox:disabled { background: transparent; color: $faint;
    border-color: $hairline; }
QComboBox::drop-down { width: 20px; border: 0; }
QComboBox::down-arrow { image: url($icons/mark-down.svg);
    width: 12px; height: 12px; }
QComboBox QAbstractItemView { background: $field; color: $text;
    border: 1px solid $edge; selection-background-color: $chosen;
    selection-color: $text; outline: 0; }
QAbstractSpinBox { background: $field; color: $text; border: 1px solid $edge;
    border-radius: 4px; padding: 0; min-height: 24px; min-width: 26px; }
QAbstractSpinBox QLineEdit { background: transparent; border: 0; padding: 0;
    min-height: 0; }
QAbstractSpinBox:focus { border-color: $focus; }
QAbstractSpinBox:disabled { background: transparent; color: $faint;
    border-color: $hairline; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {
    subcontrol-origin: border; width: 18px; height: 24px; border: 0;
    background: transparent; border-radius: 4px; }
QAbstractSpinBox::up-button { subcontrol-position: center right; }
QAbstractSpinBox::down-button { subcontrol-position: center left; }
QAbstractSpinBox::up-button:hover, QAbstractSpinBox::down-button:hover {
    background: $hover; }
QAbstractSpinBox::up-arrow { image: url($icons/mark-plus.svg);
    width: 10px; height: 10px; }
QAbstractSpinBox::down-arrow { image: url($icons/mark-minus.svg);
    width: 10px; height: 10px; }
QCheckBox { background: transparent; spacing: 8px; min-height: 24px; }
QCheckBox:disabled { color: $faint; }
QCheckBox::indicator { width: 14px; height: 14px; background: $field;
    border: 1px solid $edge; border-radius: 3px; padding: 0; }
QCheckBox::indicator:hover { border-color: $muted; }
QCheckBox::indicator:checked { background: $chosen; border-color: $muted;
    image: url($icons/$check.svg); }
QCheckBox:focus::indicator { border-color: $focus; }
QSlider { background: transparent; min-height: 24px; }
QSlider::groove:horizontal { background: $hairline; height: 4px;
    border-radius: 2px; }
QSlider::sub-page:horizontal { background: $muted; border-radius: 2px; }
QSlider::sub-page:horizontal:disabled { background: $hairline; }
QSlider::handle:horizontal { background: $text; width: 14px; height: 14px;
    margin: -5px 0; border-radius: 7px; }
QSlider::handle:horizontal:hover { background: $focus; }
QSlider::handle:horizontal:focus { background: $focus; }
QSlider::handle:horizontal:disabled { background: $edge; }
"""

_VIEWS = """
QProgressBar { background: $field; border: 0; border-radius: 3px;
    min-height: 6px; max-height: 6px; }
QProgressBar::chunk { background: $focus; border-radius: 3px; width: 1px; }
QListWidget, QTableView { background: $field; border: 1px solid $hairline;
    border-radius: 4px; outline: 0; padding: 0; gridline-color: $hairline; }
QListWidget:focus, QTableView:focus { border-color: $focus; }
QListWidget::item { border-bottom: 1px solid $hairline; padding: 0; }
QListWidget[plain="true"]::item { padding: 5px 6px; }
QListWidget[pictures="true"]::item { border: 0; }
QListView[words="true"] { background: $field; color: $text;
    border: 1px solid $edge; }
QListView[words="true"]::item { padding: 4px 6px; }
QListView[words="true"]::item:selected, QListView[words="true"]::item:hover {
    background: $row; color: $text; }
QListWidget::item:selected { background: $row; color: $text; }
QListWidget::item:hover:!selected { background: $button; }
QTableView::item { border-bottom: 1px solid $hairline; padding: 0 4px; }
QTableView::item:selected { background: $row; color: $text; }
QTableView QTableCornerButton::section { background: transparent; border: 0; }
QHeaderView { background: transparent; }
QHeaderView::section { background: transparent; color: $muted; border: 0;
    border-bottom: 1px solid $hairline; padding: 2px 4px; }
QScrollArea { border: 0; background: transparent; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0;
    min-width: 10px; max-width: 10px; }
QScrollBar::handle:vertical { background: $hover; min-height: 32px;
    border-radius: 4px; margin: 1px; }
QScrollBar::handle:vertical:hover { background: $chosen; }
QScrollBar::add-line:vertical, QScrollBar::sub-line:vertical { height: 0; }
QScrollBar::up-arrow:vertical, QScrollBar::down-arrow:vertical { min-height: 0;
    max-height: 0; min-width: 0; max-width: 0; padding: 0; }
QLabel, QCheckBox, QRadioButton { border: 0; }
"""

_SHEET = Template(_TEXT + _BUTTONS + _FIELDS + _VIEWS)


def sheet(tone: Tone) -> str:
    """Style sheet of the dock and its dialogs in the colours of a theme."""
    return _SHEET.substitute(
        text=tone.text,
        muted=tone.muted,
        faint=tone.faint,
        hairline=tone.hairline,
        field=tone.field,
        edge=tone.edge,
        button=tone.button,
        hover=tone.hover,
        chosen=tone.chosen,
        row=tone.hover,
        accent=tone.accent,
        accent_hover="#005F96" if not tone.dark else "#1485C5",
        focus=tone.focus,
        amber=AMBER,
        red=VERMILLION,
        tint_info=tone.tint(tone.focus),
        tint_warning=tone.tint(AMBER),
        tint_error=tone.tint(VERMILLION, 1.6),
        icons=resource("icons").as_posix(),
        check="mark-check-light" if tone.dark else "mark-check-dark",
    )
