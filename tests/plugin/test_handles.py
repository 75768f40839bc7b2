"""Every control has a handle, and docs/handles.md lists them all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QAction, QShortcut
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QMenu,
    QProgressBar,
    QScrollArea,
    QScrollBar,
    QTableView,
    QTextBrowser,
    QTreeWidget,
    QWidget,
)

from diffseg.domain import Label, ModelCard, Presence
from diffseg.engine.events import Machine
from diffseg.project.journal import Journal
from diffseg.resources import resource
from napari_diffseg.plugin.window import assemble, dock_into
from napari_diffseg.views import Leftover
from napari_diffseg.widgets.card_dialog import CardDialog
from napari_diffseg.widgets.curve_plot import Plot
from napari_diffseg.widgets.dock import Dock
from napari_diffseg.widgets.keys import KEYS, NAPARI_KEYS
from napari_diffseg.widgets.keys_page import KeysPage
from napari_diffseg.widgets.label_strip import LabelLanes
from napari_diffseg.widgets.panes import PlanePane
from napari_diffseg.widgets.questions import (
    SeriesQuestion,
    overwrite_question,
    replace_question,
    taken_question,
)
from napari_diffseg.widgets.recover import RecoverDialog
from napari_diffseg.widgets.segmented import Segmented
from napari_diffseg.widgets.strip import Strip

pytestmark = pytest.mark.gui

PAGE = Path(__file__).parents[2] / "docs" / "handles.md"
LINE = re.compile(r"^\| `(diffseg\.[^`]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)

# The first kind that fits is told.
KINDS: tuple[tuple[Any, str], ...] = (
    (QDialog, "dialog"),
    (KeysPage, "dialog"),
    (PlanePane, "plane"),
    (QShortcut, "shortcut"),
    (Segmented, "one of several"),
    (QCheckBox, "check box"),
    (QAbstractButton, "button"),
    (QAction, "menu item"),
    (QLineEdit, "text field"),
    (QAbstractSpinBox, "number"),
    (QComboBox, "list to open"),
    (QAbstractSlider, "slider"),
    (QListWidget, "list"),
    (QTableView, "table"),
    (QTreeWidget, "tree"),
    (QTextBrowser, "page"),
    (QProgressBar, "progress"),
    (Strip | LabelLanes | Plot, "plot"),
    (QLabel, "text"),
    (QMenu, "menu"),
    (QScrollArea, "scroll area"),
    (QWidget, "group"),
)
CONTROLS = (
    QAbstractButton,
    QLineEdit,
    QAbstractSpinBox,
    QComboBox,
    QAbstractSlider,
    QListWidget,
    QTableView,
    QTreeWidget,
    LabelLanes,
    Plot,
    Strip,
)
MUST = [
    "project.create",
    "project.open",
    "project.close",
    "project.list",
    "project.save",
    "project.state",
    "labels.lanes",
    "case.open",
    "case.path",
    "labels.list",
    "labels.prompt",
    "model.choice",
    "propose.scope",
    "propose.members",
    "propose.steps",
    "propose.seed",
    "propose.run",
    "propose.cancel",
    "result.view",
    "review.next",
    "review.accept",
    "correct.paint",
    "correct.erase",
    "correct.fill",
    "correct.polygon",
    "correct.pick",
    "correct.pan",
    "correct.threshold",
    "correct.interpolate",
    "correct.holes",
    "correct.islands",
    "correct.smooth",
    "correct.margin",
    "correct.copy",
    "correct.combine",
    "train.run",
    "train.cancel",
    "train.rollback",
    "train.cases",
    "train.recipe",
    "train.self_train",
    "train.tolerance",
    "train.overall_tolerance",
    "train.minutes",
    "train.verdict",
    "train.versions",
    "calibration.run",
    "project.second",
    "project.comment",
    "export.format",
    "export.path",
    "export.run",
    "device.banner",
]


def kind_of(thing: QObject) -> str:
    return next(kind for cls, kind in KINDS if isinstance(thing, cls))


def windows(dock: Dock) -> Iterator[QWidget]:
    """The dock with a structure and a notice, and every dialog of ours."""
    dock.labels.show_labels([(Label(name="a", value=1), Presence.UNKNOWN)], 1, True)
    dock.notices.show("hello")
    yield dock
    card = resource("models", "hippocampus-mri", "card.json").read_text("utf-8")
    yield CardDialog(ModelCard.model_validate_json(card), dock)
    yield SeriesQuestion(dock, ["one", "two"])
    yield replace_question(dock, 3)
    yield overwrite_question(dock, Path("mask.nii.gz"))
    yield taken_question(dock, "case", "anna", "14:03")
    yield RecoverDialog([Leftover("id", "case", "today 14:03", 5)], dock)


def in_window(dock: Dock, *more: QWidget) -> dict[str, str]:
    """Handle and kind of everything that has a handle; N is a row's number."""
    found: dict[str, str] = {}
    for window in [*windows(dock), *more]:
        for thing in [window, *window.findChildren(QObject)]:
            handle = re.sub(r"\.\d+$", ".N", thing.objectName())
            if handle.startswith("diffseg."):
                found[handle] = kind_of(thing)
    return found


