"""Keyboard first: our keys, none of which napari has, and where they lead."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from app_model.types import KeyBinding
from napari.components.viewer_model import ViewerModel
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QGuiApplication, QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

Action = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of ours.

    Parameters
    ----------
    keys : str
        As napari writes it (``"Shift-A"``); a shortcut as Qt writes it.
    action : str
        Name of what it does, as `Keys` is given it.
    words : str
        The same for a reader, starting with a verb.
    group : str
        Heading that it is listed under.
    handle : str
        Control of the window that does the same, or "".
    held : bool
        Works while it is held: the action is called with True, then False.
    shortcut : bool
        A shortcut of the window, since napari's own key of this name, on the active
        layer, would come first; or since it needs Shift on some keyboards.
    """

    keys: str
    action: str
    words: str
    group: str
    handle: str = ""
    held: bool = False
    shortcut: bool = False


PROJECT, LABEL = "Project", "Labels by slice"
PROPOSE, REVIEW, CORRECT, VIEW = "Propose", "Review", "Correct", "View"

# Plain letters work on the mask; Shift and an initial turn the view.
KEYS: tuple[Key, ...] = (
    Key("Shift-Right", "next_case", "Next case", PROJECT, "diffseg.project.next"),
    Key(
        "Shift-Left",
        "previous_case",
        "Previous case",
        PROJECT,
        "diffseg.project.previous",
    ),
    Key("K", "save", "Keep: save a version", PROJECT, "diffseg.project.save"),
    Key("R", "done", "Ready: the case is done", PROJECT, "diffseg.project.state.done"),
    Key(
        "S", "starts", "The structure starts here", LABEL, "diffseg.labels.range_start"
    ),
    Key("D", "ends", "The structure ends here", LABEL, "diffseg.labels.range_end"),
    Key("J", "unsay", "Take back what was said", LABEL, "diffseg.labels.range_undo"),
    Key("G", "propose", "Go: propose a mask", PROPOSE, "diffseg.propose.run"),
    Key(
        "Esc",
        "cancel",
        "Drop what a tool shows, or stop the proposal",
        PROPOSE,
        "diffseg.propose.cancel",
        shortcut=True,
    ),
    Key("N", "next_place", "Next doubtful place", REVIEW, "diffseg.review.next"),
    Key(
        "Shift-N",
        "previous_place",
        "Previous doubtful place",
        REVIEW,
        "diffseg.review.previous",
    ),
    Key("A", "accept", "Accept the place at hand", REVIEW, "diffseg.review.accept"),
    Key("T", "lead", "Take me to what deserves a look", REVIEW, "diffseg.review.lead"),
    Key(
        "Shift-G",
        "resample",
        "Go on: draw anew around my strokes",
        CORRECT,
        "diffseg.correct.resample",
    ),
    Key("W", "next_label", "Paint with the next label", CORRECT),
    Key("Q", "previous_label", "Paint with the previous label", CORRECT),
    Key("H", "hide", "Hide the mask", VIEW, "diffseg.correct.hide", held=True),
    Key("U", "uncertainty", "Show the uncertainty", VIEW, held=True),
    Key("Shift-A", "axial", "Show axial slices", VIEW),
    Key("Shift-C", "coronal", "Show coronal slices", VIEW),
    Key("Shift-S", "sagittal", "Show sagittal slices", VIEW),
    Key("Shift-O", "outline", "Outline or fill the mask", VIEW),
    Key("Shift-R", "radiological", "Radiological or neurological view", VIEW),
    Key("?", "help", "Show these keys", VIEW, "diffseg.help.show", shortcut=True),
)
"""Every key of ours, in the order they are listed."""

NAPARI_KEYS: tuple[Key, ...] = (
    Key("P", "napari:activate_labels_paint_mode", "Paint", CORRECT),
    Key("E", "napari:activate_labels_erase_mode", "Erase", CORRECT),
    Key("F", "napari:activate_labels_fill_mode", "Fill", CORRECT),
    Key("3", "napari:activate_labels_polygon_mode", "Draw a polygon", CORRECT),
    Key("L", "napari:activate_labels_picker_mode", "Pick a label", CORRECT),
    Key("Z", "napari:activate_labels_pan_zoom_mode", "Move and zoom", CORRECT),
    Key("[", "napari:decrease_brush_size", "Smaller brush", CORRECT),
    Key("]", "napari:increase_brush_size", "Larger brush", CORRECT),
    Key("B", "napari:toggle_preserve_labels", "Paint over nothing else", CORRECT),
    Key("Space", "napari:hold_for_pan_zoom", "Move and zoom", VIEW, held=True),
    Key("Left", "napari:increment_dims_left", "Previous slice", VIEW),
    Key("Right", "napari:increment_dims_right", "Next slice", VIEW),
    Key("V", "napari:toggle_selected_visibility", "Show or hide the layer", VIEW),
    Key("Ctrl-R", "napari:reset_view", "Fit the image into the window", VIEW),
)
"""napari's own keys that an annotator needs; `action` is napari's name of it."""


