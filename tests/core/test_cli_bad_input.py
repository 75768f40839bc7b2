"""Bad input: one line that names the remedy, status 2, nothing half written.

And input that is odd but usable: a result, with a warning that says why to doubt it.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from diffseg.cli import main
from diffseg.domain import Label, LabelTable, ModelCard, Preparation, Sampling
from diffseg.models import save_model
from diffseg.networks import build_network

SHAPE = (14, 12, 10)  # i, j, k
NETWORK = {
    "name": "compact_unet",
    "dims": 3,
    "image_channels": 1,
    "classes": 3,
    "channels": [4, 8],
    "member_channels": [4, 8],
    "embedding": 8,
}


def card(**changes):
    fields = {
        "id": "tiny",
        "version": "1.0",
        "title": "Random weights",
        "method": "ensemdiff",
        "network": NETWORK,
        "labels": LabelTable(
            labels=(Label(name="anterior", value=1), Label(name="posterior", value=2))
        ),
        "preparation": Preparation(orientation="RAS", spacing_mm=(1.0, 1.0, 1.0)),
        "sampling": Sampling(members=2, steps=1),
        "modality": "T1 MRI",
        "licence": "CC0-1.0",
        "sha256": "0" * 64,
        "data": "none",
        "intended_use": "tests",
        "limits": ("random weights",),
    }
    return ModelCard(**{**fields, **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A DIFFSEG_HOME with one tiny model of random weights."""
    folder = tmp_path_factory.mktemp("home")
    config = {key: value for key, value in NETWORK.items() if key != "name"}
    network = build_network("compact_unet", **config)
    save_model(folder / "models" / "tiny" / "1.0", card(), network.state_dict())
    return folder


@pytest.fixture(autouse=True)
def desk(monkeypatch, tmp_path, home):
    """Work in an empty folder, with the tiny model among the user's."""
    monkeypatch.setenv("DIFFSEG_HOME", str(home))
    monkeypatch.delenv("DIFFSEG_DEVICE", raising=False)
    monkeypatch.chdir(tmp_path)


