"""Where a volume came from: enough to write a mask back onto the same grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffseg.volume.affine import Affine

NIBABEL_SUFFIXES = (
    ".nii", ".hdr", ".img", ".mgh", ".mgz", ".head", ".brik", ".par", ".rec", ".mnc",
)  # fmt: skip
ITK_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")
RASTER_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
PACKED_SUFFIXES = (".gz", ".bz2")
RASTER_FORMATS = ("png", "jpeg", "bmp", "tiff", "slices")
_KNOWN = NIBABEL_SUFFIXES + ITK_SUFFIXES + DICOM_SUFFIXES + RASTER_SUFFIXES


def image_suffix(path: str | Path) -> str:
    """Image suffix of a file in lower case, packing left out; "" if none is known.

    Examples
    --------
    >>> image_suffix("scan.NII.gz")
    '.nii'
    """
    suffix = Path(unpacked_name(path)).suffix.lower()
    return suffix if suffix in _KNOWN else ""


def unpacked_name(path: str | Path) -> str:
    """File name without a packing suffix (``.gz``, ``.bz2``)."""
    name = Path(path).name
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix.lower() in PACKED_SUFFIXES else name


def stem_of(path: str | Path) -> str:
    """Name of a file without every image suffix: ``case.nii.gz`` gives ``case``.

    Several files joined by ``;`` take the stem of the first; a folder keeps its
    whole name.
    """
    first = Path(str(path).split(";")[0])
    if first.is_dir():
        return first.resolve().name
    if not image_suffix(first):
        return first.name
    return Path(unpacked_name(first)).stem


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where a volume came from. Picklable.

    Parameters
    ----------
    paths : tuple of str
        The file or folder, or one for each channel.
    stem : str
        Name without image suffixes, which outputs are named by.
    format : str
        ``nifti1``, ``nifti2``, ``nifti-pair``, ``analyze``, ``mgh``, ``afni``,
        ``par-rec``, ``minc``, ``dicom``, ``nrrd``, ``metaimage``, ``png``,
        ``jpeg``, ``bmp``, ``tiff``, ``slices``, ``array``, or ITK's name.
    shape : tuple of int
        In the file's own axis order, all its dimensions.
    dtype : str
        Type of the numbers as stored.
    affine : Affine, optional
        From file voxels to RAS+ mm; None for a raster.
    units : str, optional
        Spatial unit that the header states.
    modality : str, optional
        DICOM modality.
    header : object, optional
        The nibabel header of a single-file NIfTI, which masks are written with.
    series_uid : str, optional
        DICOM series that was read.
    """

    paths: tuple[str, ...]
    stem: str
    format: str
    shape: tuple[int, ...]
    dtype: str
    affine: Affine | None = None
    units: str | None = None
    modality: str | None = None
    header: Any = None
    series_uid: str | None = None

    @property
    def is_raster(self) -> bool:
        """Whether outputs are pictures (PNG) and not volumes (NIfTI)."""
        return self.format in RASTER_FORMATS

    @property
    def where(self) -> str:
        """The paths as the user gave them, for messages."""
        return ";".join(self.paths) or self.stem
