"""The cases of a viewer: whose a layer is, and which case is looked at."""

from __future__ import annotations

from collections.abc import Iterator

from napari.components import ViewerModel
from napari.layers import Layer

from napari_diffseg.layers.navigation import Navigator
from napari_diffseg.layers.stack import Stack
from napari_diffseg.session import Case


class Stacks:
    """The stacks of layers in one viewer; one of them is looked at.

    Parameters
    ----------
    viewer : ViewerModel
    navigator : Navigator
        Keeps in mind where each case was left.
    """

    def __init__(self, viewer: ViewerModel, navigator: Navigator) -> None:
        self._viewer = viewer
        self._navigator = navigator
        self._stacks: dict[str, Stack] = {}
        self._current: Stack | None = None
        self._left: Stack | None = None  # forgotten just now

    @property
    def current(self) -> Stack | None:
        """The one that is looked at."""
        return self._current

    def get(self, case_id: str) -> Stack | None:
        """The stack of a case."""
        return self._stacks.get(case_id)

    def each(self) -> Iterator[Stack]:
        """All of them, in order of opening."""
        return iter(tuple(self._stacks.values()))

    def find(self, layer: Layer) -> tuple[Stack, str] | None:
        """Whose a layer is, and what it is there for; also when just deleted."""
        for stack in self._stacks.values():
            role = stack.role_of(layer)
            if role is not None:
                return stack, role
        return None

    def add(self, case: Case) -> Stack:
        """The stack of a case, empty at first."""
        if case.id not in self._stacks:
            stack = self._stacks[case.id] = Stack(case, self._viewer.layers)
            if self._left is not None and self._left.case is case:
                # Steps lie on the source's grid, which no way of showing changes.
                stack.history = self._left.history
            self._left = None
        return self._stacks[case.id]

    def forget(self, case_id: str) -> None:
        """Remove every layer of a case; shown again at once it can still be undone."""
        stack = self._stacks.pop(case_id, None)
        if stack is None:
            return
        self._left = stack
        for role, _ in tuple(stack.each()):
            stack.drop(role)
        if self._current is stack:
            self._current = None

    def let_go(self) -> None:
        """A case that was forgotten is not shown again."""
        self._left = None

    def leave(self, following: Stack) -> None:
        """Hide the case that is looked at, and keep in mind where one looked."""
        stack = self._current
        if stack is not None and stack is not following:
            if stack.asleep is None:
                stack.sight = self._navigator.sight()
            stack.sleep()

    def arrive(self, stack: Stack) -> None:
        """Look where the case was left, or at all of its middle slice."""
        if stack is self._current:
            return
        self._current = stack
        display = stack.case.display
        if stack.sight is not None:
            self._navigator.restore(stack.sight)
            return
        middle = [float((size - 1) // 2) for size in display.shown.shape]
        self._navigator.go_to(display, middle)
        self._navigator.look_along(display.slice_axis)
        image = stack.get("image")
        if image is not None:
            self._viewer.reset_view(layers=[image])
