"""A proposal's files: what they hold, and that nothing of others is ever lost."""

import errno
import json
import os

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from diffseg.domain import (
    Label,
    LabelTable,
    Proposal,
    Provenance,
    RegionReport,
    StructureReport,
    report,
)
from diffseg.domain.outputs import aside, entry, move_in, told
from diffseg.domain.report import (
    check_writable,
    gives_pictures,
    output_names,
    save_proposal,
)
from diffseg.errors import UserError
from diffseg.volume import Affine, Volume

AFFINE = Affine(
    np.array([[0, 0, 2, -9], [-1, 0, 0, 4], [0, 1.5, 0, 3], [0, 0, 0, 1.0]])
)


def table(classes):
    return LabelTable(
        labels=tuple(Label(name=f"part {i}", value=i) for i in range(1, classes + 1))
    )


def proposal_of(volume, classes=2, members=None, **changes):
    shape = volume.shape
    rng = np.random.default_rng(0)
    probability = rng.random((classes, *shape), dtype=np.float32) / classes
    fields = {
        "mask": rng.integers(0, classes + 1, shape).astype(np.uint8),
        "probability": probability,
        "uncertainty": rng.random(shape, dtype=np.float32),
        "labels": table(classes),
        "grid": volume.grid,
        "source": volume.source,
        "provenance": Provenance(
            model={
                "id": "tiny",
                "version": "1",
                "sha256": "0" * 64,
                "licence": "CC0-1.0",
                "calibration": None,
            },
            seed=3,
            members=4,
            steps=1,
            device="cpu",
            threads=2,
            seconds={"load": 0.1, "prepare": 0.2, "sample": 0.3},
        ),
        "structures": (StructureReport("part 1", 1, 8, 0.1, 0.09, 0.12, 0.9),),
        "regions": (
            RegionReport("left", ((0, 2), (1, 3), (2, 4)), "template", {"part 1": 0.1}),
        ),
        "mutual_information_mean": 0.01,
        "members": members,
        "warnings": ("taken with care",),
    }
    return Proposal(**(fields | changes))


@pytest.fixture
def volume():
    return Volume.from_array(
        np.arange(60, dtype=np.float32).reshape(3, 4, 5), affine=AFFINE, name="case"
    )


@pytest.fixture
def raster(tmp_path):
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    Image.fromarray(np.arange(30, dtype=np.uint8).reshape(5, 6)).save(path)
    return Volume.read(path)


def check(folder, volume, labels, **options):
    raster = gives_pictures(volume.grid, volume.source)
    check_writable(folder, volume.source.stem, labels, raster=raster, **options)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def data_of(path):
    return np.asarray(nib.load(path).dataobj)


# --- the report --------------------------------------------------------------


def test_report_has_the_keys_that_others_read(volume):
    content = proposal_of(volume).report()
    assert {
        "model",
        "seed",
        "members",
        "steps",
        "device",
        "threads",
        "seconds",
        "structures",
        "mutual_information_mean",
        "warnings",
    } <= set(content)
    assert set(content["model"]) == {
        "id",
        "version",
        "sha256",
        "licence",
        "calibration",
    }
    assert content["seconds"] == {
        "load": 0.1,
        "prepare": 0.2,
        "sample": 0.3,
        "write": None,
    }
    assert content["structures"] == [
        {
            "name": "part 1",
            "label": 1,
            "voxels": 8,
            "volume_ml": 0.1,
            "volume_ml_p05": 0.09,
            "volume_ml_p95": 0.12,
            "expected_dice": 0.9,
            "predicted_dice": None,
            "predicted_dice_p05": None,
            "predicted_dice_p95": None,
        }
    ]
    assert content["regions"] == [
        {
            "name": "left",
            "box": [[0, 2], [1, 3], [2, 4]],
            "found_by": "template",
            "volume_ml": {"part 1": 0.1},
        }
    ]
    assert "spread" in content["interval"]
    assert content["warnings"] == ["taken with care"]


# --- volumes -----------------------------------------------------------------


