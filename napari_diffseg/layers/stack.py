"""The layers of one case: known by what they are, whatever the user does to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from napari.components import LayerList
from napari.layers import Layer

from napari_diffseg.layers import making
from napari_diffseg.layers.edits import History
from napari_diffseg.layers.mask_layer import MaskLayer
from napari_diffseg.session import Case
from napari_diffseg.views import Shown

ORDER = (
    *("image", "probability", "uncertainty", "mask"),
    *("contours", "member", "proposing", "compared", "preview", "region"),
)
"""Roles from the bottom up; channels lie with the image."""

_SEEN: dict[Shown, frozenset[str]] = {
    "mask": frozenset({"mask"}),
    "contours": frozenset({"contours"}),
    "uncertainty": frozenset({"mask", "uncertainty"}),
    "member": frozenset({"member"}),
}
_SWITCHED = frozenset({"mask", "contours", "uncertainty", "member", "probability"})


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a case was looked at: world point, order of axes, camera."""

    point: tuple[float, ...]
    order: tuple[int, ...]
    center: tuple[float, ...]
    zoom: float


@dataclass(slots=True, eq=False)
class Stack:
    """The layers of one case. Any of them may be gone at any time.

    Parameters
    ----------
    case : Case
    layers : LayerList
        The viewer's.
    history : History
        What can be undone in the mask; outlives its layer.
    """

    case: Case
    layers: LayerList
    shown: Shown = "mask"
    member: int = 0
    sight: Sight | None = None
    asleep: dict[str, bool] | None = None
    hidden: dict[str, bool] | None = None
    history: History = field(default_factory=History)
    _made: dict[str, Layer] = field(default_factory=dict)

    def get(self, role: str) -> Layer | None:
        """The layer of a role, or None while there is none."""
        layer = self._made.get(role)
        if layer is None or layer not in self.layers:
            return None
        return layer

    @property
    def mask(self) -> MaskLayer | None:
        """The editable mask."""
        layer = self.get("mask")
        return layer if isinstance(layer, MaskLayer) else None

    def each(self) -> Iterator[tuple[str, Layer]]:
        """Roles and layers that are there."""
        for role in tuple(self._made):
            layer = self.get(role)
            if layer is not None:
                yield role, layer

    def role_of(self, layer: Layer) -> str | None:
        """What a layer of this case is, even when it was just deleted; or None."""
        return next((r for r, one in self._made.items() if one is layer), None)

    def put(self, role: str, layer: Layer) -> None:
        """Add a layer, above those that lie lower and below the others'.

        The layer that the user works on stays the active one.
        """
        active = self.layers.selection.active
        self.drop(role)
        below = [
            self.layers.index(one)
            for other, one in self.each()
            if _rank(other) <= _rank(role)
        ]
        self._made[role] = layer
        with _still(self.layers, active is not None):
            self.layers.insert(max(below, default=len(self.layers) - 1) + 1, layer)
        chosen = self.layers.selection
        if active is not None and active in self.layers and chosen.active is not active:
            chosen.active = active

    def drop(self, role: str) -> None:
        """Remove a layer, if it is there."""
        layer = self.get(role)
        self._made.pop(role, None)
        if layer is not None:
            self.layers.remove(layer)

    def forget(self, role: str) -> None:
        """A layer was deleted by the user."""
        self._made.pop(role, None)

    def rename(self, name: str) -> None:
        """Give every layer the name that goes with the image's."""
        for role, layer in self.each():
            wanted = making.name_of(name, role)
            if layer.name != wanted:
                layer.name = wanted

    def sees(self, role: str) -> bool:
        """Whether a layer is to be seen with what is shown of the proposal."""
        return role not in _SWITCHED or role in _SEEN[self.shown]

    def dress(self) -> None:
        """Show and hide layers by what is to be seen of the proposal."""
        self.hidden = None
        for role, layer in self.each():
            if role in _SWITCHED:
                see(layer, self.sees(role))

    def sleep(self) -> None:
        """Hide every layer while another case is looked at."""
        if self.asleep is None:
            self.asleep = {role: layer.visible for role, layer in self.each()}
        for _, layer in self.each():
            see(layer, False)

    def wake(self) -> None:
        """Show again what was seen before `sleep`."""
        before, self.asleep = self.asleep, None
        for role, layer in self.each() if before is not None else ():
            see(layer, (before or {}).get(role, role == "mask" and self.sees(role)))

    def hide(self, hidden: bool) -> None:
        """Hide all that lies on the image, or show again what was seen."""
        if hidden and self.hidden is None:
            self.hidden = {role: one.visible for role, one in self._over()}
            for _, layer in self._over():
                see(layer, False)
        elif not hidden and self.hidden is not None:
            before, self.hidden = self.hidden, None
            for role, layer in self._over():
                see(layer, before.get(role, role == "mask"))

    def undo(self) -> None:
        """Undo the last step in the mask."""
        if self.mask is not None:
            self.mask.undo()

    def redo(self) -> None:
        """Do it again."""
        if self.mask is not None:
            self.mask.redo()

    def _over(self) -> Iterator[tuple[str, Layer]]:
        return ((role, one) for role, one in self.each() if _rank(role) > 0)


@contextmanager
def _still(layers: LayerList, still: bool) -> Iterator[None]:
    """Add layers without making them the active one.

    Private, as napari has no other way. To make a layer active and another one at
    once afterwards takes a third of the time that it takes to add one.
    """
    known = still and hasattr(layers, "_activate_on_insert")
    if known:
        layers._activate_on_insert = False
    try:
        yield
    finally:
        if known:
            layers._activate_on_insert = True


def see(layer: Layer, visible: bool) -> None:
    """Show or hide a layer; napari draws everything anew even if it was so before."""
    if layer.visible != visible:
        layer.visible = visible


def _rank(role: str) -> int:
    return ORDER.index(role) if role in ORDER else 0
