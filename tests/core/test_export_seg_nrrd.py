"""``.seg.nrrd``: as Slicer writes it, read by others, and Slicer's own read by us."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from diffseg import UserError
from diffseg.domain import Label, LabelTable
from diffseg.project.exporting import ExportCase, read_seg_nrrd, write_seg_nrrd
from diffseg.volume import Affine, Grid, Volume

TABLE = LabelTable(
    labels=(
        Label(name="vordere Läsion", value=3, code="SCT:52988006", color="#0072B2"),
        Label(name="b", value=200, color="#00FF80"),
        Label(name="nothing", value=5),
    )
)
SLICER = (
    "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^123037004^Anatomical Structure~{}~^^~Anatomic codes - DICOM master list"
    "~^^~^^|"
)


def oblique() -> Affine:
    """Turned about two axes, left-handed, anisotropic and off the origin."""
    a, b = np.radians([21.0, -34.0])
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    then = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn = first @ then @ np.diag([-1.0, 1, 1])
    return Affine.from_parts((0.7, 1.3, 2.9), (-17.25, 44.5, 101.125), turn)


def case_of(affine: Affine | None = None, **given: Any) -> ExportCase:
    """A mask that no flip and no swap of axes or classes leaves as it is."""
    mask = np.zeros((4, 5, 6), np.uint8)
    noise = np.random.default_rng(2).random(mask.shape)
    mask[noise > 0.7] = 3
    mask[0, 1:3, 2:6] = 200
    volume = Volume.from_array(mask, oblique() if affine is None else affine)
    return ExportCase("case", mask, TABLE, volume.grid, volume.source, **given)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_seg_nrrd(tmp_path / "case.seg.nrrd", case_of())
    return tmp_path / "case.seg.nrrd"


def test_simpleitk_finds_every_voxel_where_it_is(written: Path) -> None:
    case = case_of()
    image = sitk.ReadImage(str(written))

    assert image.GetPixelID() == sitk.sitkUInt8
    for k, j, i in itertools.product(*map(range, case.mask.shape)):
        ras = case.grid.affine @ np.array([i, j, k], float)
        lps = image.TransformIndexToPhysicalPoint((i, j, k))
        assert np.abs(np.array(lps) - ras * (-1, -1, 1)).max() < 1e-4
        assert image[i, j, k] == case.mask[k, j, i]


def test_pynrrd_reads_the_same_and_the_space_is_lps(written: Path) -> None:
    nrrd = pytest.importorskip("nrrd", reason="pynrrd is not installed")
    case = case_of()
    voxels, header = nrrd.read(str(written))

    assert header["space"] == "left-posterior-superior"
    assert header["encoding"] == "gzip"
    assert (voxels == case.mask.transpose(2, 1, 0)).all()
    lps = np.eye(4)
    lps[:3, :3] = np.array(header["space directions"]).T
    lps[:3, 3] = header["space origin"]
    assert Affine.from_lps(lps).is_close(case.grid.affine, atol=1e-4)


def test_the_header_tells_each_segment(written: Path) -> None:
    image = sitk.ReadImage(str(written))
    told = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}

    assert told["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert told["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert told["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert told["Segment0_Name"] == "vordere Läsion"
    assert told["Segment0_ID"] == "Segment_3"
    assert told["Segment0_LabelValue"] == "3"
    assert told["Segment1_Layer"] == "0"
    assert told["Segment1_Extent"] == "2 5 1 2 0 0"
    assert told["Segment2_Extent"] == "0 -1 0 -1 0 -1"
    assert [float(one) for one in told["Segment1_Color"].split()] == pytest.approx(
        [0, 1, 128 / 255], abs=1e-5
    )
    abnormal = "SCT^49755003^Morphologically Abnormal Structure"
    assert f"~{abnormal}~SCT^52988006^Lesion~^^~" in told["Segment0_Tags"]
    assert "~SCT^85756007^Tissue~SCT^85756007^Tissue~" in told["Segment1_Tags"]


def test_there_and_back(written: Path) -> None:
    case = case_of()

    mask, labels, grid = read_seg_nrrd(written)

    assert (mask == case.mask).all()
    assert grid.affine.is_close(case.grid.affine, atol=1e-4)
    assert labels == TABLE
    again, _, same = read_seg_nrrd(written, like=case.grid)
    assert (again == case.mask).all()
    assert same is case.grid


def test_equal_input_gives_equal_bytes(written: Path, tmp_path: Path) -> None:
    write_seg_nrrd(tmp_path / "again.seg.nrrd", case_of())

    assert (tmp_path / "again.seg.nrrd").read_bytes() == written.read_bytes()


def test_what_it_cannot_hold_is_refused(tmp_path: Path) -> None:
    sheared = oblique().matrix.copy()
    sheared[:3, 2] += 0.3 * sheared[:3, 1]
    with pytest.raises(UserError, match="not perpendicular"):
        write_seg_nrrd(tmp_path / "a.seg.nrrd", case_of(Affine(sheared)))
    mask = np.zeros((1, 4, 4), np.uint8)
    plain = Volume.from_array(mask)
    with pytest.raises(UserError, match="no millimetres"):
        write_seg_nrrd(
            tmp_path / "a.seg.nrrd",
            ExportCase("a", mask, TABLE, plain.grid, plain.source),
        )
    with pytest.raises(UserError, match="ends in"):
        write_seg_nrrd(tmp_path / "a.nrrd", case_of())
    assert not list(tmp_path.iterdir())


def test_sides_that_are_a_guess_are_said_to_be_one(tmp_path: Path) -> None:
    case = case_of()
    grid = Grid(case.grid.shape, case.grid.affine, has_sides=False)
    guess = ExportCase("a", case.mask, TABLE, grid, case.source)

    (note,) = write_seg_nrrd(tmp_path / "a.seg.nrrd", guess)

    assert "which side is left" in note


def slicer_file(
    path: Path, layers: list[NDArray[np.uint8]], segments: list[dict[str, str]]
) -> Path:
    """A file as Slicer saves it: layers first, cropped to an offset of (2, 1, 1)."""
    part = Grid((4, 5, 6), oblique()).cropped(((1, 4), (1, 5), (2, 6)))
    lps = np.diag([-1.0, -1, 1, 1]) @ part.affine.matrix
    columns = [f"({x!r},{y!r},{z!r})" for x, y, z in lps[:3].T.tolist()]
    z, y, x = layers[0].shape
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        "type: unsigned char",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: {len(layers)} {x} {y} {z}",
        f"space directions: none {' '.join(columns[:3])}",
        "kinds: list domain domain domain",
        "encoding: gzip",
        f"space origin: {columns[3]}",
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=2 1 1",
    ]
    for index, segment in enumerate(segments):
        lines += [f"Segment{index}_{key}:={value}" for key, value in segment.items()]
    voxels = np.stack(layers, axis=-1)
    head = "\n".join(lines) + "\n\n"
    path.write_bytes(head.encode() + gzip.compress(voxels.tobytes()))
    return path


def two_layers(overlap: bool) -> list[NDArray[np.uint8]]:
    first, second = np.zeros((2, 3, 4, 4), np.uint8)
    first[0, 0, :3], first[2, 3, 3] = 1, 2
    second[1, 2, 1:3] = 1
    second[0, 0, 2] = overlap
    return [first, second]


SEGMENTS = [
    {"ID": "Segment_1", "Name": "cyst", "Color": "1 0.5 0", "LabelValue": "1",
     "Layer": "0", "Tags": SLICER.format("SCT^367643001^Cyst")},
    {"ID": "Segment_2", "Name": "cyst", "Color": "0 0 1", "LabelValue": "2",
     "Layer": "0", "Tags": SLICER.format("SCT^85756007^Tissue")},
    {"ID": "Segment_3", "Name": "c", "LabelValue": "1", "Layer": "1", "Tags": ""},
]  # fmt: skip


def test_layers_of_slicers_are_put_into_one_mask_on_the_image(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "s.seg.nrrd", two_layers(False), SEGMENTS)

    mask, labels, _ = read_seg_nrrd(path, like=Grid((4, 5, 6), oblique()))

    wanted = np.zeros((4, 5, 6), np.uint8)
    wanted[1, 1, 2:5], wanted[3, 4, 5], wanted[2, 3, 3:5] = 1, 2, 3
    assert (mask == wanted).all()
    assert labels.names == ("cyst", "cyst (2)", "c")
    assert labels.values == (1, 2, 3)  # 1 stands for two segments in the file
    assert [one.code for one in labels.each()] == ["SCT:367643001", None, None]
    assert labels.labels[0].color == "#FF8000"
    assert read_seg_nrrd(path)[2].shape == (3, 4, 4)


def test_a_file_of_before_layers_has_one_for_each_segment(tmp_path: Path) -> None:
    old = [{"ID": name, "Name": name} for name in "ab"]
    first, second = np.zeros((2, 3, 4, 4), np.uint8)
    first[0, 0, 0], second[2, 3, 3] = 1, 1

    mask, labels, _ = read_seg_nrrd(
        slicer_file(tmp_path / "s.seg.nrrd", [first, second], old)
    )

    assert mask[0, 0, 0] == 1
    assert mask[2, 3, 3] == 2
    assert np.count_nonzero(mask) == 2
    assert labels.names == ("a", "b")


def test_segments_that_overlap_are_refused_by_name(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "s.seg.nrrd", two_layers(True), SEGMENTS)

    with pytest.raises(UserError, match="'cyst' and 'c' overlap in 1 voxels") as told:
        read_seg_nrrd(path)
    assert "\n" not in str(told.value)


def test_another_grid_is_refused(tmp_path: Path) -> None:
    path = slicer_file(tmp_path / "s.seg.nrrd", two_layers(False), SEGMENTS)
    grid = Grid((4, 5, 6), oblique())
    half = grid.affine.matrix.copy()
    half[:3, 3] += 0.5 * half[:3, 0]
    flipped, _ = grid.reoriented(
        "".join({"L": "R", "R": "L"}.get(one, one) for one in grid.affine.orientation)
    )

    for other, words in (
        (Grid((4, 5, 6), Affine(half)), "not those of the image"),
        (flipped, "not those of the image"),
        (grid.cropped(((2, 4), (0, 5), (0, 6))), "lies outside the image"),
    ):
        with pytest.raises(UserError, match=words):
            read_seg_nrrd(path, like=other)


def test_a_mask_without_segments_and_a_file_that_is_none_are_refused(
    tmp_path: Path,
) -> None:
    case = case_of()
    sitk.WriteImage(sitk.GetImageFromArray(case.mask), str(tmp_path / "m.nrrd"))
    with pytest.raises(UserError, match="no segments"):
        read_seg_nrrd(tmp_path / "m.nrrd")
    (tmp_path / "x.seg.nrrd").write_text("NRRD0004\nnonsense")
    with pytest.raises(UserError, match="not readable as NRRD"):
        read_seg_nrrd(tmp_path / "x.seg.nrrd")
    bad = [{"ID": "a", "Name": "a", "Layer": "zero"}]
    path = slicer_file(tmp_path / "b.seg.nrrd", two_layers(False), bad)
    with pytest.raises(UserError, match="text where numbers belong"):
        read_seg_nrrd(path)


def test_a_case_is_named_and_labelled_as_it_must_be() -> None:
    case = case_of()
    for name in ("a/b", "", "  ", "a\nb"):
        with pytest.raises(UserError, match="cannot name a file"):
            ExportCase(name, case.mask, TABLE, case.grid, case.source)
    strange = case.mask.copy()
    strange[0, 0, 0] = 77
    with pytest.raises(UserError, match=r"\[77\] are not labels"):
        ExportCase("a", strange, TABLE, case.grid, case.source)