def test_several_classes_are_written_with_classes_last(volume, tmp_path):
    proposal = proposal_of(volume, members=np.ones((2, 3, 4, 5), np.uint8))
    content = proposal.save(tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    assert names_in(out) == [
        "case_mask.nii.gz",
        "case_member_00.nii.gz",
        "case_member_01.nii.gz",
        "case_probability.nii.gz",
        "case_report.json",
        "case_uncertainty.nii.gz",
    ]
    np.testing.assert_array_equal(data_of(out / "case_mask.nii.gz").T, proposal.mask)
    probability = data_of(out / "case_probability.nii.gz")
    assert probability.shape == (5, 4, 3, 2)
    assert probability.dtype == np.float32
    np.testing.assert_array_equal(probability[..., 1].T, proposal.probability[1])
    uncertainty = nib.load(out / "case_uncertainty.nii.gz")
    np.testing.assert_array_equal(
        np.asarray(uncertainty.dataobj).T, proposal.uncertainty
    )
    np.testing.assert_allclose(uncertainty.affine, AFFINE.matrix, atol=1e-6)
    stored = json.loads((out / "case_report.json").read_text())
    assert stored == content
    assert stored["seconds"]["write"] > 0
    assert [one["name"] for one in stored["files"]] == [
        "case_mask.nii.gz",
        "case_probability.nii.gz",
        "case_uncertainty.nii.gz",
        "case_member_00.nii.gz",
        "case_member_01.nii.gz",
    ]
    for one in stored["files"]:
        assert (out / one["name"]).stat().st_size == one["bytes"]


def test_one_class_is_three_dimensional(volume, tmp_path):
    proposal = proposal_of(volume, classes=1)
    proposal.save(tmp_path)
    probability = data_of(tmp_path / "case_probability.nii.gz")
    np.testing.assert_array_equal(probability.T, proposal.probability[0])


def test_the_same_proposal_gives_the_same_bytes(volume, tmp_path):
    proposal = proposal_of(volume)
    first, second = (proposal.save(tmp_path / name)["files"] for name in "ab")
    assert first == second


# --- rasters -----------------------------------------------------------------


def test_raster_of_one_class(raster, tmp_path):
    proposal = proposal_of(raster, classes=1)
    proposal.save(tmp_path / "out")
    assert names_in(tmp_path / "out") == [
        "photo_mask.png",
        "photo_probability_part 1.png",
        "photo_report.json",
        "photo_uncertainty.png",
    ]
    mask = np.asarray(Image.open(tmp_path / "out" / "photo_mask.png"))
    np.testing.assert_array_equal(mask, proposal.mask[0] * 255)
    stored = np.asarray(Image.open(tmp_path / "out" / "photo_uncertainty.png"))
    np.testing.assert_allclose(stored / 65535, proposal.uncertainty[0], atol=1e-5)
    assert stored.max() > 255  # 16 bit


def test_raster_of_several_classes(raster, tmp_path):
    proposal = proposal_of(raster, classes=3)
    proposal.save(tmp_path / "out")
    mask = np.asarray(Image.open(tmp_path / "out" / "photo_mask.png"))
    np.testing.assert_array_equal(mask, proposal.mask[0])
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    for index in range(3):
        path = tmp_path / "out" / f"photo_probability_part {index + 1}.png"
        stored = np.asarray(Image.open(path)) / 65535
        np.testing.assert_allclose(stored, proposal.probability[index, 0], atol=1e-5)


def test_raster_masks_do_not_depend_on_what_was_found(raster, tmp_path):
    first = (np.arange(30).reshape(1, 5, 6) % 2).astype(np.uint8)
    proposal_of(raster, classes=2, mask=first).save(tmp_path / "two")
    two = np.asarray(Image.open(tmp_path / "two" / "photo_mask.png"))
    np.testing.assert_array_equal(two, first[0])  # class 1 of two stays 1
    seven = LabelTable(labels=(Label(name="lesion", value=7),))
    proposal_of(raster, classes=1, mask=first * 7, labels=seven).save(tmp_path / "one")
    one = np.asarray(Image.open(tmp_path / "one" / "photo_mask.png"))
    np.testing.assert_array_equal(one, first[0] * 255)


def test_raster_of_several_planes_is_a_volume(tmp_path):
    folder = tmp_path / "stack"
    folder.mkdir()
    for index in range(3):
        plane = np.full((5, 6), index, np.uint8)
        Image.fromarray(plane).save(folder / f"{index}.png")
    stack = Volume.read(folder)
    assert stack.source.is_raster
    proposal = proposal_of(stack)
    proposal.save(tmp_path / "out")
    mask = data_of(tmp_path / "out" / "stack_mask.nii.gz")
    np.testing.assert_array_equal(mask.T, proposal.mask)


def test_names_are_safe_and_distinct():
    labels = LabelTable(
        labels=(Label(name="left/right", value=1), Label(name="left:right", value=4))
    )
    names = output_names("case", labels, raster=True).probability
    assert names == (
        "case_probability_left-right_1.png",
        "case_probability_left-right_4.png",
    )


# --- what is in the way ------------------------------------------------------


def test_ours_is_replaced_only_on_demand(volume, tmp_path):
    proposal_of(volume, members=np.ones((2, 3, 4, 5), np.uint8)).save(tmp_path)
    with pytest.raises(UserError, match="--overwrite"):
        proposal_of(volume).save(tmp_path)
    assert len(names_in(tmp_path)) == 6
    empty = proposal_of(volume, mask=np.zeros((3, 4, 5), np.uint8))
    empty.save(tmp_path, overwrite=True)
    assert not data_of(tmp_path / "case_mask.nii.gz").any()
    # The members of the earlier run went with it.
    assert names_in(tmp_path) == [
        "case_mask.nii.gz",
        "case_probability.nii.gz",
        "case_report.json",
        "case_uncertainty.nii.gz",
    ]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["case_mask.nii.gz", "case_report.json"])