def voxels(shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.normal(100, 20, shape).astype(np.float32)


def nifti(path, data=None, affine=None):
    affine = np.eye(4) if affine is None else affine
    nib.save(nib.Nifti1Image(voxels() if data is None else data, affine), path)
    return str(path)


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def proposed(*argv):
    return ["propose", *argv, "--model", "tiny", "--out", "out"]


@pytest.fixture
def refused(capsys, tmp_path):
    """Run a command that must fail as the contract says; return its one line."""

    def run(argv, *said):
        before = files_below(tmp_path)
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1, err
        assert err.endswith("\n")
        for part in said:
            assert part in err, err
        assert files_below(tmp_path) == before
        assert not (tmp_path / "out").exists()
        return err

    return run


@pytest.mark.parametrize("command", [["info"], None])
def test_no_such_file(refused, command):
    argv = [*command, "none.nii.gz"] if command else proposed("none.nii.gz")
    refused(argv, "none.nii.gz", "check the path")


@pytest.mark.parametrize("command", [["info"], None])
def test_a_folder_without_images(refused, command, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing to see")
    refused([*command, "empty"] if command else proposed("empty"), "empty")


def dicom_slices(folder, uid, number):
    """One series of three slices."""
    folder.mkdir(exist_ok=True)
    for k in range(3):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID = MRImageStorage
        one.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID = "1.2.3.4", uid
        one.Modality, one.SeriesNumber, one.InstanceNumber = "MR", number, k
        one.ImagePositionPatient = [0, 0, k]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.PixelSpacing, one.SliceThickness = [1, 1], 1
        one.Rows = one.Columns = 6
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.PixelData = np.full((6, 6), 10 * k, np.int16).tobytes()
        one.save_as(folder / f"{number}_{k}.dcm", enforce_file_format=True)


@pytest.mark.parametrize("command", [["info"], None])
def test_two_series_and_no_choice_made(refused, command, tmp_path):
    dicom_slices(tmp_path / "study", "1.2.3.4.1", 1)
    dicom_slices(tmp_path / "study", "1.2.3.4.2", 2)
    argv = [*command, "study"] if command else proposed("study")
    refused(argv, "--series", "1.2.3.4.1", "1.2.3.4.2")


def test_a_series_that_is_chosen(capsys, tmp_path):
    dicom_slices(tmp_path / "study", "1.2.3.4.1", 1)
    dicom_slices(tmp_path / "study", "1.2.3.4.2", 2)
    assert main(["info", "study", "--series", "1.2.3.4.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [6, 6, 3]


@pytest.mark.parametrize("command", [["info"], None])
def test_a_truncated_gz(refused, command, tmp_path):
    path = tmp_path / "case.nii.gz"
    nifti(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    argv = [*command, "case.nii.gz"] if command else proposed("case.nii.gz")
    refused(argv, "case.nii.gz")


def test_a_truncated_gz_behind_a_good_image(refused, tmp_path):
    nifti(tmp_path / "good.nii.gz")
    path = tmp_path / "bad.nii.gz"
    nifti(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(proposed("good.nii.gz", "bad.nii.gz"), "bad.nii.gz")


def header_with(path, offset, values):
    """A NIfTI with 32-bit floats of its header overwritten."""
    nifti(path)
    content = bytearray(path.read_bytes())
    packed = np.asarray(values, "<f4").tobytes()
    content[offset : offset + len(packed)] = packed
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("step", [0.0, -1.0])
@pytest.mark.parametrize("command", [["info"], None])
def test_a_zero_or_negative_spacing(refused, command, step, tmp_path):
    mhd = (
        "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\n"
        f"ElementSpacing = {step} 1 1\nElementType = MET_UCHAR\n"
        "ElementDataFile = case.raw\n"
    )
    (tmp_path / "case.mhd").write_text(mhd)
    (tmp_path / "case.raw").write_bytes(bytes(64))
    argv = [*command, "case.mhd"] if command else proposed("case.mhd")
    refused(argv, "case.mhd", "spacing")


@pytest.mark.parametrize("command", [["info"], None])
def test_a_singular_affine(refused, command, tmp_path):
    header_with(tmp_path / "case.nii", 280, np.zeros(12))  # srow_x, srow_y, srow_z
    argv = [*command, "case.nii"] if command else proposed("case.nii")
    refused(argv, "case.nii", "singular")


def test_channels_on_different_grids(refused, tmp_path):
    nifti(tmp_path / "a.nii")
    nifti(tmp_path / "b.nii", voxels((5, 5, 5)))
    refused(proposed("a.nii;b.nii"), "a.nii", "b.nii", "grid")


def test_an_unknown_model(refused, tmp_path):
    nifti(tmp_path / "case.nii")
    argv = ["propose", "case.nii", "--model", "nonsense", "--out", "out"]
    refused(argv, "nonsense", "tiny@1.0")


def broken_model(folder, home):
    shutil.copytree(home / "models" / "tiny" / "1.0", folder)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))


def test_a_wrong_checksum(refused, tmp_path, home):
    nifti(tmp_path / "case.nii")
    broken_model(tmp_path / "mine", home)
    argv = ["propose", "case.nii", "--model", "./mine", "--out", "out"]
    refused(argv, "checksum", "model.safetensors")
    refused(["models", "verify", "./mine"], "checksum")
    refused(["models", "add", "mine", "--id", "mine"], "checksum")


def test_an_output_folder_that_is_a_file(capsys, tmp_path):
    nifti(tmp_path / "case.nii")
    (tmp_path / "out").write_text("mine")
    assert main(proposed("case.nii")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "not a folder" in err
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="needs a folder that nobody may write"
)
def test_an_output_folder_that_cannot_be_written(refused, tmp_path):
    nifti(tmp_path / "case.nii")
    argv = ["propose", "case.nii", "--model", "tiny", "--out", "/proc/self/out"]
    refused(argv, "/proc/self/out", "choose")


def test_a_full_output_folder(capsys, tmp_path, monkeypatch):
    """The disk fills up while results are written: none of them stays."""
    from diffseg.domain import report

    nifti(tmp_path / "case.nii")

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_float", full)
    assert main(proposed("case.nii")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "No space left" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--members", "0"), ("--members", "-3"), ("--steps", "0"), ("--seed", "-1")],
)
def test_impossible_numbers(refused, tmp_path, option, value):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), option, value], option[2:], f"{value}; give")


def test_members_that_are_no_number(refused, tmp_path):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), "--members", "many"], "see diffseg propose --help")


@pytest.mark.parametrize(
    "roi", ["0:99,0:4,0:4", "-1:4,0:4,0:4", "4:4,0:4,0:4", "5:2,0:4,0:4", "0:4", "a:b"]
)
def test_a_region_outside_the_image(refused, tmp_path, roi):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), f"--roi={roi}"], "region")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("hippocampus", "anterior, posterior"),
        ("anterior,tumour=absent", "anterior, posterior"),
        ("anterior=maybe", "present, absent or unknown"),
    ],
)
def test_labels_the_model_does_not_know(refused, tmp_path, labels, said):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), "--labels", labels], said)


def test_words_for_a_model_that_takes_none(refused, tmp_path):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), "--text", "the hippocampus"], "does not use text")


def test_a_frame_that_is_not_there(refused, tmp_path):
    nifti(tmp_path / "case.nii", voxels((*SHAPE, 2)))
    refused([*proposed("case.nii"), "--frame", "2"], "frame")


def test_a_region_of_two_ranges_in_a_volume(refused, tmp_path):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), "--roi=0:4,0:4"], "two ranges", "z0:z1")


def test_a_series_of_what_is_not_dicom(refused, tmp_path):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), "--series", "1.2"], "leave --series out")


