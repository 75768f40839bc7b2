"""Windows: as stored, by modality, measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg import UserError, Volume
from diffseg.volume.windows import (
    AUTO,
    FULL,
    Window,
    auto_window,
    presets,
    stored_windows,
    windows_for,
)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writer of small CT files: ``write(name, WindowCenter=40, ...)``."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    series = generate_uid()

    def made(name: str = "a.dcm", z: float = 0.0, **tags: Any) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        file = Dataset()
        file.file_meta = meta
        file.SOPClassUID = CTImageStorage
        file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID = series
        file.Modality = "CT"
        file.Rows, file.Columns = 4, 5
        file.PixelSpacing = [1.0, 1.0]
        file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        file.ImagePositionPatient = [0, 0, z]
        file.SliceThickness = 1
        file.SamplesPerPixel = 1
        file.PhotometricInterpretation = "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 0
        file.RescaleSlope, file.RescaleIntercept = 2, -1000
        file.PixelData = (np.arange(20, dtype=np.uint16) * 60).tobytes()
        for tag, value in tags.items():
            setattr(file, tag, value)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        file.save_as(path, enforce_file_format=True)
        return path

    return made


def read(path: Path) -> Volume:
    return Volume.read(str(path))


def test_the_stored_window_comes_first(write: Write) -> None:
    found = windows_for(read(write(WindowCenter=40, WindowWidth=400)))
    # PS3.3 C.11.2.1.2: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    assert found[0] == Window("as stored", -160.0, 239.0)
    assert found[1].name.startswith("Soft tissue")
    assert [window.name for window in found[-2:]] == [AUTO, FULL]


def test_it_is_in_the_units_behind_the_rescale_slope(write: Write) -> None:
    volume = read(write(WindowCenter=40, WindowWidth=400))
    assert volume.data.min() == -1000
    assert windows_for(volume)[-1] == Window(FULL, -1000.0, 1280.0)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_functions_span_the_whole_width(write: Write, function: str) -> None:
    path = write(WindowCenter=40, WindowWidth=400, VOILUTFunction=function)
    assert stored_windows(read(path)) == (Window("as stored", -160.0, 240.0),)


def test_several_windows_keep_their_explanations(write: Write) -> None:
    path = write(
        WindowCenter=[40, 400],
        WindowWidth=[80, 1800],
        WindowCenterWidthExplanation=["BRAIN", "BONE"],
    )
    names = [window.name for window in stored_windows(read(path))]
    assert names == ["as stored: BRAIN", "as stored: BONE"]


def test_several_windows_without_explanations_are_numbered(write: Write) -> None:
    path = write(WindowCenter=[40, 400], WindowWidth=[80, 1800])
    names = [window.name for window in stored_windows(read(path))]
    assert names == ["as stored 1", "as stored 2"]


def test_equal_explanations_are_told_apart(write: Write) -> None:
    path = write(
        WindowCenter=[40, 400],
        WindowWidth=[80, 1800],
        WindowCenterWidthExplanation=["WINDOW", "WINDOW"],
    )
    names = [window.name for window in stored_windows(read(path))]
    assert len(set(names)) == 2


def test_a_window_of_no_width_is_none(write: Write) -> None:
    assert stored_windows(read(write(WindowCenter=40, WindowWidth=0))) == ()


def test_a_window_that_is_half_missing_is_none(write: Write) -> None:
    assert stored_windows(read(write(WindowCenter=40))) == ()


def test_frames_of_one_file_share_theirs(write: Write) -> None:
    from pydicom import Dataset, Sequence

    voi, group = Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = 50, 101
    group.FrameVOILUTSequence = Sequence([voi])
    path = write(SharedFunctionalGroupsSequence=Sequence([group]))
    assert stored_windows(read(path)) == (Window("as stored", -0.5, 99.5),)


def test_a_series_takes_its_middle_slices(write: Write, tmp_path: Path) -> None:
    for at, width in enumerate((10, 301, 20)):
        write(f"s/{at}.dcm", z=float(at), WindowCenter=50, WindowWidth=width)
    (tmp_path / "s" / "notes.txt").write_text("not DICOM")
    (found,) = stored_windows(read(tmp_path / "s"))
    assert found.width == 300


def test_a_series_does_not_take_anothers(write: Write, tmp_path: Path) -> None:
    write("t/0.dcm", WindowCenter=1, WindowWidth=11)
    path = write("t/1.dcm", SeriesInstanceUID="1.2.3", WindowCenter=5, WindowWidth=101)
    volume = Volume.read(str(path.parent), series="1.2.3")
    assert [window.width for window in stored_windows(volume)] == [100]


def test_ct_without_a_window_starts_with_soft_tissue(write: Write) -> None:
    first = windows_for(read(write()))[0]
    assert (first.width, first.level) == (400, 40)


def test_ct_that_is_hardly_in_hu_starts_with_what_is_measured(write: Write) -> None:
    names = [w.name for w in windows_for(read(write(RescaleIntercept=0)))]
    assert names[:2] == [AUTO, FULL]
    presets_of_it = names[2:]
    assert any(name.startswith("Lung") for name in presets_of_it)
    assert all(name.endswith("(if in HU)") for name in presets_of_it)


def test_the_presets_are_what_radiologists_know() -> None:
    known = {window.name: (window.low, window.high) for window in presets("CT")}
    assert known["Brain 80/40"] == (0, 80)
    assert known["Lung 1500/-600"] == (-1350, 150)
    assert known["Mediastinum 350/50"] == (-125, 225)
    assert known["Liver 150/30"] == (-45, 105)
    assert len(known) == len(presets("CT"))
    assert presets("MR") == ()


def test_unknown_modality_is_measured() -> None:
    ramp = np.arange(10_001, dtype=np.float32).reshape(1, 73, 137)
    found = windows_for(Volume.from_array(ramp))
    assert [window.name for window in found] == [AUTO, FULL]
    assert found[0].low == pytest.approx(100, abs=2)
    assert found[0].high == pytest.approx(9900, abs=2)
    assert (found[1].low, found[1].high) == (0, 10_000)


def test_what_looks_like_hu_is_offered_the_presets_last() -> None:
    voxels = np.linspace(-1000, 1500, 1000).reshape(10, 10, 10)
    names = [window.name for window in windows_for(Volume.from_array(voxels))]
    assert names[:2] == [AUTO, FULL]
    assert "Brain 80/40 (if in HU)" in names[2:]
    assert "Brain 80/40" not in names


def test_a_large_volume_is_sampled_evenly() -> None:
    # Rows of even length: a stride in step with them would see a few columns only.
    voxels = np.tile(np.arange(512, dtype=np.int16), (4, 512, 1))
    window = auto_window(voxels)
    assert window.low == pytest.approx(5, abs=2)
    assert window.high == pytest.approx(506, abs=2)


@pytest.mark.parametrize("value", [0, 7, -3.5])
def test_a_constant_image_has_a_window(value: float) -> None:
    for window in windows_for(Volume.from_array(np.full((2, 3, 4), value))):
        assert window.low == value < window.high


def test_what_is_not_finite_is_left_out() -> None:
    voxels = np.array([[np.nan, np.inf, 1.0], [2.0, -np.inf, 3.0]])
    full = windows_for(Volume.from_array(voxels))[1]
    assert (full.low, full.high) == (1.0, 3.0)
    for window in windows_for(Volume.from_array(np.full((2, 2), np.nan))):
        assert (window.low, window.high) == (0.0, 1.0)


def test_a_few_bright_voxels_in_nothing_are_seen() -> None:
    voxels = np.zeros((10, 10, 10))
    voxels[5, 5, 5] = 9.0
    assert auto_window(voxels) == Window(AUTO, 0.0, 9.0)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (0.0, np.inf)])
def test_a_window_has_a_lower_end(ends: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="the lower one first"):
        Window("odd", *ends)


def test_width_and_level() -> None:
    window = Window.of_level("Brain", 80, 40)
    assert (window.low, window.high, window.width, window.level) == (0, 80, 80, 40)


def test_real_ct_and_mr(data_dir: Path) -> None:
    mr = windows_for(Volume.read(str(data_dir / "dicom" / "mr_t1post_oblique")))
    assert [window.name for window in mr] == ["as stored", AUTO, FULL]
    assert 0 <= mr[1].low < mr[1].high < mr[2].high
    ct = windows_for(Volume.read(str(data_dir / "dicom" / "ct_head")))
    # This series keeps air at 0 and names no window: presets in HU would be black.
    assert [window.name for window in ct[:2]] == [AUTO, FULL]
    assert "Brain 80/40 (if in HU)" in [window.name for window in ct]
