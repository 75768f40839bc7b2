"""DICOM-SEG on the source series, by highdicom.

One binary segment for each class, every one with a frame for every plane of the source,
in the source's own places, rising along the normal: the frames of one segment are its
mask. Patient, study and frame of reference are the source's.
"""

from __future__ import annotations

from copy import copy
from datetime import datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from diffseg.domain import Label
from diffseg.errors import UserError
from diffseg.project.exporting.coding import Coded, term_of
from diffseg.project.exporting.dicom_frames import put_in_order
from diffseg.project.exporting.dicom_toolkit import highdicom, quiet_highdicom
from diffseg.project.exporting.nouns import ExportCase, Maker
from diffseg.volume import atomic_write_bytes
from diffseg.volume.dicom_instances import source_instances

MANUFACTURER = "napari-diffseg"
NO_FRAME_OF_REFERENCE = (
    "the series has no frame of reference: one is made from its UID, and other objects "
    "of the study do not share it"
)
_NAMESPACE = UUID("6f3c1c1e-64b1-5d5f-9f0a-6f1df6c0a7b2")
_LONGEST = 64  # DICOM's long string
_TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber",
    "StudyID", "StudyDate", "StudyTime", "Modality",
)  # fmt: skip
_SERIES_AFTER = 1000


def check_dicom_seg(case: ExportCase) -> None:
    """Refuse a case that cannot become a DICOM-SEG, before the work for it starts.

    Raises
    ------
    UserError
        The source is not DICOM, its slices are stacked at a tilt, a name is too long,
        or highdicom is not installed.
    """
    if case.source.format != "dicom":
        raise UserError(
            f"{case.name}: DICOM-SEG needs a DICOM series, the image is "
            f"{case.source.format}; export NIfTI or .seg.nrrd instead"
        )
    if not case.grid.affine.is_orthogonal:
        raise UserError(
            f"{case.name}: the slices are stacked at a tilt (gantry), which readers of "
            "DICOM-SEG straighten; export NIfTI, or resample the series first"
        )
    for label in case.labels.each():
        if len(label.name) > _LONGEST or "\\" in label.name:
            raise UserError(
                f"label {label.name[:_LONGEST]!r}: DICOM takes names of at most "
                f"{_LONGEST} characters without a backslash; rename it"
            )
        term_of(label)
    highdicom()


def write_dicom_seg(
    path: str | Path, case: ExportCase, when: datetime | None = None
) -> tuple[str, ...]:
    """Write a case's mask as a DICOM segmentation of its source.

    Segment `i` is ``labels[i - 1]``, whatever its value in the mask. The same case and
    time give the same UIDs.

    Parameters
    ----------
    path : path
        Replaced if it is there; whole or not at all.
    case : ExportCase
    when : datetime, optional
        Content date and time; now, without it.

    Returns
    -------
    tuple of str
        What had to be decided.

    Raises
    ------
    UserError
        See `check_dicom_seg` and `diffseg.volume.dicom_instances.source_instances`;
        and a source whose header lacks what a segmentation of it must repeat.
    """
    check_dicom_seg(case)
    when = datetime.now() if when is None else when
    sources = source_instances(case.source, case.grid, case.frame)
    notes: tuple[str, ...] = ()
    if not sources[0].get("FrameOfReferenceUID"):
        notes = (NO_FRAME_OF_REFERENCE,)
    images = [_completed(header) for header in sources]
    with quiet_highdicom():
        try:
            payload = _encoded(case, images, when)
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            # Its words may quote the header, and so the patient.
            raise UserError(
                f"{case.name}: the series' headers cannot carry a segmentation "
                f"({type(err).__name__}); export NIfTI instead"
            ) from err
    atomic_write_bytes(path, payload)
    return notes


def _completed(header: Any) -> Any:
    """A copy of a header with what a segmentation must repeat, empty if need be."""
    whole = copy(header)
    for name in _TYPE_2:
        if name not in whole:
            setattr(whole, name, "")
    if whole.PatientSex not in ("M", "F", "O", ""):
        whole.PatientSex = "O"
    if not whole.get("FrameOfReferenceUID"):
        uid = str(whole.get("SeriesInstanceUID", ""))
        whole.FrameOfReferenceUID = _uid("frame of reference", uid)
    return whole


def _encoded(case: ExportCase, images: list[Any], when: datetime) -> bytes:
    """The object's bytes."""
    hd = highdicom()
    classes = case.classes_of(case.mask)
    said = repr((case.labels, case.provenance, case.maker, case.name))
    series = str(images[0].SeriesInstanceUID)
    digest = sha256(classes.tobytes()).hexdigest()
    one = "|".join((series, digest, said, when.isoformat()))
    number = int(images[0].get("SeriesNumber") or 0)
    segmentation = hd.seg.Segmentation(
        source_images=images,
        pixel_array=classes,
        segmentation_type="BINARY",
        segment_descriptions=[
            _described(hd, case, index, label)
            for index, label in enumerate(case.labels.each(), start=1)
        ],
        series_instance_uid=_uid("series", one),
        series_number=max(number, 0) + _SERIES_AFTER,
        sop_instance_uid=_uid("instance", one),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="diffseg",
        software_versions=_our_version(),
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description="Segmentation by napari-diffseg",
        series_description="Segmentation by napari-diffseg",
        content_date=when.date(),
        content_time=when.time(),
        series_date=when.date(),
        series_time=when.time(),
        specific_character_set="ISO_IR 192",
        omit_empty_frames=False,
    )
    put_in_order(segmentation)
    segmentation.InstanceCreationDate = when.strftime("%Y%m%d")
    segmentation.InstanceCreationTime = when.strftime("%H%M%S.%f")
    stream = BytesIO()
    segmentation.save_as(stream)
    return stream.getvalue()


def _described(hd: Any, case: ExportCase, number: int, label: Label) -> Any:
    term = term_of(label)
    red, green, blue = (int(label.color[at : at + 2], 16) for at in (1, 3, 5))
    maker = case.maker if case.provenance is not None else Maker.PERSON
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=_concept(hd, term.category),
        segmented_property_type=_concept(hd, term.kind),
        algorithm_type=maker.value,
        algorithm_identification=(
            None if maker is Maker.PERSON else _algorithm(hd, case)
        ),
        display_color=hd.color.CIELabColor.from_rgb(red, green, blue),
    )


def _algorithm(hd: Any, case: ExportCase) -> Any:
    """Which model, in which version, drew it, and from which seed."""
    made = case.provenance
    assert made is not None
    family = Coded("DCM", "123110", "Artificial Intelligence")
    return hd.AlgorithmIdentificationSequence(
        name=str(made.model.get("id") or "unknown")[:_LONGEST],
        family=_concept(hd, family),
        version=str(made.model.get("version") or "unknown")[:_LONGEST],
        source="napari-diffseg",
        parameters={
            "seed": str(made.seed),
            "members": str(made.members),
            "steps": str(made.steps),
            "sha256": str(made.model.get("sha256") or "unknown"),
        },
    )


def _concept(hd: Any, coded: Coded) -> Any:
    return hd.sr.CodedConcept(coded.value, coded.scheme, coded.meaning)


def _uid(what: str, of: str) -> str:
    """A UID under 2.25 that follows from what it is for (PS3.5, B.2)."""
    return f"2.25.{uuid5(_NAMESPACE, f'{what}|{of}').int}"


def _our_version() -> str:
    try:
        return version("napari-diffseg")
    except PackageNotFoundError:
        return "unknown"
