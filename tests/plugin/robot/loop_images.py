"""Images for the walk through the loop: hippocampi of the template, as two kinds."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from diffseg.segmenters.template import mni152_path

MR = UID("1.2.840.10008.5.1.4.1.1.4")
SIZE = (36, 51, 40)
MIDDLES_MM = {"left": (-27.0, -22.0, -16.0), "right": (27.0, -22.0, -16.0)}
NOISE = 0.03
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def hippocampus(
    side: str, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Surroundings of one hippocampus with noise: voxels (i, j, k), and their affine.

    Another seed is another image, moved by a voxel or two.
    """
    random = np.random.default_rng(seed)
    image = nib.load(mni152_path())
    whole = np.asarray(image.dataobj, np.float32)
    middle = np.linalg.inv(image.affine) @ np.array([*MIDDLES_MM[side], 1.0])
    low = np.round(middle[:3]).astype(int) - np.array(SIZE) // 2
    low += random.integers(-1, 2, 3)
    box = tuple(slice(a, a + n) for a, n in zip(low, SIZE, strict=True))
    voxels = whole[box] + NOISE * whole[box].max() * random.standard_normal(SIZE)
    affine = image.affine.copy()
    affine[:3, 3] = image.affine[:3, :3] @ low + image.affine[:3, 3]
    return np.clip(voxels, 0, None).astype(np.float32), affine


def write_nifti(folder: Path, name: str, side: str, seed: int) -> Path:
    """One image as a NIfTI file."""
    voxels, affine = hippocampus(side, seed)
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def write_series(folder: Path, name: str, side: str, seed: int) -> Path:
    """The same as a series of axial MR images, of a patient with a name."""
    voxels, affine = hippocampus(side, seed)
    place = LPS @ affine
    spacing = np.linalg.norm(place[:3, :3], axis=0)
    across, down = (place[:3, axis] / spacing[axis] for axis in (0, 1))
    grey = np.round(1000 * voxels / voxels.max()).astype(np.uint16)
    uids = [generate_uid() for _ in range(3)]
    target = folder / name
    target.mkdir()
    for plane in range(grey.shape[2]):
        one = _header(uids)
        one.InstanceNumber = plane + 1
        one.Rows, one.Columns = grey.shape[1], grey.shape[0]
        one.PixelSpacing = _text(spacing[[1, 0]])
        one.SliceThickness = _text(spacing[2:])[0]
        one.ImageOrientationPatient = _text([*across, *down])
        one.ImagePositionPatient = _text((place @ [0, 0, plane, 1])[:3])
        one.PixelData = np.ascontiguousarray(grey[:, :, plane].T).tobytes()
        one.SOPClassUID, one.SOPInstanceUID = MR, generate_uid()
        one.file_meta.MediaStorageSOPClassUID = MR
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.save_as(target / f"{plane:03d}.dcm", enforce_file_format=True)
    return target


def _header(uids: list[UID]) -> Dataset:
    """What every image of a series repeats."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.PatientName, one.PatientID = "Doe^Jane", "SECRET-77"
    one.PatientBirthDate, one.PatientSex = "19500102", "F"
    one.StudyDate, one.StudyTime = "20200304", "101112"
    one.AccessionNumber, one.StudyID, one.ReferringPhysicianName = "", "1", ""
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = uids
    one.Modality, one.SeriesNumber, one.Manufacturer = "MR", 4, "nobody"
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 0
    return one


def _text(numbers: object) -> list[str]:
    return [f"{number:.10f}"[:16] for number in np.asarray(numbers)]
