"""Our keys: complete, nobody else's, bound and let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.action_manager import action_manager
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QWidget

from napari_diffseg.widgets.keys import KEYS, NAPARI_KEYS, Key, Keys, is_free
from napari_diffseg.widgets.keys_page import KeysPage

pytestmark = pytest.mark.gui
KINDS = (ViewerModel, Image, Labels)
PAGE = Path(__file__).parents[2] / "docs" / "keys.md"


def binding(key: Key) -> KeyBinding:
    return KeyBinding.from_str(key.keys.replace("-", "+"))


@pytest.fixture
def viewer(qapp: Any) -> ViewerModel:
    # The actions' keys are bound to layers once napari's are loaded.
    import napari.components._viewer_key_bindings
    import napari.layers.labels._labels_key_bindings  # noqa: F401

    model = ViewerModel()
    model.add_image(np.zeros((4, 4, 4)))
    model.add_labels(np.zeros((4, 4, 4), np.uint8))
    return model


@pytest.fixture
def heard() -> list[tuple[object, ...]]:
    return []


@pytest.fixture
def keys(
    viewer: ViewerModel, heard: list[tuple[object, ...]], qtbot: Any
) -> Iterator[Keys]:
    window = QWidget()
    qtbot.addWidget(window)

    def listener(name: str) -> Callable[..., None]:
        return lambda *given: heard.append((name, *given))

    bound = Keys(viewer, {key.action: listener(key.action) for key in KEYS}, window)
    yield bound
    bound.close()


def press(viewer: ViewerModel, name: str) -> Any:
    """Run what napari would for a key of the active layer or the viewer."""
    wanted = KeyBinding.from_str(name)
    return viewer.keymap[wanted](viewer)


def actions_of_a_case() -> dict[str, set[KeyBinding]]:
    """napari's actions for the viewer and for a case's layers, with their keys."""
    actions = vars(action_manager)["_actions"]
    return {
        name: set(default_shortcuts.get(name, ()))
        for name, action in actions.items()
        if any(action.keymapprovider in kind.__mro__ for kind in KINDS)
    }


def test_none_is_a_key_of_napari_on_the_layers_of_a_case(viewer: ViewerModel) -> None:
    actions = actions_of_a_case()
    assert len(actions) > 40, "napari's own actions were not found"
    ours = {binding(key) for key in KEYS if not key.shortcut}
    clashes = {name: ours & keys for name, keys in actions.items() if ours & keys}
    assert not clashes


def test_a_clash_would_be_found(viewer: ViewerModel) -> None:
    paint = binding(Key("P", "nothing", "", ""))
    assert [name for name, keys in actions_of_a_case().items() if paint in keys] == [
        "napari:activate_labels_paint_mode"
    ]


def test_no_key_and_no_action_twice() -> None:
    assert len({key.keys for key in KEYS}) == len(KEYS)
    assert len({key.action for key in KEYS}) == len(KEYS)


def test_the_napari_keys_that_are_told_are_true() -> None:
    for key in NAPARI_KEYS:
        known = default_shortcuts[key.action]
        assert binding(key) in known, f"{key.keys} is not {key.action}"


def test_a_key_calls_its_action(
    viewer: ViewerModel, keys: Keys, heard: list[tuple[object, ...]]
) -> None:
    press(viewer, "G")
    press(viewer, "Shift+A")
    assert heard == [("propose",), ("axial",)]
    assert keys.taken == ()


def test_a_held_key_tells_press_and_release(
    viewer: ViewerModel, keys: Keys, heard: list[tuple[object, ...]]
) -> None:
    held = press(viewer, "H")
    next(held)
    assert heard == [("hide", True)]
    next(held, None)
    assert heard == [("hide", True), ("hide", False)]


def test_a_held_key_is_let_go_with_the_window(
    viewer: ViewerModel, keys: Keys, heard: list[tuple[object, ...]], qapp: Any
) -> None:
    held = press(viewer, "U")
    next(held)
    qapp.focusWindowChanged.emit(None)
    assert heard == [("uncertainty", True), ("uncertainty", False)]
    next(held, None)  # the release that comes late tells nothing twice
    assert len(heard) == 2


def test_esc_is_ours_only_while_busy_and_not_in_a_polygon(
    viewer: ViewerModel, keys: Keys
) -> None:
    window = keys.parent()
    assert isinstance(window, QWidget)
    esc = window.findChild(QShortcut, "diffseg.key.cancel")
    assert esc is not None
    assert not esc.isEnabled()
    keys.set_busy(True)
    assert esc.isEnabled()
    labels = viewer.layers[-1]
    labels.mode = "polygon"
    assert not esc.isEnabled()
    labels.mode = "paint"
    assert esc.isEnabled()
    viewer.layers.clear()
    assert esc.isEnabled()
    keys.set_busy(False)
    assert not esc.isEnabled()


def test_shortcuts_call_their_actions(
    keys: Keys, heard: list[tuple[object, ...]]
) -> None:
    window = keys.parent()
    assert isinstance(window, QWidget)
    for name in ("help", "cancel"):
        shortcut = window.findChild(QShortcut, f"diffseg.key.{name}")
        assert shortcut is not None
        shortcut.activated.emit()
    assert heard == [("help",), ("cancel",)]


def test_what_somebody_bound_stays_theirs(viewer: ViewerModel, qtbot: Any) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    called: list[str] = []
    viewer.bind_key("G", lambda _: called.append("theirs"))
    keys = Keys(viewer, {"propose": lambda: called.append("ours")}, window)
    press(viewer, "G")
    assert called == ["theirs"]
    assert [key.action for key in keys.taken] == ["propose"]
    keys.close()
    assert KeyBinding.from_str("G") in viewer.keymap


def test_what_the_users_settings_bind_is_not_free(viewer: ViewerModel) -> None:
    propose = next(key for key in KEYS if key.action == "propose")
    assert is_free(viewer, propose)
    ViewerModel.bind_key("G", lambda _: None)
    try:
        assert not is_free(viewer, propose)
    finally:
        ViewerModel.bind_key("G", None)


def test_closing_gives_every_key_back(viewer: ViewerModel, qtbot: Any) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    before = dict(viewer.keymap)
    keys = Keys(viewer, {key.action: print for key in KEYS}, window)
    assert len(viewer.keymap) > len(before)
    keys.close()
    assert dict(viewer.keymap) == before


def test_an_action_without_a_key_is_an_error(viewer: ViewerModel, qtbot: Any) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    with pytest.raises(ValueError, match="no key leads to fly"):
        Keys(viewer, {"fly": print}, window)


def rows_of_the_page() -> list[tuple[str, str]]:
    """(key, words) of each row of the page's tables that hold keys."""
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 2 and cells[1] != "Does":
            keys = cells[0].replace("`", "").replace(" + ", "-")
            rows.append((keys, cells[1]))
    return rows


def test_the_page_lists_them_all() -> None:
    told = rows_of_the_page()
    wanted = [
        (f"hold {key.keys}" if key.held else key.keys, key.words)
        for key in (*KEYS, *NAPARI_KEYS)
    ]
    mouse = [row for row in told if row not in wanted]
    assert [row for row in told if row in wanted] == wanted
    assert all("canvas" in a or "plane" in a for a, _ in mouse), mouse


def test_the_window_lists_them_all(qtbot: Any) -> None:
    page = KeysPage()
    qtbot.addWidget(page)
    assert page.objectName() == "diffseg.help.keys"
    words = [label.text() for label in page.findChildren(QLabel)]
    for key in (*KEYS, *NAPARI_KEYS):
        assert any(text.startswith(key.words) for text in words), key
        assert all(part in words for part in key.keys.split("-")), key


def test_the_window_closes_by_esc(qtbot: Any) -> None:
    page = KeysPage()
    qtbot.addWidget(page)
    page.show_over()
    QTest.keyClick(page, Qt.Key.Key_Escape)
    assert not page.isVisible()
