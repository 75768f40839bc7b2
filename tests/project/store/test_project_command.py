"""``diffseg project``: what is printed, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from diffseg.cli import app
from diffseg.project import store

Run = Callable[..., Any]
Masks = Callable[..., NDArray[np.uint8]]
Images = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("registered")


@pytest.fixture
def place(tmp_path: Path, told: Run, write_image: Images) -> Path:
    """A project of two cases."""
    folder = tmp_path / "study"
    told("create", folder)
    images = [
        write_image(tmp_path / f"{name}.nii.gz", i) for i, name in enumerate("ab")
    ]
    added = told("add", folder, *images)
    assert [case["name"] for case in added["cases"]] == ["a", "b"]
    return folder


def correct(folder: Path, name: str, mask: NDArray[np.uint8]) -> None:
    with store.open_project(folder) as project:
        case = store.find_case(project, name)
        store.add_correction(project, case.id, mask, annotator="anna")


def test_a_project_from_its_making_to_its_export(
    place: Path, told: Run, mask_of: Masks, tmp_path: Path
) -> None:
    said = told("label", place, "a", "liver,spleen=absent")
    assert said["labels"] == {"liver": "present", "spleen": "absent"}
    said = told("label", place, "a", "spleen", "--slices", "1:3", "--annotator", "bo")
    assert said["said"][0]["slices"] == [1, 3]
    assert said["labels"]["spleen"] == "present"
    said = told("label", place, "a", "--undo", "--annotator", "bo")
    assert said["labels"]["spleen"] == "absent"
    correct(place, "a", mask_of(1, 2))
    listed = told("list", place, "--sort", "versions", "--reverse")
    assert [case["name"] for case in listed["cases"]] == ["a", "b"]
    assert listed["states"]["not_started"] == 2
    assert [label["name"] for label in listed["labels"]] == ["liver", "spleen"]
    assert told("list", place, "--search", "B")["total"] == 1
    entries = told("audit", place, "--case", "a")["entries"]
    actions = ["add", "label", "label", "label", "unlabel", "correct"]
    assert [entry["action"] for entry in entries] == actions
    assert entries[-1]["voxels"] == 12
    assert told("check", place) == {
        "sound": True, "cases": 2, "files": 1, "findings": [],
    }  # fmt: skip
    made = told("export", place, "--format", "nifti", "--out", tmp_path / "out")
    assert made["cases"] == ["a"]
    assert made["without_mask"] == ["b"]
    voxels = np.asarray(nib.load(tmp_path / "out" / "a_mask.nii.gz").dataobj)
    np.testing.assert_array_equal(voxels.T, mask_of(1, 2))


def test_a_table_is_given_or_a_models(tmp_path: Path, told: Run, refused: Run) -> None:
    made = told("create", tmp_path / "one", "--labels", "left, right=7")
    assert made["labels"] == ["left", "right"]
    made = told("create", tmp_path / "two", "--model", "hippocampus-mri")
    assert made["labels"] == ["anterior", "posterior"]
    for wrong in ("left=0", "left=256", "=1", "left,left", "a=1,b=1"):
        assert "--labels" in refused("create", tmp_path / "no", "--labels", wrong)
    assert "not an empty folder" in refused("create", tmp_path / "one")


def test_an_image_that_changed_is_taken_again(
    place: Path, told: Run, write_image: Images, tmp_path: Path
) -> None:
    changed = write_image(tmp_path / "a.nii.gz", 9)
    (finding,) = told("check", place)["findings"]
    assert (finding["trouble"], finding["damage"]) == ("source", False)
    assert "--again 'a'" in finding["what"]
    told("add", place, changed, "--again", "a")
    assert told("check", place)["findings"] == []


def test_what_is_missing_is_told_and_repaired_as_far_as_can_be(
    place: Path, told: Run, mask_of: Masks
) -> None:
    correct(place, "a", mask_of(1))
    (mask,) = place.rglob("c-*.nii.gz")
    mask.with_name("whose.nii.gz").write_bytes(mask.read_bytes())
    mask.unlink()
    health = told("check", place, status=3)
    assert not health["sound"]
    assert [one["trouble"] for one in health["findings"]] == ["missing", "orphan"]
    after = told("recover", place, status=3)
    assert [one["trouble"] for one in after["findings"]] == ["missing"]
    assert len(after["done"]) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["list", "nowhere"], "is not a project"),
        (["list", "{}", "--sort", "size"], "sort by one of"),
        (["list", "{}", "--state", "lost"], "is not one of"),
        (["label", "{}", "c", "liver"], "no case 'c'"),
        (["label", "{}", "a"], "say NAME"),
        (["label", "{}", "a", "liver", "--undo"], "--undo alone"),
        (["label", "{}", "a", "--undo"], "has said nothing"),
        (["label", "{}", "a", "liver=maybe"], "present, absent or unknown"),
        (["label", "{}", "a", "liver", "--slices", "3"], "are not a:b"),
        (["label", "{}", "a", "liver", "--slices", "3:9"], "0:6"),
        (["add", "{}", "no.nii.gz"], "no such file"),
        (["add", "{}", "a.nii.gz", "b.nii.gz", "--name", "c"], "one image"),
        (["audit", "{}", "--case", "c"], "no case 'c'"),
        (["export", "{}", "--out", "out"], "no case has a mask"),
        (["recover", "nowhere"], "not a project"),
        (["queue", "{}", "--strategy", "entropi"], "entropy"),
        (["queue", "{}", "--at", "a"], "give both"),
        (["queue", "{}", "--next", "--followed"], "different questions"),
        (["queue", "{}", "--state", "lost"], "is not one of"),
        (["review", "{}", "c"], "no case 'c'"),
        (["review", "{}", "a", "--state", "lost"], "is not one of"),
        (["review", "{}", "a", "--seen", "4:9"], "slices 4 to 8 of 0 to 5"),
        (["review", "{}", "a", "--seen", "4"], "are not a:b"),
        (["review", "{}", "a", "--state", "done", "--second"], "is not done"),
        (["propose", "{}", "--model", "no-such-model"], "no-such-model"),
        (["propose", "{}", "--model", "hippocampus-mri", "--cases", "c"], "no case"),
        (["agreement", "{}"], "no labels yet"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    place: Path, refused: Run, args: list[str], said: str
) -> None:
    assert said in refused(*[arg.format(place) for arg in args])


@pytest.mark.parametrize(
    "command",
    [
        "create",
        "add",
        "label",
        "list",
        "queue",
        "propose",
        "review",
        "agreement",
        "audit",
        "check",
        "recover",
        "export",
    ],
)
def test_help_shows_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["project", command, "--help"]) == 0
    assert f"Example: diffseg project {command}" in capsys.readouterr().out
