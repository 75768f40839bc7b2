"""The group "Tools" of the panel "Correct": choose, set, preview, apply."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.views import Edit, EditState, EditTool, Target
from napari_diffseg.widgets.parts import (
    UNIT,
    Banner,
    Line,
    box,
    button,
    enable,
    hairline,
    named,
    row,
)
from napari_diffseg.widgets.segmented import Choice, Segmented
from napari_diffseg.widgets.tone import mark
from napari_diffseg.widgets.tool_pages import ToolPage

_TOOLS: tuple[tuple[EditTool, str, str], ...] = (
    ("interpolate", "Interpolate", "Fill the slices between those that are drawn"),
    ("holes", "Fill holes", "Fill what the structure encloses"),
    ("islands", "Islands", "Remove pieces that hang together with nothing"),
    ("smooth", "Smooth", "Smooth the surface"),
    ("margin", "Margin", "Grow or shrink by so many millimetres"),
    ("copy", "Copy slice", "Copy this slice's shape to its neighbours"),
    ("combine", "Combine", "Add, subtract or compare with another structure"),
    ("member", "Member", "Take one member's answer for a region"),
)
_FIRST_ROW = 4
_ACROSS = frozenset({"interpolate", "copy"})
_SCOPES: tuple[Choice, ...] = (
    ("slice", "Slice", "Only in the slice that is looked at"),
    ("volume", "Volume", "In all slices"),
)
_OVER = "Take voxels of other structures, too; else only what is empty"
_PREVIEW, _APPLY = "Show what would change", "Change the mask; one step to undo"
_DROP = "Drop it. Key: Esc"


class ToolsForm(QWidget):
    """Tools with their settings; one of them, or none, is open.

    Parameters
    ----------
    prefix : str
        Of the handles.
    """

    changed = Signal(object)  # Edit or None
    preview_requested = Signal(object)  # Edit
    apply_requested = Signal(object)  # Edit
    dropped = Signal()

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.setObjectName(f"{prefix}.tools")
        self.setAccessibleName("Tools")
        self._target, self._usable, self._why = Target(), False, ""
        self._buttons: dict[EditTool, QPushButton] = {}
        self._pages = {tool: ToolPage(prefix, tool) for tool, _, _ in _TOOLS}
        self._on = Line("Tools", handle=f"{prefix}.tools_on")
        self._build_common(prefix)
        self._settings = box(
            f"{prefix}.tool_settings",
            *self._pages.values(),
            self._common,
            row(self._preview, self._apply, self._drop),
        )
        self._said = Banner("", handle=f"{prefix}.tool_said")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(UNIT)
        whole.addWidget(hairline())
        whole.addWidget(self._on)
        whole.addLayout(self._grid(prefix))
        whole.addWidget(self._settings)
        whole.addWidget(self._said)
        for page in self._pages.values():
            page.changed.connect(self._tell)
        self._open(None)

    @property
    def edit(self) -> Edit | None:
        """The tool that is open, with its settings."""
        tool = next((t for t, made in self._buttons.items() if made.isChecked()), None)
        if tool is None:
            return None
        page = self._pages[tool]
        size = page.number.value() if page.number is not None else 0.0
        into = page.into.currentData() if page.into is not None else None
        return Edit(
            tool,
            page.how,
            -size if page.how == "shrink" else size,
            page.keep is not None and page.keep.isChecked(),
            str(page.other.currentData() or "") if page.other is not None else "",
            int(into or 0),
            self._scope.current == "volume" or self._target.flat,
            self._over.isChecked(),
        )

    def set_target(self, target: Target) -> None:
        """Show what tools work on."""
        self._target = target
        self._on.say(f"Tools for {target.name}" if target.name else "Tools")
        for page in self._pages.values():
            page.set_target(target)
        self._refresh()

    def let_use(self, usable: bool, why_not: str) -> None:
        """Whether the mask can be edited, and if not why."""
        self._usable, self._why = usable, why_not
        self._refresh()

    def show_state(self, state: EditState) -> None:
        """Show how the tool gets on."""
        waiting = state.busy or state.shown
        enable(self._preview, not state.busy, _PREVIEW, "It is being computed")
        enable(self._apply, not state.busy, _APPLY, "It is being computed")
        mark(self._apply, "primary", state.shown)
        enable(self._drop, waiting, _DROP, "Nothing is shown")
        self._said.tell(state.said, state.severity)

    def _build_common(self, prefix: str) -> None:
        self._scope = Segmented(f"{prefix}.tool_scope", _SCOPES)
        self._scope.show_current("volume")
        self._scope.chosen.connect(lambda _: self._tell())
        self._over = named(QCheckBox("Over others"), f"{prefix}.tool_over", _OVER)
        self._over.toggled.connect(lambda _: self._tell())
        line = row(self._scope, self._over)
        line.setStretch(0, 1)
        self._common = box("", line)
        self._preview = button(f"{prefix}.preview", "Preview", _PREVIEW)
        self._apply = button(f"{prefix}.apply", "Apply", _APPLY)
        self._drop = button(f"{prefix}.drop", "Cancel", _DROP)
        for made in (self._preview, self._apply, self._drop):
            policy = QSizePolicy.Policy
            made.setSizePolicy(policy.Expanding, policy.Fixed)
        self._preview.clicked.connect(lambda: self.preview_requested.emit(self.edit))
        self._apply.clicked.connect(lambda: self.apply_requested.emit(self.edit))
        self._drop.clicked.connect(lambda: self.dropped.emit())
        self._drop.setEnabled(False)

    def _grid(self, prefix: str) -> QGridLayout:
        """Two rows of buttons, each as wide as the panel."""
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, (tool, text, tip) in enumerate(_TOOLS):
            made = button(f"{prefix}.{tool}", text, tip)
            made.setCheckable(True)
            made.setProperty("tool", True)
            # As wide as its part of the row, from before the style sheet is known.
            made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            made.clicked.connect(lambda on, tool=tool: self._open(tool if on else None))
            self._buttons[tool] = made
            second = place >= _FIRST_ROW
            wide = 3
            column = (place - _FIRST_ROW if second else place) * wide
            grid.addWidget(made, int(second), column, 1, wide)
        return grid

    def _open(self, tool: EditTool | None) -> None:
        """Open a tool's settings, or none."""
        for one, made in self._buttons.items():
            made.setChecked(one == tool)
            self._pages[one].setVisible(one == tool)
        if tool is not None:
            # A line below that wraps must not squeeze the rows of settings.
            page = self._pages[tool]
            page.ensurePolished()
            page.setMinimumHeight(page.height_for(self.width()))
        self._settings.setVisible(tool is not None)
        self._scope.setVisible(tool not in _ACROSS and not self._target.flat)
        self._over.setVisible(tool != "member")
        self._tell()

    def _tell(self) -> None:
        flat = self._target.flat or self._scope.current == "slice"
        for page in self._pages.values():
            page.set_unit(self._target.unit, flat=flat)
        self.changed.emit(self.edit)

    def _refresh(self) -> None:
        """Let those tools be used that have something to work on."""
        for tool, _, tip in _TOOLS:
            why = self._why_not(tool)
            enable(self._buttons[tool], not why, tip, why)
            if why and self._buttons[tool].isChecked():
                self._open(None)
        flat = self._target.flat or self._scope.current == "slice"
        if self._target.flat:
            self._scope.hide()
        for page in self._pages.values():
            page.set_unit(self._target.unit, flat=flat)

    def _why_not(self, tool: EditTool) -> str:
        if not self._usable:
            return self._why or "The mask cannot be edited"
        if not self._target.name:
            return "Choose a structure first"
        if tool in _ACROSS and self._target.flat:
            return "A picture has no other slices"
        if tool == "member" and self._target.members < 2:
            return "Propose with several members first"
        if tool == "combine" and not self._target.others:
            return "There is nothing to combine it with: add a structure, or propose"
        return ""
