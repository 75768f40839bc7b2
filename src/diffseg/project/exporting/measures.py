"""Measurements of each class of a case, and the table that they make."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffseg.domain import Label, StructureReport
from diffseg.ensemble import measure
from diffseg.project.exporting.nouns import ExportCase
from diffseg.volume import Grid

_DIGITS = 9
_NOWHERE = np.zeros((0, 0, 0), np.bool_)
_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, slots=True)
class Measures:
    """One row: a class in a case; None where it is not defined or not known.

    Parameters
    ----------
    case, structure : str
    label : int
        Value in the mask.
    code : str or None
        Terminology code, as ``SCT:5366008``.
    voxels : int
        Voxels of the mask, pixels of a picture.
    volume_ml : float or None
        Of the mask; None without a spacing.
    area_px : int or None
        Pixels, where the image is a single plane.
    area_mm2 : float or None
        The same in mm², with a spacing.
    proposed_volume_ml, volume_ml_p05, volume_ml_p95 : float or None
        The ensemble's consensus, and its 5 % and 95 % quantiles over members: of the
        proposal, whatever was corrected since.
    expected_dice : float or None
        Mean Dice between pairs of members.
    components : int
        Parts that touch by no face, edge or corner.
    largest_component_voxels : int
    z_start, z_stop, y_start, y_stop, x_start, x_stop : int or None
        The box around it in voxels (plane, row, column), half-open.
    extent_z_mm, extent_y_mm, extent_x_mm : float or None
        Its sides along the grid's axes, whole voxels.
    centroid_z, centroid_y, centroid_x : float or None
        In voxels; the middle of the first voxel is 0.
    centroid_r_mm, centroid_a_mm, centroid_s_mm : float or None
        In RAS+ mm of the patient; None where the image does not tell its sides.
    mean_intensity : str or None
        Within the mask, in the file's own numbers; of channels, joined by ``;``.
    mean_uncertainty : float or None
        In [0, 1].
    model, model_version : str or None
    seed : int or None
    made_by : str
        AUTOMATIC, SEMIAUTOMATIC (corrected) or MANUAL.
    """

    case: str
    structure: str
    label: int
    code: str | None
    voxels: int
    volume_ml: float | None
    area_px: int | None
    area_mm2: float | None
    proposed_volume_ml: float | None
    volume_ml_p05: float | None
    volume_ml_p95: float | None
    expected_dice: float | None
    components: int
    largest_component_voxels: int
    z_start: int | None
    z_stop: int | None
    y_start: int | None
    y_stop: int | None
    x_start: int | None
    x_stop: int | None
    extent_z_mm: float | None
    extent_y_mm: float | None
    extent_x_mm: float | None
    centroid_z: float | None
    centroid_y: float | None
    centroid_x: float | None
    centroid_r_mm: float | None
    centroid_a_mm: float | None
    centroid_s_mm: float | None
    mean_intensity: str | None
    mean_uncertainty: float | None
    model: str | None
    model_version: str | None
    seed: int | None
    made_by: str


COLUMNS = tuple(one.name for one in fields(Measures))
"""Columns of the table, in order."""


def measures_of(case: ExportCase) -> tuple[Measures, ...]:
    """Measure every class of the table, those that are empty too."""
    classes = case.classes_of(case.mask)
    boxes = ndimage.find_objects(classes, max_label=len(case.labels))
    spread = _spread(case, classes)
    return tuple(
        _row(
            case,
            _NOWHERE if box is None else classes[box] == index,
            box,
            label,
            spread[index - 1],
        )
        for index, (label, box) in enumerate(
            zip(case.labels.each(), boxes, strict=True), start=1
        )
    )


def table_text(rows: Iterable[Measures]) -> str:
    """CSV with a line of column names; empty where there is no number."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_told(value) for value in asdict(row).values()])
    return stream.getvalue()


def _told(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)


