"""What the user does to each panel, and what the panel tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QCheckBox,
    QColorDialog,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QListWidget,
    QSlider,
    QSpinBox,
    QTableWidget,
    QTextBrowser,
    QTreeWidget,
    QWidget,
)

from diffseg.domain import Label, ModelCard, Presence, StructureReport
from diffseg.domain.cache_keys import CacheKey, KeyImage
from diffseg.engine.events import Machine
from diffseg.resources import resource
from napari_diffseg.session import Busy
from napari_diffseg.views import CaseFacts, Leftover, ModelChoice, Place
from napari_diffseg.widgets.brief import Brief
from napari_diffseg.widgets.dock import Dock
from napari_diffseg.widgets.strip import Strip
from napari_diffseg.widgets.structure_table import spread_range

pytestmark = pytest.mark.gui

Kind = TypeVar("Kind", bound=QWidget)
ROWS = [
    (Label(name="anterior", value=1, color="#E69F00"), Presence.PRESENT),
    (Label(name="posterior", value=4, color="#56B4E9"), Presence.UNKNOWN),
]


class Hands:
    """Finds controls by their handles, and hears what is told."""

    def __init__(self, dock: Dock) -> None:
        self.dock = dock
        self.told: list[tuple[Any, ...]] = []

    def find(self, handle: str, kind: type[Kind] = QAbstractButton) -> Kind:
        found = self.dock.findChild(kind, f"diffseg.{handle}")
        assert found is not None, handle
        return found

    def click(self, handle: str) -> None:
        button = self.find(handle)
        assert button.isEnabled(), handle
        button.click()

    def hear(self, signal: Any) -> None:
        signal.connect(lambda *said: self.told.append(said))

    def pick(self, handle: str, text: str) -> None:
        combo = self.find(handle, QComboBox)
        index = combo.findText(text)
        assert index >= 0
        combo.setCurrentIndex(index)
        combo.activated.emit(index)

    def words(self, handle: str) -> str:
        label = self.find(handle, QLabel)
        return "" if label.isHidden() else label.text()

    def enter(self, handle: str, text: str) -> None:
        field = self.find(handle, QLineEdit)
        field.setText(text)
        field.returnPressed.emit()


@pytest.fixture
def dock(qtbot) -> Dock:
    made = Dock()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def hands(dock: Dock) -> Hands:
    return Hands(dock)


def answer(handle: str) -> None:
    """Click a button of the dialog that opens next."""

    def click() -> None:
        dialog = QApplication.activeModalWidget()
        assert dialog is not None
        button = dialog.findChild(QAbstractButton, f"diffseg.{handle}")
        if button is None:
            dialog.close()
        else:
            button.click()

    QTimer.singleShot(50, click)


def facts(needs_spacing: bool = False) -> CaseFacts:
    return CaseFacts(
        "one", "/d/one.nii", "4 x 5 x 6 voxels", "1 x 1 x 2 mm", "RAS", "NIfTI",
        ("oblique by 12.4 degrees",), needs_spacing,
    )  # fmt: skip


def test_case_opens_by_path_and_says_what_is_open(hands: Hands) -> None:
    case = hands.dock.case
    hands.hear(case.open_requested)
    assert "drop one into the window" in hands.words("case.empty")
    hands.enter("case.path", " /d/one.nii ")
    hands.enter("case.path", "  ")
    assert hands.told == [("/d/one.nii",)]
    case.set_cases([("a", "one"), ("b", "two")], "a")
    case.show_facts(facts())
    assert hands.words("case.empty") == ""
    assert hands.words("case.size") == "4 × 5 × 6 voxels, 1 × 1 × 2 mm"
    assert hands.words("case.warnings") == "Oblique by 12.4 degrees"
    assert hands.find("case.spacing", QWidget).isHidden()


def test_case_tells_every_intent(hands: Hands) -> None:
    case = hands.dock.case
    case.set_cases([("a", "one"), ("b", "two")], "a")
    case.show_facts(facts(needs_spacing=True))
    case.set_windows(("automatic", "brain"), "automatic")
    for signal in (
        case.case_chosen, case.close_requested, case.plane_chosen,
        case.radiological_toggled, case.window_chosen, case.spacing_given,
    ):  # fmt: skip
        hands.hear(signal)
    hands.pick("case.choice", "two")
    hands.click("case.close")
    hands.click("case.plane.sagittal")
    hands.find("case.radiological", QCheckBox).setChecked(False)
    hands.pick("case.window", "Brain")
    for axis, mm in (("plane", 3.0), ("row", 0.7), ("column", 0.9)):
        hands.find(f"case.spacing.{axis}", QDoubleSpinBox).setValue(mm)
    hands.click("case.spacing.apply")
    assert hands.told == [
        ("b",), (), ("sagittal",), (False,), ("brain",), (3.0, 0.7, 0.9),
    ]  # fmt: skip


@pytest.mark.parametrize(("button", "series"), [("open", 0), ("cancel", None)])
def test_case_asks_which_series(hands: Hands, button: str, series: int | None) -> None:
    answer(f"case.ask_series.{button}")
    assert hands.dock.case.ask_series(("T1", "FLAIR")) == series


def test_labels_tell_presence_choice_and_names(hands: Hands) -> None:
    labels = hands.dock.labels
    labels.show_labels(ROWS, 1, True)
    for signal in (
        labels.presence_given, labels.label_chosen, labels.renamed, labels.added,
        hands.dock.prompt.prompt_given,
    ):  # fmt: skip
        hands.hear(signal)
    hands.click("labels.presence.absent.4")
    hands.find("labels.list", QListWidget).setCurrentRow(1)
    rename = hands.find("labels.rename.1", QLineEdit)
    row = rename.parentWidget().parentWidget()
    row.edit()
    rename.setText("head")
    rename.editingFinished.emit()
    hands.enter("labels.new", "tail")
    hands.dock.prompt.show_prompt(True, "", ())
    hands.enter("labels.prompt", "the left hippocampus")
    assert hands.told == [
        ("posterior", Presence.ABSENT), (4,), (1, "head"), ("tail",),
        ("the left hippocampus",),
    ]  # fmt: skip


def test_a_click_on_a_name_takes_the_structure(hands: Hands, qtbot) -> None:
    labels = hands.dock.labels
    labels.show_labels(ROWS, 1, True)
    hands.dock.resize(360, 700)
    hands.dock.show()
    qtbot.waitExposed(hands.dock)
    hands.hear(labels.label_chosen)
    name = hands.find("labels.name.4", QLabel)
    qtbot.mouseClick(name, Qt.MouseButton.LeftButton)
    assert hands.told == [(4,)]
    qtbot.mouseDClick(name, Qt.MouseButton.LeftButton)
    assert hands.find("labels.rename.4", QLineEdit).isVisible()
    qtbot.keyClick(hands.find("labels.rename.4", QLineEdit), Qt.Key.Key_Escape)
    assert not hands.find("labels.rename.4", QLineEdit).isVisible()


def test_labels_keep_their_rows_while_structures_stay(hands: Hands) -> None:
    labels = hands.dock.labels
    labels.show_labels(ROWS, 1, True)
    before = hands.find("labels.name.1", QLabel)
    renamed = ROWS[0][0].model_copy(update={"name": "head"})
    labels.show_labels([(renamed, Presence.ABSENT), ROWS[1]], 4, False)
    assert hands.find("labels.name.1", QLabel) is before
    assert before.text() == "head"
    assert hands.find("labels.presence.absent.1").isChecked()
    assert hands.find("labels.list", QListWidget).currentRow() == 1
    assert not hands.find("labels.color.1").isEnabled()
    assert not hands.find("labels.add").isEnabled()


def test_labels_ask_for_a_colour(hands: Hands) -> None:
    labels = hands.dock.labels
    labels.show_labels(ROWS, 1, True)
    hands.hear(labels.recolored)

    def take() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, QColorDialog)
        dialog.setCurrentColor(Qt.GlobalColor.red)
        dialog.accept()

    QTimer.singleShot(50, take)
    hands.click("labels.color.4")
    assert hands.told == [(4, "#ff0000")]


def test_words_are_offered_and_shown_where_they_are_read(hands: Hands, qtbot) -> None:
    hands.dock.show()
    qtbot.waitExposed(hands.dock)
    form = hands.dock.prompt
    field = hands.find("labels.prompt", QLineEdit)
    assert not field.isVisible()
    form.show_prompt(True, "hair", ("lesion", "hair", "mole"))
    assert field.isVisible()
    assert (field.text(), field.placeholderText()) == (
        "hair",
        "Such as lesion, hair, mole",
    )
    hands.hear(form.prompt_given)
    field.setFocus()
    qtbot.keyClicks(field, ", mo")
    qtbot.waitUntil(lambda: field._popup.isVisible())
    assert field._matches() == ["mole"]
    form.show_prompt(True, "hair", ("lesion", "hair", "mole"))
    assert field.text() == "hair, mo"  # it is being typed
    qtbot.keyClick(field._popup, Qt.Key.Key_Down)
    qtbot.keyClick(field._popup, Qt.Key.Key_Return)
    assert hands.told[-1] == ("hair, mole",)
    said = hands.find("labels.prompt_said", QLabel)
    form.say_prompt("the text has an empty part", True)
    assert said.text() == "The text has an empty part"
    assert said.property("banner") == "warning"
    form.show_prompt(True, "", ("lesion",))
    assert field.text() == ""  # another case


def test_what_is_typed_is_told_after_a_pause(hands: Hands, qtbot) -> None:
    hands.dock.show()
    qtbot.waitExposed(hands.dock)
    hands.dock.prompt.show_prompt(True, "", ())
    hands.hear(hands.dock.prompt.prompt_given)
    qtbot.keyClicks(hands.find("labels.prompt", QLineEdit), "mole")
    assert hands.told == []
    qtbot.waitUntil(lambda: hands.told == [("mole",)])
    hands.dock.prompt.settle()
    assert hands.told == [("mole",)]  # all of it was told
    qtbot.keyClicks(hands.find("labels.prompt", QLineEdit), "s")
    hands.dock.prompt.settle()
    assert hands.told[-1] == ("moles",)


def keys_of_two() -> list[CacheKey]:
    grey, red = np.full((4, 6), 90, np.uint8), np.zeros((9, 3, 3), np.uint8)
    red[..., 0] = 255

    def image(name: str, picture: object = None) -> KeyImage:
        return KeyImage(name, f"{name}.png", "labelled", 0.5, picture)

    return [
        CacheKey(0, "background", (image("skin"),), foreground=False),
        CacheKey(1, "lesion", (image("a", grey), image("b", red)), foreground=True),
        CacheKey(2, "lesion", (image("c", red),), foreground=True),
    ]


def test_examples_are_shown_by_structure_and_left_out(hands: Hands) -> None:
    form = hands.dock.cache
    for signal in (form.looked, form.drop_requested, form.undo_requested):
        hands.hear(signal)
    form.show_there(True)
    hands.click("cache.fold")
    form.show_keys(keys_of_two(), ["#999999", "#E69F00", "#E69F00"])
    form.show_state("3 examples", "", "words@1.0")
    tree = hands.find("cache.keys", QTreeWidget)
    tops = [tree.topLevelItem(at).text(0) for at in range(2)]
    assert tops == ["lesion · 2", "background, around the structures · 1"]
    drop, images = hands.find("cache.drop"), hands.find("cache.images", QListWidget)
    assert not drop.isEnabled()
    assert drop.toolTip() == "Choose an example first"
    lesion = tree.topLevelItem(0)
    for at in range(2):
        lesion.child(at).setSelected(True)
    assert [images.item(at).text() for at in range(3)] == ["a", "b", "c"]
    pixel = images.item(1).icon().pixmap(48, 48).toImage().pixelColor(8, 20)
    assert (pixel.red(), pixel.green()) == (255, 0)
    assert drop.text() == "Leave out 2"
    hands.click("cache.drop")
    assert hands.find("cache.undo").text() == "Back to 1.0"
    hands.click("cache.undo")
    assert hands.told == [(True,), ((1, 2),), ()]
    form.show_state("", "the head answers without them", "")
    assert not drop.isEnabled()
    assert hands.find("cache.undo").isHidden()


def test_model_tells_choices_and_opens_its_card(hands: Hands, qtbot) -> None:
    model = hands.dock.model
    for signal in (model.model_chosen, model.device_chosen, model.card_requested):
        hands.hear(signal)
    assert not hands.find("model.card").isEnabled()
    model.set_models([ModelChoice("a@1", "A"), ModelChoice("b@2", "B")], "a@1")
    hands.pick("model.choice", "B")
    hands.pick("model.device", "CPU")
    text = resource("models", "hippocampus-mri", "card.json").read_text("utf-8")
    card = ModelCard.model_validate_json(text)
    model.show_card(card)
    assert card.licence in hands.words("model.licence")
    hands.click("model.card")
    assert hands.told == [("b@2",), ("cpu",), ()]
    page = hands.find("model.card_text", QTextBrowser).toPlainText()
    for words in (card.title, card.intended_use, card.data, *card.limits, "0.89"):
        assert words in page
    hands.click("model.card_close")


@pytest.mark.parametrize(
    ("machine", "state", "severity", "words"),
    [
        (None, "starting", "info", "starting"),
        (None, "the engine died", "error", "The engine died"),
        (Machine("cpu", "2 CPU cores", 1, 1, "no driver"), "ready", "warning",
         "no driver"),
        (Machine("cuda", "NVIDIA H200", 1, 8 * 2**30), "ready", "quiet", "8 GiB"),
    ],
)  # fmt: skip
def test_the_banner_tells_where_models_run(
    hands: Hands, machine: Machine | None, state: str, severity: str, words: str
) -> None:
    hands.dock.model.show_machine(machine, state)
    assert words in hands.words("device.banner")
    assert hands.find("device.banner", QLabel).property("banner") == severity


def test_propose_tells_every_intent(hands: Hands) -> None:
    propose = hands.dock.propose
    propose.set_settings(8, 1, 0)
    propose.set_ready(True, "")
    for signal in (
        propose.scope_chosen, propose.settings_changed, propose.run_requested,
        propose.run_all_requested, propose.cancel_requested,
    ):  # fmt: skip
        hands.hear(signal)
    hands.click("propose.scope.slice")
    hands.find("propose.members", QSpinBox).setValue(5)
    hands.click("propose.run")
    propose._all.trigger()
    propose.set_busy(Busy("a", "drawing", 0.5, 3.2))
    hands.click("propose.cancel")
    assert hands.told == [("slice",), (5, 1, 0), (), (), ()]
    propose.set_busy(None)
    hands.click("propose.reseed")
    members, steps, seed = hands.told[-1]
    assert (members, steps) == (5, 1)
    assert seed != 0


def test_propose_says_what_is_missing_and_how_far_it_is(hands: Hands) -> None:
    propose = hands.dock.propose
    propose.set_ready(False, "choose a model first")
    run = hands.find("propose.run")
    assert not run.isEnabled()
    assert hands.words("propose.why_not") == "Choose a model first"
    assert run.toolTip() == "choose a model first"
    propose.set_ready(True, "")
    propose.set_busy(Busy("a", "drawing member 2", 0.25, 9.0))
    assert not run.isEnabled()
    assert hands.words("propose.message") == "About 9 s left, 25%: drawing member 2"
    propose.set_busy(None)
    assert run.isEnabled()
    assert hands.find("propose.busy", QWidget).isHidden()


@pytest.mark.parametrize(
    ("button", "said"),
    [("keep", False), ("replace", True), ("cancel", None), ("", None)],
)
def test_propose_asks_before_it_replaces(
    hands: Hands, button: str, said: bool | None
) -> None:
    answer(f"propose.ask_replace.{button}")
    assert hands.dock.propose.ask_replace(12, "pixel") is said


def report(volume: float | None, low: float | None, high: float | None):
    return StructureReport("anterior", 1, 1234, volume, low, high, 0.98)


def test_result_shows_volumes_and_goes_to_structures(hands: Hands) -> None:
    result = hands.dock.result
    hands.hear(result.structure_chosen)
    rows = [(ROWS[0][0], report(1.5, 1.4, 1.7)), (ROWS[1][0], report(None, None, None))]
    result.show_structures(rows, "made by m")
    table = hands.find("result.structures", QTableWidget)
    shown = [[table.item(r, c).text() for c in (0, 1, 3)] for r in range(2)]
    assert shown == [
        ["anterior", "1.50", "0.98"],
        ["posterior", "1,234\nvoxels", "0.98"],
    ]
    table.cellClicked.emit(1, 0)
    assert hands.told == [(4,)]
    result.show_structures(rows[1:], "of a picture", "pixel")
    assert table.item(0, 1).text() == "1,234\npixels"
    assert hands.words("result.empty") == ""
    result.show_structures((), "")
    assert hands.words("result.empty")
    assert table.isHidden()


def test_the_widest_spread_sets_the_bars() -> None:
    assert spread_range([report(1.0, 0.99, 1.01)]) == 0.05
    assert spread_range(
        [report(2.0, 1.9, 2.1), report(1.0, 0.7, 1.1)]
    ) == pytest.approx(0.3)
    assert spread_range([report(0.1, 0.0, 0.9)]) == 1.0


def test_result_tells_every_intent(hands: Hands) -> None:
    result = hands.dock.result
    result.set_views(("mask", "contours", "member"), "mask", 3)
    for signal in (
        result.view_chosen, result.member_chosen, result.opacity_changed,
        result.outline_toggled,
    ):  # fmt: skip
        hands.hear(signal)
    assert not hands.find("result.view.uncertainty").isEnabled()
    hands.click("result.view.member")
    hands.find("result.member", QSpinBox).setValue(3)
    hands.find("result.opacity", QSlider).setValue(25)
    hands.find("result.outline", QCheckBox).setChecked(True)
    assert hands.told == [("member",), (2,), (0.25,), (True,)]


def test_review_tells_where_to_look(hands: Hands) -> None:
    review = hands.dock.review
    for signal in (
        review.next_requested, review.previous_requested, review.accept_requested,
    ):  # fmt: skip
        hands.hear(signal)
    assert not hands.find("review.next").isEnabled()
    here = Place((1, 2, 3), "members disagree", "anterior", 0.9)
    review.show_place(here, 2, 12, 3)
    assert hands.words("review.reason") == "Place 3: members disagree"
    assert hands.words("review.seen") == "3 of 12 looked at"
    for action in ("next", "previous", "accept"):
        hands.click(f"review.{action}")
    assert hands.told == [(), (), ()]
    review.show_place(None, 0, 12, 12)
    assert hands.words("review.reason") == "All 12 places looked at"
    assert not hands.find("review.next").isEnabled()
    review.show_place(here, 2, 12, 12, accepted=True)
    assert hands.words("review.reason") == "Place 3 (looked at): members disagree"
    assert hands.find("review.accept").toolTip() == "This place was looked at already"
    review.show_place(None, 0, 0, 0, told="no doubtful places")
    assert hands.words("review.reason") == "No doubtful places"
    assert not hands.find("review.accept").isEnabled()


def test_the_strip_goes_to_the_slice_under_the_mouse(hands: Hands, qtbot) -> None:
    review = hands.dock.review
    review.show_strip(np.linspace(0, 1, 30, dtype=np.float32), 0)
    hands.dock.show()
    qtbot.waitExposed(hands.dock)
    hands.hear(review.slice_chosen)
    strip = hands.find("review.strip", Strip)
    x = round(strip.x_of(17))
    qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(x, 10))
    qtbot.keyClick(strip, Qt.Key.Key_Right)
    assert hands.told == [(17,), (18,)]
    assert [strip.slice_at(strip.x_of(i)) for i in range(30)] == list(range(30))
    assert strip.slice_at(-50) == 0
    assert strip.slice_at(9999) == 29


def test_correct_tells_every_intent(hands: Hands) -> None:
    correct = hands.dock.correct
    assert not hands.find("correct.paint").isEnabled()
    correct.set_enabled(True, "")
    correct.set_brush(3.0, "mm")
    for signal in (
        correct.tool_chosen, correct.brush_changed, correct.brush_3d_toggled,
        correct.undo_requested, correct.redo_requested, correct.hide_toggled,
    ):  # fmt: skip
        hands.hear(signal)
    hands.click("correct.erase")
    hands.find("correct.brush", QDoubleSpinBox).setValue(7.5)
    hands.find("correct.brush_3d", QCheckBox).setChecked(True)
    for action in ("undo", "redo", "hide"):
        hands.click(f"correct.{action}")
    assert hands.told == [("erase",), (7.5,), (True,), (), (), (True,)]
    slider = hands.find("correct.brush_slider", QSlider)
    slider.setValue(slider.maximum())
    assert hands.told[-1] == (100.0,)
    assert hands.find("correct.brush", QDoubleSpinBox).suffix() == " mm"


def test_correct_shows_the_tool_in_hand_and_why_not(hands: Hands) -> None:
    correct = hands.dock.correct
    correct.set_enabled(True, "")
    correct.set_tool("polygon")
    assert hands.find("correct.polygon").isChecked()
    correct.set_enabled(False, "open in another window")
    assert hands.find("correct.polygon").toolTip() == "open in another window"
    assert hands.words("correct.why_not") == "Open in another window"
    correct.show_saved("saved on disk 14:03:22")
    assert hands.words("correct.saved") == "Saved on disk 14:03:22"


def test_export_tells_every_intent(hands: Hands) -> None:
    export = hands.dock.export
    export.set_formats(("nifti", "nrrd"), "nifti")
    export.set_ready(True, "")
    for signal in (export.format_chosen, export.path_changed, export.run_requested):
        hands.hear(signal)
    hands.pick("export.format", "nrrd")
    path = hands.find("export.path", QLineEdit)
    path.textEdited.emit("/d/m.nrrd")
    hands.click("export.run")
    assert hands.told == [("nrrd",), ("/d/m.nrrd",), ()]
    long = "/d/" + "very_long_name_" * 6 + "mask.nii.gz"
    export.show_done(f"wrote {long}")
    assert hands.words("export.done") == f"Wrote {long}"


@pytest.mark.parametrize(("button", "said"), [("keep", False), ("replace", True)])
def test_export_asks_before_it_overwrites(
    hands: Hands, button: str, said: bool, tmp_path: Path
) -> None:
    answer(f"export.ask_overwrite.{button}")
    assert hands.dock.export.ask_overwrite(tmp_path / "mask.nii.gz") is said


LEFT = [Leftover("x", "one", "today 14:03", 5), Leftover("y", "two", "today 9:10", 1)]


def test_recover_asks_for_each_leftover(hands: Hands) -> None:
    def choose() -> None:
        dialog = QApplication.activeModalWidget()
        assert dialog is not None
        for name in ("answer.drop.1", "go_on"):
            dialog.findChild(QAbstractButton, f"diffseg.recover.{name}").click()

    QTimer.singleShot(50, choose)
    assert hands.dock.recover.ask_recover(LEFT) == {"x": True, "y": False}


def test_recover_later_is_no_answer(hands: Hands) -> None:
    answer("recover.later")
    assert hands.dock.recover.ask_recover(LEFT) is None


def test_notices_last_until_they_are_taken_away(hands: Hands) -> None:
    notices = hands.dock.notices
    for number in range(4):
        notices.show(f"line {number}", "warning")
    assert notices.text() == "line 3"
    assert hands.find("notices.earlier").text() == "2 earlier"
    hands.click("notices.close.0")
    assert notices.text() == "line 2"
    notices.show("line 0", "error")
    assert notices.text() == "line 0"
    assert hands.find("notices.earlier").text() == "1 earlier"


def test_a_long_notice_takes_two_lines(hands: Hands, qtbot) -> None:
    hands.dock.resize(340, 800)
    hands.dock.show()
    qtbot.waitExposed(hands.dock)
    text = "the image cannot be read, as " + "something in it is wrong " * 30
    hands.dock.notices.show(text, "error")
    line = hands.find("notices.text.0", Brief)
    two = 2 * line.fontMetrics().lineSpacing() + 4
    qtbot.waitUntil(lambda: 0 < line.height() <= two and line.isVisible())
    shown = QLabel.text(line)
    assert shown.endswith("\u2026")
    assert len(shown) < len(text) / 2
    assert line.toolTip().lower() == text.lower()
    hands.dock.notices.show("short", "error")
    assert QLabel.text(hands.find("notices.text.0", Brief)) == "Short"


def test_the_time_left_is_not_cut(hands: Hands, qtbot) -> None:
    hands.dock.resize(340, 800)
    hands.dock.show()
    qtbot.waitExposed(hands.dock)
    long = "sub-01_ses-02_acq-mprage_run-01_T1w: " + "sampling members " * 9
    hands.dock.propose.set_busy(Busy("a", long, 0.25, 9.0))
    line = hands.find("propose.message", Brief)
    qtbot.waitUntil(lambda: QLabel.text(line).endswith("\u2026"))
    assert QLabel.text(line).startswith("About 9 s left, 25%: sub-01")


def test_a_long_name_of_a_model_is_told_whole(hands: Hands) -> None:
    name = "Hippocampus of a brain with a very long name indeed, seven members"
    hands.dock.model.set_models([ModelChoice("a@1", name)], "a@1")
    assert hands.find("model.choice", QComboBox).toolTip().startswith(name)


def test_one_member_has_no_spread(hands: Hands) -> None:
    alone = StructureReport("anterior", 1, 1234, 2.03, 2.03, 2.03, None)
    none = StructureReport("posterior", 4, 0, 0.0, 0.0, 0.0, None)
    rows = [(ROWS[0][0], alone), (ROWS[1][0], none)]
    hands.dock.result.show_structures(rows, "made by m")
    table = hands.find("result.structures", QTableWidget)
    words = [cell.findChild(QLabel).text() for cell in (
        table.cellWidget(0, 2), table.cellWidget(1, 2))]  # fmt: skip
    assert words == ["–", "–"]
    assert table.item(1, 1).text() == "none"


def test_doubts_stop_no_proposal(hands: Hands) -> None:
    hands.dock.propose.set_ready(True, "")
    hands.dock.propose.show_doubts(["this image is CT"])
    assert hands.words("propose.doubts") == "This image is CT"
    assert hands.find("propose.run").isEnabled()
    hands.dock.propose.show_doubts(())
    assert hands.find("propose.doubts", QLabel).isHidden()


def test_a_panel_folds(hands: Hands) -> None:
    hands.click("review.fold")
    assert hands.dock.review.folded
    hands.click("review.fold")
    assert not hands.dock.review.folded
