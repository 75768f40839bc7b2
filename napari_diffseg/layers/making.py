"""One function for each layer of a case: what it shows, and how."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import NDArray

from diffseg.domain import Proposal
from diffseg.volume import Volume
from diffseg.volume.windows import auto_window
from napari_diffseg.layers.colours import (
    contour_colormap,
    probability_colormap,
    table_colormap,
    table_features,
    uncertainty_colormap,
)
from napari_diffseg.layers.contours import NestedLines, bands, origin
from napari_diffseg.layers.edits import History
from napari_diffseg.layers.mask_layer import MaskLayer
from napari_diffseg.session import Case

AXES = ("plane", "row", "column")
KEY = "diffseg"
# Over the image, which a hardware's depth test would put in front of a sister.
_OVER = "translucent_no_depth"
_NEARLY_NONE = 0.02


def keywords(case: Case, role: str) -> dict[str, Any]:
    """Name, place and metadata of a layer of a case."""
    display = case.display
    return {
        "name": name_of(case.name, role),
        "scale": display.scale,
        "translate": display.translate,
        "units": (display.unit,) * 3,
        "axis_labels": AXES,
        "metadata": {KEY: facts(case, role)},
    }


def name_of(case_name: str, role: str) -> str:
    """Name of a layer: the case's own for the image, else ``case [role]``."""
    return case_name if role == "image" else f"{case_name} [{role}]"


def facts(case: Case, role: str) -> dict[str, Any]:
    """What a layer's metadata say, in plain values that go into JSON too."""
    grid, source = case.volume.grid, case.volume.source
    return {
        "case": case.id,
        "role": role,
        "source": ";".join(source.paths),
        "series": source.series_uid,
        "shape": list(grid.shape),
        "affine": grid.affine.matrix.tolist() if grid.has_spacing else None,
        "sides": grid.has_sides,
        **_origin(case.proposal),
    }


def _origin(proposal: Proposal | None) -> dict[str, Any]:
    if proposal is None:
        names = ("model", "version", "sha256", "seed", "members", "steps")
        return dict.fromkeys(names)
    made = proposal.provenance
    return {
        "model": made.model.get("id"),
        "version": made.model.get("version"),
        "sha256": made.model.get("sha256"),
        "seed": made.seed,
        "members": made.members,
        "steps": made.steps,
    }


def images(case: Case) -> dict[str, Layer]:
    """The image, or one for each channel, by role; the first one is seen."""
    voxels, display = case.volume.data, case.display
    if _in_colour(case.volume, voxels):
        colours = np.moveaxis(display.view(voxels), 0, -1)
        return {"image": Image(colours, rgb=True, **keywords(case, "image"))}
    made: dict[str, Layer] = {}
    for number, one in enumerate(voxels, start=1):
        role = "image" if number == 1 else f"channel {number}"
        window = auto_window(one)
        made[role] = Image(
            display.view(one),
            colormap="gray",
            contrast_limits=(window.low, window.high),
            visible=number == 1,
            **keywords(case, role),
        )
    return made


def mask(case: Case, history: History | None = None) -> MaskLayer:
    """The editable mask; `history` is what can be undone."""
    layer = MaskLayer(
        case.annotation,
        case.display,
        history=history,
        colormap=table_colormap(case.table),
        features=table_features(case.table),
        opacity=0.5,
        blending=_OVER,
        **keywords(case, "mask"),
    )
    layer.editable = case.locked is None
    return layer


def maps(proposal: Proposal) -> dict[str, NDArray[Any]]:
    """What lies beside a proposal's mask, by role, on the source's grid."""
    roles = ("probability", "uncertainty", "contours")
    return {role: map_of(proposal, role) for role in roles}


def map_of(proposal: Proposal, role: str) -> NDArray[Any]:
    """(Z, Y, X): probability of any structure, uncertainty, or `bands`."""
    if role == "uncertainty":
        return proposal.uncertainty
    if role == "contours":
        return bands(proposal)
    one = proposal.probability
    any_of_them: NDArray[Any] = one[0]
    if len(one) > 1:
        any_of_them = np.minimum(one.sum(axis=0), 1.0)
    return any_of_them


def uncertainty(case: Case, shown: NDArray[Any]) -> Layer:
    """Doubt in [0, 1], from nothing to pale green; hidden at first."""
    assert case.proposal is not None
    return Image(
        shown,
        colormap=uncertainty_colormap(),
        # Up to where two answers are equally likely.
        contrast_limits=(_NEARLY_NONE, _even_doubt(case.proposal)),
        blending=_OVER,
        visible=False,
        **keywords(case, "uncertainty"),
    )


def probability(case: Case, shown: NDArray[Any]) -> Layer:
    """Probability of any structure, from nothing to light blue; hidden at first."""
    return Image(
        shown,
        colormap=probability_colormap(),
        contrast_limits=(_NEARLY_NONE, 1.0),
        blending=_OVER,
        visible=False,
        **keywords(case, "probability"),
    )


def contours(case: Case, shown: NDArray[Any]) -> Layer:
    """Lines around what 5 %, 50 % and 95 % of the members see; hidden at first."""
    assert case.proposal is not None
    layer = NestedLines(
        shown,
        colormap=contour_colormap(),
        features={
            "index": [0, 1, 2, 3],
            "members": [None, "5 % or more", "50 % or more", "95 % or more"],
        },
        opacity=1.0,
        blending=_OVER,
        visible=False,
        **keywords(case, "contours"),
    )
    layer.contour = 1
    layer.editable = False
    layer.metadata[KEY]["lines"] = origin(case.proposal)
    return layer


def other_mask(case: Case, role: str, native: NDArray[np.uint8]) -> Layer:
    """A mask that nobody edits, in the colours of the table."""
    layer = Labels(
        case.display.view(native),
        colormap=table_colormap(case.table),
        features=table_features(case.table),
        opacity=0.5,
        blending=_OVER,
        **keywords(case, role),
    )
    layer.editable = False
    return layer


def region(case: Case) -> Shapes:
    """An empty layer to draw a box in."""
    return Shapes(
        ndim=3,
        edge_color="#F0E442",
        edge_width=max(min(1.0, min(case.display.shown.shape[1:]) / 200), 0.4),
        face_color="transparent",
        opacity=1.0,
        **keywords(case, "region"),
    )


def _even_doubt(proposal: Proposal) -> float:
    """Uncertainty where two answers are equally likely."""
    return math.log(2) / math.log(len(proposal.labels) + 1)


def _in_colour(volume: Volume, voxels: NDArray[Any]) -> bool:
    return (
        volume.source.is_raster and len(voxels) in (3, 4) and voxels.dtype == np.uint8
    )