@pytest.fixture
def dock(qtbot) -> Dock:
    made = Dock()
    qtbot.addWidget(made)
    return made


class NoEngine:
    """Nothing is proposed here."""

    on_state = None

    def start(self) -> None: ...
    def warm(self, model: str = "") -> None: ...
    def close(self) -> None: ...
    def machine(self, device: str = "auto") -> Machine:
        return Machine("cpu", "none", 1, 1)


def test_the_page_and_the_whole_window_agree(
    make_napari_viewer: Any, qtbot: Any, dock: Dock, tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    window = assemble(viewer, NoEngine(), Journal(tmp_path))  # type: ignore[arg-type]
    dock_into(viewer, window)
    qtbot.waitUntil(lambda: window.surroundings.keys is not None, timeout=20_000)
    qtbot.mouseClick(
        window.dock.findChild(QAbstractButton, "diffseg.help.show"),
        Qt.MouseButton.LeftButton,
    )
    napari = window.dock.window()
    assert napari.findChild(KeysPage).isVisible()
    there = in_window(dock, napari)  # dialogs are of a dock of their own
    window.close()
    viewer = window = napari = None  # napari looks for leaks
    qtbot.wait(50)
    told = {handle: kind for handle, kind, _ in LINE.findall(PAGE.read_text("utf-8"))}
    assert told == there
    assert {"diffseg.views.coronal", "diffseg.help.keys"} <= set(there)


def test_the_page_names_each_handle_once() -> None:
    handles = [handle for handle, _, _ in LINE.findall(PAGE.read_text("utf-8"))]
    assert len(handles) == len(set(handles))


def test_what_the_contract_names_is_there(dock: Dock) -> None:
    there = in_window(dock, dock.presence.lanes)
    assert not [name for name in MUST if f"diffseg.{name}" not in there]


def test_every_control_has_a_handle(dock: Dock) -> None:
    nameless = [
        f"{type(thing).__name__} in {thing.parent().objectName()}"
        for window in windows(dock)
        for thing in window.findChildren(QWidget)
        if isinstance(thing, CONTROLS)
        and not isinstance(thing, QScrollBar)
        # What Qt puts into a field or a table is a part of it.
        and not isinstance(
            thing.parent(), QAbstractSpinBox | QComboBox | QTableView | QTreeWidget
        )
        and not thing.objectName().startswith("diffseg.")
    ]
    assert not nameless


def test_every_control_says_what_it_does(dock: Dock) -> None:
    silent = [
        thing.objectName()
        for window in windows(dock)
        for thing in window.findChildren(QWidget)
        if isinstance(thing, CONTROLS)
        and thing.objectName().startswith("diffseg.")
        and not (thing.toolTip() and thing.accessibleName())
    ]
    assert not silent


def test_tooltips_tell_the_keys(dock: Dock) -> None:
    dock.propose.set_ready(True, "")
    dock.review.show_place(None, 0, 2, 0)
    dock.correct.set_enabled(True, "")
    tools = {f"diffseg.correct.{k.words.lower()}": k for k in NAPARI_KEYS}
    tools |= {key.handle: key for key in KEYS}
    checked = 0
    for handle, key in tools.items():
        control = dock.findChild(QAbstractButton, handle)
        if control is not None and control.isEnabled():
            assert f"Key: {key.keys}" in control.toolTip(), handle
            checked += 1
    assert checked >= 5
