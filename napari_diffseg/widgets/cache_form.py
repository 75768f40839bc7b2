"""Examples that a model compares images with: a part of panel "Model" that folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QListView,
    QListWidget,
    QListWidgetItem,
    QTreeWidget,
    QTreeWidgetItem,
)

from diffseg.domain.cache_keys import BACKGROUND, CacheKey, KeyImage
from napari_diffseg.widgets.folding import FoldingForm
from napari_diffseg.widgets.parts import UNIT, Line, box, button, enable, named, row

_FOLD = "Pictures that the model compares an image with, besides your words"
_KEYS = (
    "Examples by structure. What looks like one of background is held down. Choose "
    "those that mislead the model; several with Ctrl or Shift"
)
_IMAGES = "Images that the chosen examples are the mean of"
_DROP = "Leave the chosen examples out: a new version of the model, the old one stays"
_UNDO = "Take the version before examples were left out"
_CHOOSE = "Choose an example first"
_SIDE, _GAP, _STRIP = 32, 2, 4
_ROWS = 7
_INDEX = Qt.ItemDataRole.UserRole
_ORIGINS = {
    "generated": "made by the text-to-image model",
    "labelled": "labelled by you",
    "correction": "corrected by a person",
}


class CacheForm(FoldingForm):
    """Keys by class, the images behind them, and dropping; a `CacheView`.

    Parameters
    ----------
    prefix : str
        Of the handles.
    """

    drop_requested = Signal(object)
    undo_requested = Signal()

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix, "Examples", _FOLD)
        self._keys: dict[int, CacheKey] = {}
        self._why_not = ""
        self._tree = _tree(f"{prefix}.keys")
        self._images = _pictures(f"{prefix}.images")
        self._drop = button(f"{prefix}.drop", "Leave out", _DROP)
        self._undo = button(f"{prefix}.undo", "Go back", _UNDO)
        self._said = Line("", handle=f"{prefix}.said")
        body = box(
            "",
            self._said,
            self._tree,
            self._images,
            row(self._drop, self._undo, 1),
            spacing=UNIT * 3 // 4,
        )
        self._lay(body)
        self._tree.itemSelectionChanged.connect(self._show_chosen)
        self._drop.clicked.connect(lambda: self.drop_requested.emit(self._chosen()))
        self._undo.clicked.connect(lambda: self.undo_requested.emit())
        self.show_keys((), ())
        self.show_state("", "", "")
        self.hide()

    def show_there(self, there: bool) -> None:
        """Whether the model has such a part at all."""
        self.setVisible(there)

    def show_keys(self, keys: Sequence[CacheKey], colors: Sequence[str]) -> None:
        """List the keys class by class; `colors` are those of each key's class."""
        self._keys = {key.index: key for key in keys}
        self._tree.clear()
        groups: dict[str, QTreeWidgetItem] = {}
        for key, color in sorted(
            zip(keys, colors, strict=True), key=lambda one: not one[0].foreground
        ):
            if key.label not in groups:
                groups[key.label] = _group(self._tree, key, color)
            groups[key.label].addChild(_row(key))
        for label, group in groups.items():
            where = ", around the structures" if label == BACKGROUND else ""
            group.setText(0, f"{label}{where} · {group.childCount()}")
            group.setExpanded(True)
        lines = len(keys) * (_SIDE + 8) + len(groups) * 24 + 4
        self._tree.setFixedHeight(min(lines, _ROWS * (_SIDE + 8)))
        self._tree.setVisible(bool(keys))
        self._show_chosen()

    def show_state(self, line: str, why_not: str, undo: str) -> None:
        """Tell how it stands; why nothing can be dropped; the version to go back to."""
        self._said.say(line)
        self._why_not = why_not
        self._undo.setVisible(bool(undo))
        self._undo.setText(f"Back to {undo.rpartition('@')[2]}" if undo else "Go back")
        self._enable()

    def _chosen(self) -> tuple[int, ...]:
        found = [item.data(0, _INDEX) for item in self._tree.selectedItems()]
        return tuple(sorted(index for index in found if index is not None))

    def _enable(self) -> None:
        chosen = self._chosen()
        why = self._why_not or _CHOOSE
        enable(self._drop, bool(chosen) and not self._why_not, _DROP, why)
        count = f" {len(chosen)}" if len(chosen) > 1 else ""
        self._drop.setText(f"Leave out{count}")
        self._drop.setVisible(bool(self._keys))

    def _show_chosen(self) -> None:
        self._images.clear()
        keys = [self._keys[index] for index in self._chosen()]
        for key in keys:
            for image in key.images:
                item = QListWidgetItem(_icon(image), _short(image.id))
                item.setToolTip(_told(image))
                self._images.addItem(item)
        self._images.setVisible(self._images.count() > 0)
        self._enable()


