"""The dock as a whole: its protocols, its size, its colours, both bindings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QColor, QDropEvent, QPalette
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton, QScrollArea, QSpinBox, QWidget

from diffseg.domain import Label, Presence, StructureReport
from diffseg.engine.events import Machine
from napari_diffseg import views
from napari_diffseg.session import Busy
from napari_diffseg.views import CaseFacts, Intent, ModelChoice, Place
from napari_diffseg.widgets.dock import Dock
from napari_diffseg.widgets.tone import Tone

pytestmark = pytest.mark.gui

PROTOCOLS = {
    "case": views.CaseView,
    "labels": views.LabelsView,
    "model": views.ModelView,
    "propose": views.ProposeView,
    "result": views.ResultView,
    "review": views.ReviewView,
    "correct": views.CorrectView,
    "export": views.ExportView,
    "recover": views.RecoverView,
    "notices": views.Notices,
}


@pytest.fixture
def dock(qtbot) -> Dock:
    made = Dock()
    qtbot.addWidget(made)
    return made


def intents_of(protocol: type) -> list[str]:
    return [name for name, kind in get_type_hints(protocol).items() if kind is Intent]


def fill(dock: Dock) -> None:
    """Feed every panel what a session would."""
    path = "/data/studies/hippocampus/imagesTr/" + "long_name_" * 8 + ".nii.gz"
    facts = ("182 x 218 x 182 voxels", "1 x 1 x 1 mm", "RAS, shown radiologically")
    dock.case.set_cases([("a", "one"), ("b", "two")], "b")
    dock.case.show_facts(CaseFacts("two", path, *facts, "NIfTI, MR", ("odd",), True))
    dock.case.set_windows(("automatic", "full range"), "automatic")
    dock.case.set_plane("coronal")
    dock.case.set_radiological(False)
    labels = (Label(name="anterior", value=1), Label(name="n" * 60, value=7))
    dock.labels.show_labels([(one, Presence.ABSENT) for one in labels], 7, True)
    dock.prompt.show_prompt(True, "lesion", ("lesion", "hair"))
    dock.prompt.say_prompt("looks for lesion (mole, nevus) " * 4, False)
    dock.model.set_models((ModelChoice("m@1", "A model " * 12),), "m@1")
    dock.model.show_card(None)
    dock.model.show_machine(Machine("cpu", "2 CPU cores", 1, 1, "no GPU"), "ready")
    dock.propose.set_settings(8, 2, 41)
    dock.propose.set_scope("region", "a box " * 20)
    dock.propose.set_ready(True, "")
    dock.propose.set_plan("about 7 s, 1.1 GB")
    dock.propose.set_busy(Busy("b", "member 3 of 8", 0.4, 3.0))
    report = StructureReport("anterior", 1, 12, 1.5, 1.4, 1.6, 0.98)
    dock.result.show_structures([(label, report) for label in labels], "made by m")
    dock.result.set_views(("mask", "contours", "uncertainty", "member"), "member", 8)
    dock.result.show_warnings(("w" * 80,))
    dock.result.set_opacity(0.3)
    dock.result.set_outline(True)
    dock.review.show_place(Place((1, 2, 3), "doubt", "anterior", 0.9), 2, 12, 3)
    dock.review.show_strip(np.linspace(0, 1, 30, dtype=np.float32), 12)
    dock.correct.set_enabled(True, "")
    dock.correct.set_tool("fill")
    dock.correct.set_brush(4.5, "mm")
    dock.correct.set_hidden(True)
    dock.correct.show_saved("saved on disk 14:03:22")
    dock.export.set_formats(("nifti", "nrrd"), "nrrd")
    dock.export.set_path(path)
    dock.export.set_ready(True, "")
    dock.export.show_done(f"wrote {path}")
    dock.notices.show(f"cannot read {path}", "error")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_view_has_what_its_protocol_names(dock: Dock, name: str) -> None:
    view, protocol = getattr(dock, name), PROTOCOLS[name]
    members = [m for m in vars(protocol) if not m.startswith("_")]
    members += intents_of(protocol)
    assert members
    assert not [member for member in members if not hasattr(view, member)]
    for intent in intents_of(protocol):
        assert callable(getattr(view, intent).connect)


def test_showing_tells_no_intent(dock: Dock) -> None:
    told: list[tuple[str, str, tuple[Any, ...]]] = []
    for name, protocol in PROTOCOLS.items():
        for intent in intents_of(protocol):
            getattr(getattr(dock, name), intent).connect(
                lambda *said, which=(name, intent): told.append((*which, said))
            )
    for _ in range(2):
        fill(dock)
    dock.case.set_cases((), None)
    dock.case.show_facts(None)
    dock.labels.show_labels((), 0, False)
    dock.propose.set_busy(None)
    assert told == []


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("filled", [False, True])
def test_nothing_is_wider_than_the_dock(
    dock: Dock, qtbot, width: int, filled: bool
) -> None:
    if filled:
        fill(dock)
    dock.resize(width, 500)
    dock.show()
    qtbot.waitExposed(dock)
    panels = dock.findChild(QWidget, "diffseg.panels")
    port = panels.parentWidget()
    assert panels.minimumSizeHint().width() <= port.width()
    outside = [
        child.objectName()
        for child in panels.findChildren(QWidget)
        if child.isVisible()
        and child.objectName().startswith("diffseg.")
        and child.mapTo(panels, QPoint(child.width(), 0)).x() > port.width()
    ]
    assert not outside


def test_the_dock_is_360_wide_and_may_be_320(dock: Dock) -> None:
    assert dock.sizeHint().width() == 360
    assert dock.minimumSizeHint().width() == 320


def light_and_dark() -> Iterator[tuple[str, str, bool]]:
    yield "#EFEBE9", "#3B3A39", False
    yield "#262930", "#F0F1F2", True


@pytest.mark.parametrize(("window", "text", "dark"), list(light_and_dark()))
def test_colours_are_the_themes(
    dock: Dock, qtbot, window: str, text: str, dark: bool
) -> None:
    palette = QPalette(dock.palette())
    palette.setColor(QPalette.ColorRole.Window, QColor(window))
    palette.setColor(QPalette.ColorRole.WindowText, QColor(text))
    dock.setPalette(palette)
    field = Tone(window.lower(), text.lower()).field
    assert Tone.of(dock).dark is dark
    qtbot.waitUntil(lambda: field in dock.styleSheet(), timeout=2000)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours."""

    def luminance(color: str) -> float:
        parts = QColor(color).getRgbF()[:3]
        linear = [
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        ]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("window", "text", "dark"), list(light_and_dark()))
def test_text_can_be_read(window: str, text: str, dark: bool) -> None:
    tone = Tone(window, text)
    assert contrast(tone.muted, window) > 4.5
    assert contrast(tone.muted, tone.field) > 4.5
    assert contrast("#ffffff", tone.accent) > 4.5
    assert contrast(text, tone.chosen) > 4.5
    assert contrast(text, tone.tint("#E69F00")) > 4.5
    assert contrast(text, tone.tint("#D55E00", 1.6)) > 4.5


