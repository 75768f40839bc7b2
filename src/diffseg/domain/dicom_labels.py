"""Image-level labels that stand in a field of DICOM images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from diffseg.domain.labels import ImageLabels, Presence
from diffseg.domain.slice_labels import CODES, SliceLabels
from diffseg.errors import UserError, nearest
from diffseg.volume import Volume
from diffseg.volume.dicom_instances import source_instances

_BETWEEN = re.compile(r"[\\;,\n]+")
_NONE = "none"


class DicomField(BaseModel):
    """Which field says what is present, and how it says it.

    Without `values` a field lists the structures that are present, as
    ``tumour;oedema``, and those that it does not name are absent; or it says
    ``tumour=present;oedema=unknown``, and nothing of the others. The word ``none``
    says that none is present. An empty or missing field says nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field(
        title="Field",
        description="A keyword, as ImageComments, or a tag, as (0020,4000)",
    )
    values: dict[str, str] = Field(
        default_factory=dict,
        title="Meaning of each value",
        description="From the whole field to labels: {MALIGNANT: tumour}",
    )
    of: Literal["slice", "series"] = Field(
        "slice",
        title="What a field speaks of",
        description="series: of the image as a whole, and of no slice in particular",
    )


def labels_of_dicom(
    volume: Volume, names: Sequence[str], rule: DicomField
) -> SliceLabels:
    """Read labels from the headers of a volume's DICOM images.

    Parameters
    ----------
    volume : Volume
        As it was read from DICOM.
    names : sequence of str
        Structures, in order of class index.
    rule : DicomField

    Raises
    ------
    UserError
        The volume is not from DICOM, no image has the field, or a value is not one
        that is known.
    """
    where, planes = volume.source.where, volume.shape[0]
    headers = source_instances(volume.source, volume.grid)
    values = [_value(header, rule.field, where) for header in headers]
    if all(value is None for value in values):
        raise UserError(
            f"{where}: no image has the field {rule.field}; name one that is there"
        )
    found = [_labels(value, names, rule, where) for value in values]
    if len(found) < planes or rule.of == "series":  # one file of many frames, or asked
        told = _agreed(found, where, rule)
        return SliceLabels.of_image(told, names, planes, "dicom")
    states = [[CODES.index(one[name]) for name in names] for one in found]
    return SliceLabels(tuple(names), np.array(states, np.uint8), "dicom")


def _value(header: Any, field: str, where: str) -> str | None:
    """Text of a field; None where it is missing or empty."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    numbers = re.fullmatch(r"\(?([0-9A-Fa-f]{4}),? ?([0-9A-Fa-f]{4})\)?", field)
    tag = f"{numbers[1]}{numbers[2]}" if numbers else None
    if tag is None and tag_for_keyword(field) is None:
        raise UserError(
            f"{where}: {field!r} is neither a DICOM keyword, as ImageComments, nor a "
            "tag, as (0020,4000)"
        )
    element = header.get(Tag(int(tag, 16)) if tag else Tag(field))
    if element is None or element.value in (None, "", b""):
        return None
    value = element.value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) and isinstance(value, Sequence):
        value = "\\".join(map(str, value))
    return str(value).strip("\0 ") or None


def _labels(
    value: str | None, names: Sequence[str], rule: DicomField, where: str
) -> ImageLabels:
    if value is None:
        return ImageLabels()
    if rule.values:
        if value not in rule.values:
            raise UserError(
                f"{where}: {rule.field} says {value!r}, which is not one of "
                f"{', '.join(rule.values)}" + nearest(value, rule.values)
            )
        value = rule.values[value]
    parts = [part.strip() for part in _BETWEEN.split(value) if part.strip()]
    listed = not any("=" in part for part in parts)
    said = ImageLabels() if parts == [_NONE] else ImageLabels.parse(parts)
    strange = [name for name in said if name not in names]
    if strange:
        raise UserError(
            f"{where}: {rule.field} says {strange[0]!r}, which is not one of "
            f"{', '.join(names)}" + nearest(strange[0], names)
        )
    rest = dict.fromkeys(names, Presence.ABSENT) if listed else {}
    return ImageLabels({**rest, **said})


def _agreed(found: Sequence[ImageLabels], where: str, rule: DicomField) -> ImageLabels:
    """What all images say; `UserError` where they differ."""
    known = [dict(one) for one in found if len(one)]
    if any(one != known[0] for one in known):
        raise UserError(
            f"{where}: {rule.field} differs between the images of one series; it "
            "speaks of slices, not of the series"
        )
    return ImageLabels(known[0] if known else None)