def _tree(handle: str) -> QTreeWidget:
    made = named(QTreeWidget(), handle, _KEYS)
    made.setColumnCount(2)
    made.setHeaderHidden(True)
    made.setIndentation(12)
    made.setIconSize(QSize(_STRIP * (_SIDE + _GAP), _SIDE))
    made.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
    made.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    head = made.header()
    assert head is not None
    head.setStretchLastSection(True)
    head.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
    return made


def _pictures(handle: str) -> QListWidget:
    made = named(QListWidget(), handle, _IMAGES)
    made.setViewMode(QListView.ViewMode.IconMode)
    made.setMovement(QListView.Movement.Static)
    made.setResizeMode(QListView.ResizeMode.Adjust)
    made.setIconSize(QSize(48, 48))
    made.setGridSize(QSize(76, 72))
    made.setUniformItemSizes(True)
    made.setProperty("pictures", True)
    made.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    made.setFixedHeight(72 + UNIT)
    return made


def _group(tree: QTreeWidget, key: CacheKey, color: str) -> QTreeWidgetItem:
    item = QTreeWidgetItem(tree)
    item.setFlags(Qt.ItemFlag.ItemIsEnabled)
    item.setFirstColumnSpanned(True)
    swatch = QPixmap(12, 12)
    swatch.fill(QColor(color))
    item.setIcon(0, QIcon(swatch))
    what = "looked for" if key.foreground else "held down"
    item.setToolTip(0, f"What looks like these is {what}")
    return item


def _row(key: CacheKey) -> QTreeWidgetItem:
    item = QTreeWidgetItem()
    item.setData(0, _INDEX, key.index)
    strip = _strip(key.images)
    if strip is not None:
        item.setIcon(0, _true(strip))
    count = len(key.images)
    item.setText(1, f"{count} image{'s' * (count != 1)}")
    item.setSizeHint(0, QSize(_STRIP * (_SIDE + _GAP) + UNIT, _SIDE + 8))
    names = "\n".join(_told(one) for one in key.images[:8])
    for column in (0, 1):
        item.setToolTip(column, f"Example {key.index} of {key.label}\n{names}")
    return item


def _strip(images: Sequence[KeyImage]) -> QPixmap | None:
    """The first pictures of a key side by side; None where it has none."""
    shown = [one.picture for one in images if one.picture is not None][:_STRIP]
    if not shown:
        return None
    strip = QPixmap(_STRIP * (_SIDE + _GAP), _SIDE)
    strip.fill(Qt.GlobalColor.transparent)
    painter = QPainter(strip)
    for place, picture in enumerate(shown):
        small = _pixmap(picture, _SIDE)
        down = (_SIDE - small.height()) // 2
        painter.drawPixmap(place * (_SIDE + _GAP), down, small)
    painter.end()
    return strip


def _icon(image: KeyImage) -> QIcon:
    if image.picture is not None:
        return _true(_pixmap(image.picture, 48))
    blank = QPixmap(48, 48)
    blank.fill(QColor(128, 128, 128, 60))
    return QIcon(blank)


def _true(pixmap: QPixmap) -> QIcon:
    """An icon whose colours stay what they are when it is chosen."""
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _pixmap(picture: NDArray[np.uint8], side: int) -> QPixmap:
    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    rows, columns = colour.shape[:2]
    pixels = np.ascontiguousarray(colour).tobytes()
    image = QImage(pixels, columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image.copy()).scaled(
        side,
        side,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )


def _short(name: str) -> str:
    return name if len(name) <= 10 else f"{name[:9]}…"


def _told(image: KeyImage) -> str:
    """Which image it is, where it is from, and its share of the key."""
    name = image.id
    if image.source and image.source != image.id:
        name += f" ({image.source})"
    return f"{name}, {_ORIGINS[image.origin]}: {image.share:.0%}"
