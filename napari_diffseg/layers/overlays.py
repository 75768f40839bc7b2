"""What lies on the image beside the mask: maps, lines, members, previews, a box."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ReferenceType, ref

import numpy as np
from napari.layers import Labels, Layer, Shapes
from numpy.typing import NDArray

from diffseg.domain import Change, Proposal, Region
from diffseg.domain.preview import Preview
from napari_diffseg.layers import making
from napari_diffseg.layers.box import box_region, kept
from napari_diffseg.layers.colours import table_colormap, table_features
from napari_diffseg.layers.edit_preview import edit_preview
from napari_diffseg.layers.hand import Hand
from napari_diffseg.layers.kept import Kept
from napari_diffseg.layers.stack import Stack
from napari_diffseg.session import Case
from napari_diffseg.views import Shown

_PREVIEW_OPACITY = 0.35
_MAPS: dict[str, Callable[[Case, NDArray[Any]], Layer]] = {
    "probability": making.probability,
    "uncertainty": making.uncertainty,
    "contours": making.contours,
}

Ready = tuple[ReferenceType[NDArray[np.uint8]], dict[str, NDArray[Any]]]
"""Mask of a proposal, and the maps that were computed for it."""


class Overlays:
    """Adds, changes and removes what lies on a case's image.

    Parameters
    ----------
    hand : Hand
        How masks look.
    """

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._ready: dict[str, Ready] = {}
        self._kept = Kept()

    def dress(self, stack: Stack) -> None:
        """Filled or lines, and how opaque."""
        line = self._hand.line(stack)
        for role in ("mask", "member"):
            layer = stack.get(role)
            if isinstance(layer, Labels):
                lined = self._hand.outline or (
                    role == "mask" and stack.shown == "uncertainty"
                )
                layer.contour = line if lined else 0
                # A line is thin: it has to be seen.
                layer.opacity = max(self._hand.opacity, 0.8 if lined else 0.0)

    def colour(self, stack: Stack) -> None:
        """Names and colours of the case's table."""
        for role in ("mask", "member", "proposing"):
            layer = stack.get(role)
            if isinstance(layer, Labels):
                layer.colormap = table_colormap(stack.case.table)
                layer.features = table_features(stack.case.table)

    def prepare(self, case: Case, proposal: Proposal) -> None:
        """Compute a proposal's maps ahead; in any thread."""
        maps, ready = making.maps(proposal), self._ready

        def drop(gone: ReferenceType[NDArray[np.uint8]]) -> None:
            if ready.get(case_id, (None,))[0] is gone:
                ready.pop(case_id, None)

        case_id = case.id
        # An answer that was refused or given up goes without a word: its maps go
        # with it. By its mask, as a noun with slots cannot be referred to weakly.
        ready[case_id] = (ref(proposal.mask, drop), maps)

    @property
    def proposal_steps(self) -> tuple[Callable[[Stack, bool], None], ...]:
        """What there is to do to show a case's proposal, or to remove its maps.

        Each is given the stack and whether it is the one that is looked at.
        """
        return (*(partial(self._renew, role) for role in _MAPS), self._round_off)

    def show_as(self, stack: Stack, shown: Shown, member: int) -> None:
        """Show mask, contours, uncertainty or a member; the mask without them."""
        proposal = stack.case.proposal
        stack.shown, stack.member = _possible(shown, proposal), member
        if proposal is not None and stack.shown in _MAPS:
            self._map(stack, stack.shown, proposal, anew=False)
        if stack.shown == "member":
            self._member(stack, proposal, member)
        stack.dress()
        self.dress(stack)

    def begin_preview(self, stack: Stack, *, seen: bool) -> None:
        """Make room for slices to come."""
        empty = np.zeros(stack.case.volume.shape, np.uint8)
        layer = making.other_mask(stack.case, "proposing", empty)
        layer.opacity, layer.visible = _PREVIEW_OPACITY, seen
        self._kept.begin()
        stack.put("proposing", layer)

    def end_preview(self, stack: Stack | None) -> None:
        """Take them away; also of a case whose layers are gone."""
        if stack is not None:
            stack.drop("proposing")
        self._kept.end()

    def forget(self, case_id: str) -> None:
        """A case goes: drop what was computed ahead for it."""
        self._ready.pop(case_id, None)

    def show_preview(self, stack: Stack, preview: Preview) -> None:
        """Put slices there, unless the user deleted the layer."""
        layer = stack.get("proposing")
        if isinstance(layer, Labels):
            native = stack.case.display.native_view(layer.data)
            native[preview.region.slices] = preview.mask
            layer.refresh(extent=False, thumbnail=False)

    def show_edit(self, stack: Stack, change: Change) -> None:
        """Show what a change would do to the mask; nothing for an empty one."""
        stack.drop("preview")
        if len(change):
            stack.put("preview", edit_preview(stack.case, change))

    def start_box(self, stack: Stack, drawn: Callable[[], None]) -> None:
        """Put a pencil for rectangles into the user's hand."""
        layer = stack.get("region")
        if not isinstance(layer, Shapes):
            layer = making.region(stack.case)
            stack.put("region", layer)
            layer.events.data.connect(lambda event: _on_box(event, drawn))
        layer.visible = True
        stack.layers.selection.active = layer
        layer.mode = "add_rectangle"

    def box_region(self, stack: Stack) -> Region | None:
        """The box that was drawn, or None."""
        layer = stack.get("region")
        if not isinstance(layer, Shapes) or not len(layer.data):
            return None
        return box_region(layer.data, stack.case.display)

    def _renew(self, role: str, stack: Stack, awake: bool) -> None:
        if stack.case.proposal is None:
            stack.drop(role)
        else:
            self._map(stack, role, stack.case.proposal)

    def _round_off(self, stack: Stack, awake: bool) -> None:
        stack.drop("member")
        self._ready.pop(stack.case.id, None)
        mask = stack.mask
        if mask is not None:
            mask.metadata[making.KEY] = making.facts(stack.case, "mask")
        if stack.case.proposal is None and stack.shown != "mask" and awake:
            self.show_as(stack, "mask", 0)

    def _map(
        self, stack: Stack, role: str, proposal: Proposal, *, anew: bool = True
    ) -> None:
        """Make a map, or put new data into it; what the user set on it stays."""
        layer = stack.get(role)
        if layer is not None and not anew:
            return
        case = stack.case
        shown = case.display.view(self._data(case, role, proposal))
        if layer is None:
            stack.put(role, _MAPS[role](case, shown))
        else:
            layer.data = shown
            layer.editable = False
            layer.metadata[making.KEY] = making.facts(case, role)

    def _data(self, case: Case, role: str, proposal: Proposal) -> NDArray[Any]:
        ready = self._ready.get(case.id)
        if ready is not None and ready[0]() is proposal.mask:
            return ready[1][role]
        return making.map_of(proposal, role)

    def _member(self, stack: Stack, proposal: Proposal | None, member: int) -> None:
        assert proposal is not None
        assert proposal.members is not None
        number = int(np.clip(member, 0, len(proposal.members) - 1))
        native = proposal.members[number]
        layer = stack.get("member")
        if isinstance(layer, Labels):
            layer.data = stack.case.display.view(native)
            layer.editable = False
        else:
            layer = making.other_mask(stack.case, "member", native)
            stack.put("member", layer)
        layer.metadata[making.KEY]["member"] = number


def _possible(shown: Shown, proposal: Proposal | None) -> Shown:
    """What was asked for, or the mask where the proposal does not have it."""
    if proposal is None or (shown == "member" and proposal.members is None):
        return "mask"
    return shown


def _on_box(event: Any, drawn: Callable[[], None]) -> None:
    """Keep the latest rectangle of each plane, and tell of it."""
    layer = event.source
    if str(event.action) not in ("added", "changed") or not len(layer.data):
        return
    keep = set(kept(layer.data))
    stale = set(range(len(layer.data))) - keep
    if stale:
        layer.selected_data = stale
        layer.remove_selected()
    # One box is enough; its corners can be moved now.
    layer.mode = "select"
    drawn()
