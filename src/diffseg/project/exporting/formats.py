"""What cases can be exported as: by name, what it writes and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from diffseg.domain.report import gives_pictures, output_names
from diffseg.errors import UserError, nearest
from diffseg.project.exporting.dicom_seg import check_dicom_seg, write_dicom_seg
from diffseg.project.exporting.nnunet import check_nnunet
from diffseg.project.exporting.nouns import ExportCase, ExportSettings
from diffseg.project.exporting.seg_nrrd import check_seg_nrrd, write_seg_nrrd
from diffseg.volume import write_float, write_mask

Notes = tuple[str, ...]
NIFTI, SEG_NRRD, DICOM_SEG = "nifti", "seg-nrrd", "dicom-seg"
NNUNET, CSV = "nnunet", "csv"


@dataclass(frozen=True, slots=True)
class CaseWriter:
    """How a format writes one case into files of its own.

    Parameters
    ----------
    names : callable
        Names of the files of a case.
    write : callable
        Writes them, in that order, into a folder; returns notes.
    """

    names: Callable[[ExportCase], tuple[str, ...]]
    write: Callable[[ExportCase, Sequence[Path], ExportSettings], Notes]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that cases can be exported as.

    Parameters
    ----------
    name : str
        What ``--format`` takes.
    title : str
        For a list in a window.
    writes : tuple of str
        Patterns of its files; ``CASE`` stands for a case's name.
    needs : tuple of str
        What a case must have, in words.
    suffix : str
        Of the file of a single case, "" where there is none.
    check : callable
        Raises `UserError` where a case cannot be exported as this.
    cases : CaseWriter, optional
        None where all cases go into one thing (a table, a data set).
    """

    name: str
    title: str
    writes: tuple[str, ...]
    needs: tuple[str, ...]
    suffix: str
    check: Callable[[ExportCase], None]
    cases: CaseWriter | None = None

    def fits(self, case: ExportCase) -> bool:
        """Whether a case can be exported as this."""
        try:
            self.check(case)
        except UserError:
            return False
        return True


def formats() -> Mapping[str, ExportFormat]:
    """Every format by its name, the usual one first; nothing heavy is loaded."""
    return _FORMATS


def format_named(name: str) -> ExportFormat:
    """The format of that name; `UserError` lists the known names."""
    found = _FORMATS.get(name)
    if found is None:
        known = ", ".join(_FORMATS)
        raise UserError(
            f"format {name!r} is not one of {known}{nearest(name, _FORMATS)}",
            option="--format",
        )
    return found


def _anything(case: ExportCase) -> None:
    """Every case fits."""


def _nifti_names(case: ExportCase) -> tuple[str, ...]:
    names = output_names(
        case.name, case.labels, raster=gives_pictures(case.grid, case.source)
    )
    probability = names.probability if case.probability is not None else ()
    uncertainty = (names.uncertainty,) if case.uncertainty is not None else ()
    return (names.mask, *probability, *uncertainty)


def _write_nifti(
    case: ExportCase, paths: Sequence[Path], _settings: ExportSettings
) -> Notes:
    grid, source, one = case.grid, case.source, len(case.labels) == 1
    rest = list(paths)
    write_mask(rest.pop(0), case.mask, grid, source, one_class=one)
    if case.uncertainty is not None:
        write_float(rest.pop(), case.uncertainty, grid, source)
    if case.probability is not None:
        whole = len(rest) == 1
        maps: Iterable[object] = [case.probability] if whole else case.probability
        for path, array in zip(rest, maps, strict=True):
            write_float(path, array, grid, source)  # type: ignore[arg-type]
    return ()


def _write_seg_nrrd(
    case: ExportCase, paths: Sequence[Path], _settings: ExportSettings
) -> Notes:
    return write_seg_nrrd(paths[0], case)


def _write_dicom_seg(
    case: ExportCase, paths: Sequence[Path], settings: ExportSettings
) -> Notes:
    return write_dicom_seg(paths[0], case, settings.when)


def _all() -> Iterable[ExportFormat]:
    yield ExportFormat(
        NIFTI,
        "NIfTI mask and maps (.nii.gz; PNG of a picture)",
        ("CASE_mask.nii.gz", "CASE_probability.nii.gz", "CASE_uncertainty.nii.gz"),
        (),
        ".nii.gz",
        _anything,
        CaseWriter(_nifti_names, _write_nifti),
    )
    yield ExportFormat(
        SEG_NRRD,
        "3D Slicer segmentation (.seg.nrrd)",
        ("CASE.seg.nrrd",),
        ("an image with a spacing in mm and perpendicular axes",),
        ".seg.nrrd",
        check_seg_nrrd,
        CaseWriter(lambda case: (f"{case.name}.seg.nrrd",), _write_seg_nrrd),
    )
    yield ExportFormat(
        DICOM_SEG,
        "DICOM segmentation of the series (.dcm)",
        ("CASE_seg.dcm",),
        ("an image from DICOM whose slices are not tilted", "highdicom"),
        ".dcm",
        check_dicom_seg,
        CaseWriter(lambda case: (f"{case.name}_seg.dcm",), _write_dicom_seg),
    )
    yield ExportFormat(
        NNUNET,
        "nnU-Net raw data set (folder)",
        (
            "DatasetNNN_NAME/dataset.json",
            "DatasetNNN_NAME/imagesTr/CASE_0000.nii.gz",
            "DatasetNNN_NAME/labelsTr/CASE.nii.gz",
        ),
        ("the image", "one number of channels", "one list of labels"),
        "",
        check_nnunet,
    )
    yield ExportFormat(
        CSV,
        "Measurements (.csv)",
        ("measurements.csv",),
        (),
        ".csv",
        _anything,
    )


_FORMATS = MappingProxyType({one.name: one for one in _all()})
