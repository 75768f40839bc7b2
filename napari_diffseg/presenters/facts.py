"""What the case panel says of an image, and the intensity windows that fit it."""

from __future__ import annotations

from diffseg.domain.report import gives_pictures
from diffseg.volume.windows import windows_for
from napari_diffseg.presenters.geometry import GIVEN_BY_HAND
from napari_diffseg.presenters.words import extent_of, voxel_word
from napari_diffseg.session import Case
from napari_diffseg.views import CaseFacts

_OBLIQUE_DEG = 0.5
_FORMATS = {
    "nifti1": "NIfTI",
    "nifti2": "NIfTI-2",
    "nifti-pair": "NIfTI pair",
    "analyze": "Analyze",
    "mgh": "MGH",
    "afni": "AFNI",
    "par-rec": "PAR/REC",
    "minc": "MINC",
    "dicom": "DICOM",
    "nrrd": "NRRD",
    "metaimage": "MetaImage",
    "png": "PNG",
    "jpeg": "JPEG",
    "bmp": "BMP",
    "tiff": "TIFF",
    "slices": "numbered slices",
    "array": "layer",
}


def facts_of(case: Case) -> CaseFacts:
    """Tell an image's facts in words."""
    volume, grid = case.volume, case.volume.grid
    warnings = [*_losses(case), *volume.warnings]
    if case.locked:
        warnings.insert(0, case.locked)
    return CaseFacts(
        name=case.name,
        path=volume.source.where if volume.source.paths else "",
        size=extent_of(grid.shape, voxel_word(volume)),
        spacing=(
            " x ".join(f"{mm:.4g}" for mm in grid.affine.spacing) + " mm"
            if grid.has_spacing
            else "no millimetres"
        ),
        orientation=_orientation(case),
        kind=_kind(case),
        warnings=tuple(dict.fromkeys(warnings)),
        needs_spacing=not grid.has_spacing or GIVEN_BY_HAND in volume.warnings,
        sides_known=case.display.sides_known,
        has_planes=min(grid.shape) > 1,
    )


def windows_of(case: Case) -> dict[str, tuple[float, float]]:
    """Ranges of intensities by name, (low, high) in the image's own numbers.

    The first one is shown at first. Colour pictures have none.
    """
    volume = case.volume
    if len(volume.data) > 1 and volume.source.is_raster:
        return {}
    return {window.name: (window.low, window.high) for window in windows_for(volume)}


def _losses(case: Case) -> list[str]:
    lines = []
    if case.display.oblique_deg > _OBLIQUE_DEG:
        lines.append(
            f"oblique {case.display.oblique_deg:.0f} deg: shown on the closest axes, "
            "edited on the image's own voxels"
        )
    if not case.volume.grid.has_spacing:  # which the line above says already
        picture = gives_pictures(case.volume.grid, case.volume.source)
        unknown = (
            "how large anything is in mm is unknown"
            if picture
            else "volumes in ml and sides of the patient are unknown"
        )
        lines.append(f"{unknown}: give the spacing below, if you know it")
    return lines


def _orientation(case: Case) -> str:
    grid = case.volume.grid
    if case.display.sides_known:
        return f"stored as {grid.affine.orientation}"
    if any(grid.named):
        return "as stored; only the sides at the edges are known"
    return "as stored; which side is which is not known"


def _kind(case: Case) -> str:
    source = case.volume.source
    parts = [_FORMATS.get(source.format, source.format)]
    if source.modality:
        parts.append(source.modality)
    if case.volume.is_loaded and case.volume.channels > 1:
        parts.append(f"{case.volume.channels} channels")
    return ", ".join(parts)