def _spread(
    case: ExportCase, classes: NDArray[np.uint8]
) -> tuple[StructureReport | None, ...]:
    """What the ensemble says of each class: measured anew if members were kept."""
    if case.members is None or not len(case.members):
        known = {one.name: one for one in case.structures}
        return tuple(known.get(name) for name in case.labels.names)
    members = case.classes_of(case.members)
    agreed = classes if case.proposed is None else case.classes_of(case.proposed)
    return measure(members, agreed, case.labels, case.grid.voxel_ml)


def _row(
    case: ExportCase,
    part: NDArray[np.bool_],
    box: tuple[slice, slice, slice] | None,
    label: Label,
    spread: StructureReport | None,
) -> Measures:
    grid, made = case.grid, case.provenance
    voxels = int(np.count_nonzero(part))
    flat = grid.shape[0] == 1
    pixel_mm2 = grid.spacing_zyx[1] * grid.spacing_zyx[2] if grid.has_spacing else None
    parts = _parts(part)
    return Measures(
        case=case.name,
        structure=label.name,
        label=label.value,
        code=label.code,
        voxels=voxels,
        volume_ml=None if grid.voxel_ml is None else voxels * grid.voxel_ml,
        area_px=voxels if flat else None,
        area_mm2=voxels * pixel_mm2 if flat and pixel_mm2 is not None else None,
        proposed_volume_ml=None if spread is None else spread.volume_ml,
        volume_ml_p05=None if spread is None else spread.volume_ml_p05,
        volume_ml_p95=None if spread is None else spread.volume_ml_p95,
        expected_dice=None if spread is None else spread.expected_dice,
        components=len(parts),
        largest_component_voxels=max(parts, default=0),
        **_box(box, grid),
        **_centroid(part, box, grid),
        mean_intensity=_mean_intensity(case, part, box),
        mean_uncertainty=_mean_uncertainty(case, part, box),
        model=None if made is None else str(made.model.get("id", "")),
        model_version=None if made is None else str(made.model.get("version", "")),
        seed=None if made is None else made.seed,
        made_by=case.maker.value,
    )


def _parts(part: NDArray[np.bool_]) -> list[int]:
    """Voxels of each connected part."""
    if not part.size:
        return []
    numbered, _ = ndimage.label(part, _TOUCHING)
    return [int(count) for count in np.bincount(numbered.ravel())[1:]]


def _box(box: tuple[slice, slice, slice] | None, grid: Grid) -> dict[str, Any]:
    told: dict[str, Any] = {}
    sides = box or (None, None, None)
    for axis, side, step in zip("zyx", sides, grid.spacing_zyx, strict=True):
        told[f"{axis}_start"] = None if side is None else side.start
        told[f"{axis}_stop"] = None if side is None else side.stop
        told[f"extent_{axis}_mm"] = None
        if side is not None and grid.has_spacing:
            told[f"extent_{axis}_mm"] = (side.stop - side.start) * step
    return told


def _centroid(
    part: NDArray[np.bool_], box: tuple[slice, slice, slice] | None, grid: Grid
) -> dict[str, Any]:
    names = ("z", "y", "x", "r_mm", "a_mm", "s_mm")
    numbers: list[float | None] = [None] * 6
    if box is not None:
        starts = [side.start for side in box]
        zyx = np.argwhere(part).mean(axis=0) + starts
        numbers[:3] = [float(one) for one in zyx]
        if grid.has_spacing and grid.has_sides:
            numbers[3:] = [float(one) for one in grid.affine @ zyx[::-1]]
    return {
        f"centroid_{name}": number for name, number in zip(names, numbers, strict=True)
    }


def _mean_intensity(
    case: ExportCase, part: NDArray[np.bool_], box: tuple[slice, slice, slice] | None
) -> str | None:
    if case.image is None or box is None:
        return None
    means = (channel[box][part].mean(dtype=np.float64) for channel in case.image.data)
    return ";".join(f"{mean:.{_DIGITS}g}" for mean in means)


def _mean_uncertainty(
    case: ExportCase, part: NDArray[np.bool_], box: tuple[slice, slice, slice] | None
) -> float | None:
    if case.uncertainty is None or box is None:
        return None
    return float(case.uncertainty[box][part].mean(dtype=np.float64))