class Keys(QObject):
    """Binds our keys to a viewer; never takes one that is somebody else's.

    Parameters
    ----------
    viewer : napari.Viewer
    actions : mapping of str to callable
        What to call for each `Key.action`; keys without one are not bound. A held
        key's is called with True when pressed and with False when released.
    parent : QWidget
        Any widget of the window; its window has the shortcuts.

    Raises
    ------
    ValueError
        `actions` names one that no key has.
    """

    def __init__(
        self, viewer: ViewerModel, actions: Mapping[str, Action], parent: QWidget
    ) -> None:
        super().__init__(parent)
        unknown = sorted(set(actions) - {key.action for key in KEYS})
        if unknown:
            raise ValueError(f"no key leads to {', '.join(unknown)}")
        self._viewer = viewer
        self._busy = False
        self._down: dict[str, Action] = {}
        self._bound: list[str] = []
        self._shortcuts: dict[str, QShortcut] = {}
        self._active: Any = None
        taken = []
        for key in KEYS:
            action = actions.get(key.action)
            if action is None:
                continue
            if key.shortcut:
                self._shortcuts[key.action] = self._shortcut(key, action, parent)
            elif is_free(viewer, key):
                self._bind(key, action)
            else:
                taken.append(key)
        self.taken: tuple[Key, ...] = tuple(taken)
        viewer.layers.selection.events.active.connect(self._on_active)
        app = QGuiApplication.instance()
        if isinstance(app, QGuiApplication):
            app.focusWindowChanged.connect(self.release)
        self._on_active()

    def set_busy(self, busy: bool) -> None:
        """Whether a job is under way, which Esc then stops."""
        if busy != self._busy:
            self._busy = busy
            self._arm()

    def release(self, *args: object) -> None:
        """Let go of held keys: another window will get their release."""
        while self._down:
            _, action = self._down.popitem()
            action(False)

    def close(self) -> None:
        """Give every key back."""
        self.release()
        for name in self._bound:
            self._viewer.bind_key(name, None)
        self._bound.clear()
        for shortcut in self._shortcuts.values():
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self._watch(None)
        app = QGuiApplication.instance()
        if isinstance(app, QGuiApplication):
            app.focusWindowChanged.disconnect(self.release)

    def _bind(self, key: Key, action: Action) -> None:
        if key.held:
            bound: Action = self._held(key, action)
        else:

            def bound(viewer: ViewerModel) -> None:
                action()

        self._viewer.bind_key(key.keys, bound)
        self._bound.append(key.keys)

    def _held(self, key: Key, action: Action) -> Action:
        def hold(viewer: ViewerModel) -> Generator[None, None, None]:
            if key.action not in self._down:
                self._down[key.action] = action
                action(True)
            yield
            if self._down.pop(key.action, None) is not None:
                action(False)

        return hold

    def _shortcut(self, key: Key, action: Action, parent: QWidget) -> QShortcut:
        shortcut = QShortcut(parent.window())
        # Some keyboards tell the Shift that writes a "?", some keep it.
        names = [key.keys, f"Shift+{key.keys}"] if key.keys == "?" else [key.keys]
        shortcut.setKeys([QKeySequence(name) for name in names])
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.setAutoRepeat(False)
        shortcut.setObjectName(f"diffseg.key.{key.action}")
        shortcut.activated.connect(lambda: action())
        return shortcut

    def _on_active(self, event: Any = None) -> None:
        self._watch(self._viewer.layers.selection.active)
        self._arm()

    def _watch(self, layer: Any) -> None:
        if self._active is not None:
            self._active.events.mode.disconnect(self._arm)
        self._active = layer
        if layer is not None:
            layer.events.mode.connect(self._arm)

    def _arm(self, event: Any = None) -> None:
        """Esc is ours only while busy, and never while a polygon is being drawn."""
        shortcut = self._shortcuts.get("cancel")
        if shortcut is not None:
            drawing = getattr(self._active, "mode", "") == "polygon"
            shortcut.setEnabled(self._busy and not drawing)


def is_free(viewer: ViewerModel, key: Key) -> bool:
    """Whether neither napari, nor the user's settings, nor a plugin binds a key.

    Keys of the active layer need not be asked for: napari tries them first.
    """
    wanted = KeyBinding.from_str(key.keys.replace("-", "+"))
    maps = [viewer.keymap]
    maps += [vars(cls).get("class_keymap", {}) for cls in type(viewer).__mro__]
    return not any(wanted in keymap for keymap in maps)


def key_words(key: Key) -> str:
    """The key as a reader sees it, such as ``"hold H"`` or ``"Shift + A"``."""
    shown = key.keys.replace("-", " + ")
    return f"hold {shown}" if key.held else shown
