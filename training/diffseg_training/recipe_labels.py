"""Section of a recipe: where its image-level labels come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from diffseg.domain.dicom_labels import DicomField
from diffseg_training.recipe_parts import Part


class Labelling(Part):
    """Where image-level labels come from, for objectives that learn from them."""

    source: Literal["manifest", "ranges", "dicom", "mask"] = Field(
        "manifest",
        title="Source",
        description="manifest: its column labels; ranges: a table of slice ranges; "
        "dicom: a field of the images; mask: masks that are there, reduced to labels",
    )
    ranges: Path | None = Field(
        None,
        title="Table of slice ranges",
        description="CSV of case,label,state,slices; source ranges",
    )
    dicom: DicomField | None = Field(None, title="DICOM field", description="dicom")
    least_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Share of a slice above which a mask makes a structure present",
        description="Source mask; AME-CAM takes 0.01, and labels small tumours absent",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.source == "ranges") != (self.ranges is not None):
            raise ValueError("give ranges, a file, with source ranges and no other")
        if (self.source == "dicom") != (self.dicom is not None):
            raise ValueError("give dicom, a field, with source dicom and no other")
        return self