def test_one_button_is_the_next_thing_to_do(dock: Dock) -> None:
    def primary() -> list[str]:
        buttons = dock.findChildren(QPushButton)
        return [b.objectName() for b in buttons if b.property("primary")]

    assert primary() == ["diffseg.case.open"]
    fill(dock)
    assert primary() == []  # Something is being proposed.
    dock.propose.set_busy(None)
    assert primary() == ["diffseg.propose.run"]


def test_the_wheel_scrolls_and_changes_nothing(dock: Dock, qtbot) -> None:
    dock.resize(360, 400)
    dock.show()
    qtbot.waitExposed(dock)
    members = dock.findChild(QSpinBox, "diffseg.propose.members")
    members.setValue(8)
    area = dock.findChild(QScrollArea, "diffseg.scroll")
    area.ensureWidgetVisible(members)
    before = area.verticalScrollBar().value()
    place = QPointF(members.mapTo(dock, QPoint(5, 5)))
    QTest.wheelEvent(dock.windowHandle(), place, QPoint(0, -120))
    qtbot.waitUntil(lambda: area.verticalScrollBar().value() > before, timeout=2000)
    assert members.value() == 8


def test_files_can_be_dropped(dock: Dock, tmp_path: Path) -> None:
    opened: list[str] = []
    dock.case.open_requested.connect(opened.append)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "a.nii.gz"))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
        QEvent.Type.Drop,
    )
    dock.dropEvent(event)
    assert opened == [str(tmp_path / "a.nii.gz")]


@pytest.mark.slow
def test_the_other_binding_runs_it() -> None:
    """PyQt6 raises where PySide6 lets pass: enums out of scope, wrong types."""
    environment = {**os.environ, "QT_API": "pyqt6", "QT_QPA_PLATFORM": "offscreen"}

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    loads = run("import PyQt6.QtWidgets")
    if loads.returncode != 0:
        pytest.skip(f"PyQt6 does not load here: {loads.stderr.splitlines()[-1]}")
    here = Path(__file__)
    script = (
        "import sys; from qtpy import API_NAME; assert API_NAME == 'PyQt6'\n"
        "from qtpy.QtWidgets import QApplication; app = QApplication([])\n"
        "from importlib.util import module_from_spec, spec_from_file_location\n"
        f"spec = spec_from_file_location('fed', {str(here)!r})\n"
        "fed = module_from_spec(spec); spec.loader.exec_module(fed)\n"
        "dock = fed.Dock(); dock.resize(340, 4000); dock.show()\n"
        "fed.fill(dock); app.processEvents()\n"
        "dock.result.set_views(('mask', 'uncertainty'), 'uncertainty', 0)\n"
        "app.processEvents(); dock.result.set_views(('mask', 'contours'),\n"
        "    'contours', 0); app.processEvents()\n"
        "assert not dock.grab().isNull()\n"
        # An interpreter that ends drops globals in any order: the dock goes first.
        "dock.close(); dock.deleteLater(); app.processEvents(); del dock\n"
        "app.processEvents(); print('done')\n"
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "done"