def test_what_is_not_ours_is_never_overwritten(volume, tmp_path, name, overwrite):
    theirs = tmp_path / name
    theirs.write_text('{"files": []}')
    with pytest.raises(UserError, match=name):
        proposal_of(volume).save(tmp_path, overwrite=overwrite)
    assert theirs.read_text() == '{"files": []}'
    assert names_in(tmp_path) == [name]


def test_a_mask_that_a_person_changed_is_not_overwritten(volume, tmp_path):
    proposal_of(volume).save(tmp_path)
    mask = tmp_path / "case_mask.nii.gz"
    mask.write_bytes(b"corrected" + mask.read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="changed since"):
        proposal_of(volume).save(tmp_path, overwrite=True)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_report_cannot_claim_files_elsewhere(volume, tmp_path):
    out = tmp_path / "out"
    proposal_of(volume).save(out)
    outside = tmp_path / "precious.txt"
    outside.write_text("keep")
    stored = json.loads((out / "case_report.json").read_text())
    stored["files"].append({**entry(outside), "name": "../precious.txt"})
    (out / "case_report.json").write_text(json.dumps(stored))
    proposal_of(volume).save(out, overwrite=True)
    assert outside.read_text() == "keep"


def test_check_before_the_work(volume, tmp_path):
    labels = table(2)
    check(tmp_path / "a" / "b", volume, labels)
    assert names_in(tmp_path) == []  # nothing was created
    proposal_of(volume).save(tmp_path)
    check(tmp_path, volume, labels, overwrite=True)
    with pytest.raises(UserError, match="--overwrite"):
        check(tmp_path, volume, labels)
    with pytest.raises(UserError, match="not a folder"):
        check(tmp_path / "case_report.json", volume, labels)
    with pytest.raises(UserError, match="not a folder"):
        check(tmp_path / "case_report.json" / "x", volume, labels)
    other = Volume.from_array(np.zeros((2, 2, 2), np.float32), name="other")
    (tmp_path / "other_member_01.nii.gz").write_bytes(b"")
    check(tmp_path, other, labels)
    with pytest.raises(UserError, match="other_member_01"):
        check(tmp_path, other, labels, members=2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(volume, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write into"):
        check(tmp_path, volume, table(1))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc here")
def test_folder_where_nothing_can_be_made(volume):
    with pytest.raises(UserError, match="cannot write into /proc/out"):
        check("/proc/out", volume, table(1))
    with pytest.raises(UserError, match="cannot write into /proc/out"):
        proposal_of(volume).save("/proc/out")


# --- failures half way -------------------------------------------------------


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def fail_at(monkeypatch, module, name, call, error=full):
    real, calls = getattr(module, name), []

    def wrapped(*args, **kwargs):
        calls.append(args)
        return error() if len(calls) == call else real(*args, **kwargs)

    monkeypatch.setattr(module, name, wrapped)


def test_full_disk_leaves_nothing(volume, tmp_path, monkeypatch):
    fail_at(monkeypatch, report, "write_float", 2)
    with pytest.raises(UserError, match="No space left") as told_user:
        proposal_of(volume).save(tmp_path / "new" / "out")
    assert str(tmp_path / "new" / "out") in str(told_user.value)
    assert "\n" not in str(told_user.value)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("call", range(1, 9))
def test_failure_while_renaming_puts_everything_back(
    volume, tmp_path, monkeypatch, call
):
    proposal_of(volume).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 4
    hidden = tmp_path / ".aside"
    hidden.mkdir()
    for name in before:
        (hidden / name).write_bytes(b"new")
    fail_at(monkeypatch, os, "replace", call)
    with pytest.raises(OSError, match="No space left"):
        move_in(hidden, tmp_path, sorted(before), frozenset(before))
    after = {
        path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()
    }
    assert after == before


def test_interrupt_leaves_the_earlier_run(volume, tmp_path, monkeypatch):
    proposal_of(volume).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupt():
        raise KeyboardInterrupt

    fail_at(monkeypatch, report, "write_float", 1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        proposal_of(volume).save(tmp_path, overwrite=True)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_messages_name_the_folder_and_not_the_hidden_one(tmp_path):
    with (
        pytest.raises(UserError) as told_user,
        told(tmp_path),
        aside(tmp_path) as inner,
    ):
        raise UserError(f"cannot write into {inner}: it is full")
    assert str(told_user.value) == f"cannot write into {tmp_path}: it is full"


def test_a_file_that_comes_meanwhile_is_not_overwritten(volume, tmp_path, monkeypatch):
    real = report.write_float

    def meanwhile(*args, **kwargs):
        (tmp_path / "case_uncertainty.nii.gz").write_bytes(b"theirs")
        return real(*args, **kwargs)

    monkeypatch.setattr(report, "write_float", meanwhile)
    with pytest.raises(UserError, match="case_uncertainty"):
        save_proposal(proposal_of(volume), tmp_path)
    assert names_in(tmp_path) == ["case_uncertainty.nii.gz"]
    assert (tmp_path / "case_uncertainty.nii.gz").read_bytes() == b"theirs"
