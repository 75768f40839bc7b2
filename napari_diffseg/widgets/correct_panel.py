"""Panel "Correct": tools and brush."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QSizePolicy, QWidget

from napari_diffseg.views import BrushRange, EditState, Target, Tool
from napari_diffseg.widgets.brush_form import BrushForm
from napari_diffseg.widgets.icons import IconButton
from napari_diffseg.widgets.panel import Panel
from napari_diffseg.widgets.parts import Line, button, enable, named, quietly, row
from napari_diffseg.widgets.range_form import RangeForm
from napari_diffseg.widgets.resample_form import ResampleForm
from napari_diffseg.widgets.tools_form import ToolsForm

_TOOLS: tuple[tuple[Tool, str], ...] = (
    ("paint", "Paint with the chosen structure. Key: P"),
    ("erase", "Erase. Key: E"),
    ("fill", "Fill an area of one label. Key: F"),
    ("polygon", "Draw an outline that is filled. Key: 3"),
    ("pick", "Pick the structure under the mouse. Key: L"),
    ("pan", "Move and zoom; draw nothing. Key: Z"),
)
_UNDO, _REDO = "Undo the last step. Key: Ctrl-Z", "Do it again. Key: Ctrl-Shift-Z"
_HIDE = "Hide the mask to see the image. Key: H, while it is held"
_BALL = "Paint a ball through slices, not a disc in one"


class CorrectPanel(Panel):
    """Tools and brush; a `CorrectView`."""

    tool_chosen = Signal(str)
    brush_changed = Signal(float)
    brush_3d_toggled = Signal(bool)
    undo_requested = Signal()
    redo_requested = Signal()
    hide_toggled = Signal(bool)
    range_changed = Signal(object)
    edit_changed = Signal(object)
    preview_requested = Signal(object)
    apply_requested = Signal(object)
    edit_dropped = Signal()
    pending_changed = Signal(bool)  # whether there is something that Esc drops

    def __init__(self) -> None:
        super().__init__("correct", "Correct", "Draw where the mask is wrong")
        self._build_tools()
        self._brush = BrushForm("diffseg.correct")
        self._range = RangeForm(self.handle("threshold"))
        self._edits = ToolsForm("diffseg.correct")
        self.resample = ResampleForm("diffseg.correct")
        self._ball = named(QCheckBox("3D brush"), self.handle("brush_3d"), _BALL)
        self._undo = IconButton(self.handle("undo"), "undo", _UNDO)
        self._redo = IconButton(self.handle("redo"), "redo", _REDO)
        self._hide = button(self.handle("hide"), "Hide mask", _HIDE)
        self._hide.setCheckable(True)
        self._why = Line("", handle=self.handle("why_not"))
        self._saved = Line("", handle=self.handle("saved"))
        self._parts: list[tuple[QWidget, str]] = [
            *((made, made.toolTip()) for made in self._tools.values()),
            (self._brush, ""),
            (self._range, ""),
            (self._ball, _BALL),
            (self._undo, _UNDO),
            (self._redo, _REDO),
            (self._hide, _HIDE),
        ]
        tools = row(*self._tools.values())
        tools.setSpacing(4)
        self.add(tools, self._brush, self._range)
        self.add(row(self._ball, 1, self._hide, self._undo, self._redo))
        self.add(self._why, self._edits, self.resample, self._saved)
        self._wire()
        self.set_enabled(False, "Open an image first.")

    def _build_tools(self) -> None:
        self._group = QButtonGroup(self)
        self._tools: dict[str, IconButton] = {}
        for name, tip in _TOOLS:
            made = IconButton(self.handle(name), name, tip)
            made.setCheckable(True)
            made.setProperty("big", True)
            made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            made.clicked.connect(lambda _=False, tool=name: self.tool_chosen.emit(tool))
            self._group.addButton(made)
            self._tools[name] = made

    def _wire(self) -> None:
        self._brush.changed.connect(self.brush_changed)
        self._ball.toggled.connect(self.brush_3d_toggled)
        self._undo.clicked.connect(lambda: self.undo_requested.emit())
        self._redo.clicked.connect(lambda: self.redo_requested.emit())
        self._hide.toggled.connect(self.hide_toggled)
        self._range.changed.connect(self.range_changed)
        self._edits.changed.connect(self.edit_changed)
        self._edits.preview_requested.connect(self.preview_requested)
        self._edits.apply_requested.connect(self.apply_requested)
        self._edits.dropped.connect(self.edit_dropped)

    def set_range(self, wanted: BrushRange) -> None:
        """Show which intensities the brush paints without telling an intent."""
        self._range.show_range(wanted)

    def set_target(self, target: Target) -> None:
        """Show what tools work on."""
        self._edits.set_target(target)

    def show_edit(self, state: EditState) -> None:
        """Show how a tool gets on."""
        self._edits.show_state(state)
        self.pending_changed.emit(state.shown or state.busy)

    def set_tool(self, tool: Tool) -> None:
        """Show the tool in hand without telling an intent."""
        self._tools[tool].setChecked(True)

    def set_brush(self, radius: float, unit: str) -> None:
        """Show the brush's radius."""
        self._brush.show_radius(radius, unit)

    def set_hidden(self, hidden: bool) -> None:
        """Show whether the mask is hidden without telling an intent."""
        with quietly(self._hide):
            self._hide.setChecked(hidden)

    def set_enabled(self, enabled: bool, why_not: str) -> None:
        """Whether the mask can be edited, and if not why."""
        for part, tip in self._parts:
            enable(part, enabled, tip, why_not)
        self._edits.let_use(enabled, why_not)
        self._why.say("" if enabled else why_not)

    def show_saved(self, text: str) -> None:
        """Show when strokes were last saved on disk ("saved on disk 14:03:22")."""
        self._saved.say(text)