@pytest.mark.parametrize("group", ["models", "recipes"])
def test_a_group_without_its_command(refused, group):
    refused([group], "no command is given", "list")


def test_two_inputs_with_one_stem(refused, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        nifti(tmp_path / name / "case.nii")
    refused(proposed("a/case.nii", "b/case.nii"), "a/case.nii", "b/case.nii")


def test_a_device_that_is_no_device(refused, tmp_path):
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), "--device", "abacus"], "abacus", "cpu")


def test_a_gpu_that_is_not_there(refused, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    nifti(tmp_path / "case.nii")
    refused([*proposed("case.nii"), "--device", "cuda"], "cuda", "--device cpu")


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
@pytest.mark.parametrize(
    ("image", "mask"), [("case.nii", "case_mask.nii.gz"), ("case.png", "case_mask.png")]
)
def test_a_mask_of_anybody_else_is_never_overwritten(
    capsys, tmp_path, image, mask, more
):
    if image.endswith(".nii"):
        nifti(tmp_path / image)
    else:
        Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(tmp_path / image)
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / mask
    mine.write_text("drawn by hand")
    assert main([*proposed(image), *more]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{mask} is in the way" in said
    assert mine.read_text() == "drawn by hand"
    assert files_below(tmp_path / "out") == [mask]


def test_results_of_an_earlier_run_only_with_overwrite(capsys, tmp_path):
    nifti(tmp_path / "case.nii")
    assert main(proposed("case.nii")) == 0
    before = (tmp_path / "out" / "case_mask.nii.gz").read_bytes()
    capsys.readouterr()
    assert main(proposed("case.nii")) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "--overwrite" in err
    assert main([*proposed("case.nii"), "--overwrite"]) == 0
    assert (tmp_path / "out" / "case_mask.nii.gz").read_bytes() == before


def test_a_failure_in_a_process_of_its_own(tmp_path):
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, diffseg.cli; sys.exit(diffseg.cli.main(sys.argv[1:]))",
            *proposed("none.nii.gz"),
        ],
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert re.fullmatch(r"diffseg propose: none\.nii\.gz[^\n]*\n", run.stderr)


@pytest.fixture
def report(capsys, tmp_path):
    """Run a proposal that must succeed; return its report."""

    def run(*argv):
        assert main([*proposed(*argv), "--json"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        (result,) = json.loads(out)["results"]
        return result

    return run


def test_a_good_image_gives_no_warning_of_doubt(report, tmp_path):
    nifti(tmp_path / "case.nii")
    found = report("case.nii")
    assert found["warnings"] == []
    assert found["members"] == 2
    assert files_below(tmp_path / "out") == [
        "case_mask.nii.gz",
        "case_probability.nii.gz",
        "case_report.json",
        "case_uncertainty.nii.gz",
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers(report, tmp_path, value):
    data = voxels()
    data[3:5, 2, 1] = value
    nifti(tmp_path / "case.nii", data)
    warnings = " ".join(report("case.nii")["warnings"])
    assert re.search("NaN|finite|[Ii]nf", warnings)
    mask = nib.load(tmp_path / "out" / "case_mask.nii.gz")
    assert mask.shape == SHAPE
    uncertainty = nib.load(tmp_path / "out" / "case_uncertainty.nii.gz").get_fdata()
    assert np.isfinite(uncertainty).all()


def test_a_constant_image(report, tmp_path):
    nifti(tmp_path / "case.nii", np.full(SHAPE, 7, np.float32))
    (warning,) = report("case.nii")["warnings"]
    assert "every voxel is 7" in warning
    assert "guess" in warning


def test_one_slice(report, tmp_path):
    nifti(tmp_path / "case.nii", voxels((14, 12, 1)))
    assert "slice" in " ".join(report("case.nii")["warnings"])
    assert nib.load(tmp_path / "out" / "case_mask.nii.gz").shape == (14, 12, 1)


def test_a_4d_image_is_taken_at_its_first_frame(report, tmp_path):
    nifti(tmp_path / "case.nii", voxels((*SHAPE, 2)))
    assert "frame" in " ".join(report("case.nii")["warnings"])


def test_members_are_written_on_request(report, tmp_path):
    nifti(tmp_path / "case.nii")
    report("case.nii", "--keep-members", "--members", "3")
    written = files_below(tmp_path / "out")
    assert [name for name in written if "_member_" in name] == [
        f"case_member_0{i}.nii.gz" for i in range(3)
    ]


def test_several_images_in_one_go(capsys, tmp_path):
    nifti(tmp_path / "a.nii")
    nifti(tmp_path / "b.nii")
    assert main(proposed("a.nii", "b.nii")) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "anterior" in out
    assert "Spread 5-95 %" in out
    assert {"a_report.json", "b_report.json"} <= set(files_below(tmp_path / "out"))


def test_info_on_a_picture(capsys, tmp_path):
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "case.png")
    assert main(["info", "case.png", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["shape"][:2] == [7, 5]
    assert about["spacing_mm"] is None
