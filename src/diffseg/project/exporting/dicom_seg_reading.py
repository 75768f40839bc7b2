"""DICOM-SEG to a mask on an image's grid: every frame goes where it says it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Label, LabelTable
from diffseg.errors import UserError
from diffseg.project.exporting.coding import code_of
from diffseg.project.exporting.dicom_toolkit import highdicom
from diffseg.project.exporting.label_tables import distinct
from diffseg.volume import Grid
from diffseg.volume.dicom_instances import plane_geometry
from diffseg.volume.quiet import heard, one_line

_RAS = np.array([-1.0, -1.0, 1.0])
_NEAR = 0.01  # of a voxel
_NEAR_ALONG = 0.5  # of a plane: slices may be uneven
_MOST = 255


def read_dicom_seg(
    path: str | Path, like: Grid
) -> tuple[NDArray[np.uint8], LabelTable]:
    """Read a segmentation onto the grid of the image that it was made on.

    Parameters
    ----------
    path : path
        Of the types binary or label map.
    like : Grid
        The image's.

    Returns
    -------
    mask : (Z, Y, X) uint8 ndarray
        Segment numbers.
    labels : LabelTable
        Name, colour and code of each segment; its value is the segment's number.

    Raises
    ------
    UserError
        Not a segmentation, one of probabilities, of another grid, or with segments
        that overlap.
    """
    dataset = _opened(path)
    labels = _labels_of(dataset, str(path))
    planes = _planes_of(dataset, like, str(path))
    if dataset.SegmentationType == "LABELMAP":
        numbers = [0] * len(planes)
    else:
        numbers = [_segment_of(dataset, index) for index in range(len(planes))]
    with heard():
        frames = dataset.pixel_array.reshape(len(planes), *like.shape[1:])
    mask = np.zeros(like.shape, np.uint8)
    for frame, k, number in zip(frames, planes, numbers, strict=True):
        inside = frame > 0
        here = mask[k]
        taken = here[inside & (here > 0)]
        if taken.size and bool((taken != number).any()):
            raise UserError(
                f"{path}: segments {int(taken[0])} and {number} overlap, and a mask "
                "holds one label at a voxel; export them one by one"
            )
        here[inside] = number if number else frame[inside]
    return mask, labels


def _opened(path: str | Path) -> Any:
    from pydicom import dcmread

    try:
        with heard():
            dataset = dcmread(path)
            kind = str(dataset.get("SegmentationType", ""))
    except Exception as err:
        raise UserError(f"{path}: not readable as DICOM ({one_line(err, 80)})") from err
    if dataset.get("Modality") != "SEG" or "SegmentSequence" not in dataset:
        raise UserError(
            f"{path}: not a DICOM segmentation; give a file of modality SEG"
        )
    if kind not in ("BINARY", "LABELMAP"):
        raise UserError(
            f"{path}: a segmentation of type {kind or '?'}; only masks can be read, "
            "BINARY or LABELMAP"
        )
    return dataset


def _labels_of(dataset: Any, where: str) -> LabelTable:
    segments = sorted(dataset.SegmentSequence, key=lambda one: int(one.SegmentNumber))
    segments = [one for one in segments if int(one.SegmentNumber) > 0]
    if not segments or int(segments[-1].SegmentNumber) > _MOST:
        raise UserError(f"{where}: it has no segments, or some beyond {_MOST}")
    names = distinct(
        str(one.get("SegmentLabel") or f"segment {one.SegmentNumber}")
        for one in segments
    )
    labels = []
    for name, one in zip(names, segments, strict=True):
        given: dict[str, Any] = {"name": name, "value": int(one.SegmentNumber)}
        kind = (one.get("SegmentedPropertyTypeCodeSequence") or [{}])[0]
        given["code"] = code_of(
            str(kind.get("CodingSchemeDesignator", "")), str(kind.get("CodeValue", ""))
        )
        lab = one.get("RecommendedDisplayCIELabValue")
        if lab is not None and len(lab) == 3:
            given["color"] = _hex_of([int(part) for part in lab])
        labels.append(Label(**given))
    return LabelTable(labels=tuple(labels))


def _hex_of(lab: list[int]) -> str:
    """The colour in sRGB that DICOM stores as CIELab."""
    color = highdicom().color.CIELabColor.from_dicom_value(lab)
    return "#" + "".join(f"{round(part):02X}" for part in color.to_rgb())


def _segment_of(dataset: Any, index: int) -> int:
    groups = (
        dataset.PerFrameFunctionalGroupsSequence[index],
        dataset.SharedFunctionalGroupsSequence[0],
    )
    for group in groups:
        for item in group.get("SegmentIdentificationSequence") or ():
            return int(item.ReferencedSegmentNumber)
    raise UserError(f"frame {index} of the segmentation names no segment")


def _planes_of(dataset: Any, like: Grid, where: str) -> list[int]:
    """Plane of the grid that each frame lies in."""
    if (int(dataset.Rows), int(dataset.Columns)) != like.shape[1:]:
        raise UserError(
            f"{where}: frames of {dataset.Rows} x {dataset.Columns}, where the image "
            f"has {like.shape[1]} x {like.shape[2]}; give the image that it was made on"
        )
    back = like.affine.inverse()
    wanted = like.affine.direction[:, :2].T
    planes: list[int] = []
    for position, cosines in plane_geometry(dataset):
        i, j, k = back @ (position * _RAS)
        off = max(abs(i), abs(j))
        turned = float(np.abs(cosines * _RAS - wanted).max()) > _NEAR
        plane = round(float(k))
        if (
            turned
            or off > _NEAR * max(like.shape)
            or abs(k - plane) > _NEAR_ALONG
            or not 0 <= plane < like.shape[0]
        ):
            raise UserError(
                f"{where}: frame {len(planes)} does not lie in a plane of the image; "
                "give the image that it was made on"
            )
        planes.append(plane)
    if len(planes) != int(dataset.get("NumberOfFrames", 1) or 1):
        raise UserError(f"{where}: it does not say where its frames lie")
    return planes
