"""``diffseg project`` queue, propose, review and agreement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffseg import models, segmenters
from diffseg.domain import Proposal, Request
from diffseg.progress import Progress, Work
from diffseg.project import store
from diffseg.project.store import Project, Role

Run = Callable[..., Any]
Make = Callable[..., Proposal]

pytestmark = pytest.mark.usefixtures("registered")


@pytest.fixture
def place(study: Project) -> Path:
    """Folder of the project."""
    return study.folder


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, make: Make) -> SimpleNamespace:
    """A model m: the later its case by name, the less sure it is."""
    card: Any = SimpleNamespace(
        id="m", version="1", sha256="ab" * 32, labels=make().labels,
        capabilities=frozenset({"labels"}),
    )  # fmt: skip

    class Fake:
        def __init__(self) -> None:
            self.card = card

        def iter_propose(self, request: Request) -> Work[Proposal]:
            yield Progress("sample", 0, 1)
            sure = 0.95 - 0.1 * "abcd".index(request.volume.name)
            return replace(make(sure, seed=request.seed), source=request.volume.source)

    loaded: list[tuple[str, str]] = []

    def load(name: str, device: str) -> Fake:
        loaded.append((name, device))
        return Fake()

    monkeypatch.setattr(models, "find_model", lambda name: SimpleNamespace(card=card))
    monkeypatch.setattr(segmenters, "load_segmenter", load)
    return SimpleNamespace(card=card, loaded=loaded)


def test_propose_queue_and_review(place: Path, told: Run, model: Any) -> None:
    made = told("propose", place, "--model", "m", "--cases", "a,b", "--device", "cpu")
    assert model.loaded == [("m", "cpu")]
    assert [one["case"] for one in made["proposals"]] == ["a", "b"]
    assert made["proposals"][0]["model"]["sha256"] == "ab" * 32
    assert (made["skipped"], made["notes"]) == ([], [])
    made = told("propose", place, "--model", "m")
    assert made["skipped"] == ["a", "b"]
    assert [one["case"] for one in made["proposals"]] == ["c", "d"]
    assert len(told("propose", place, "--model", "m", "--again")["proposals"]) == 4

    waiting = told("queue", place, "--strategy", "expected_dice")
    assert [one["name"] for one in waiting["cases"]] == ["d", "c", "b", "a"]
    assert (waiting["total"], waiting["seed"]) == (4, 0)
    errors = waiting["cases"][0]["expected_errors"]
    assert set(errors) == {"anterior", "posterior"}
    assert waiting["cases"][0]["mutual_information"] is None
    some = told("queue", place, "--limit", 1, "--strategy", "entropy", "--seed", 3)
    assert (some["cases"][0]["name"], some["seed"], some["total"]) == ("d", 3, 4)

    said = told("review", place, "d", "--state", "done", "--comment", "blurred")
    assert (said["state"], said["comment"]) == ("done", "blurred")
    assert told("review", place, "d")["state"] == "done"
    waiting = told("queue", place)
    assert "d" not in [one["name"] for one in waiting["cases"]]
    told("review", place, "c", "--state", "flagged")
    flagged = told("queue", place, "--state", "flagged")
    assert [one["name"] for one in flagged["cases"]] == ["c"]


def test_advice_is_given_followed_and_counted(
    place: Path, told: Run, model: Any
) -> None:
    told("propose", place, "--model", "m")
    ask = ("queue", place, "--next", "--annotator", "bo", "--strategy", "entropy")
    first = told(*ask)["advice"]
    assert (first["case"], first["slice"], first["strategy"]) == ("d", 1, "entropy")
    said = told("review", place, "d", "--seen", "1:2", "--annotator", "bo")
    assert (said["seen"], said["state"]) == ([1], "not_started")
    second = told(*ask, "--at", "d")["advice"]
    assert (second["case"], second["slice"], second["strategy"]) == ("d", 2, "wrong")
    told("review", place, "d", "--state", "done", "--annotator", "bo")
    told(*ask)
    told("review", place, "a", "--state", "done", "--annotator", "bo")
    shares = told("queue", place, "--followed")["strategies"]
    assert shares["wrong"] == {"given": 1, "answered": 1, "followed": 1, "share": 1.0}
    # The first was replaced by the second; the last one was not followed.
    assert shares["entropy"] == {
        "given": 2, "answered": 1, "followed": 0, "share": 0.0,
    }  # fmt: skip
    for name in "bc":
        told("review", place, name, "--state", "done")
    assert told(*ask)["advice"] is None


def test_a_case_is_read_twice_and_compared(
    place: Path, study: Project, told: Run, refused: Run, model: Any
) -> None:
    told("propose", place, "--model", "m", "--cases", "a")
    told("review", place, "a", "--state", "done", "--annotator", "anna")
    second = ("--state", "done", "--second", "--annotator")
    assert "has read this case" in refused("review", place, "a", *second, "anna")
    waiting = told("queue", place, "--second", "--annotator", "bo")
    assert [one["name"] for one in waiting["cases"]] == ["a"]
    told(
        "review", place, "a", "--state", "in_progress", "--second", "--annotator", "bo"
    )
    case = store.find_case(study, "a")
    (made,) = store.proposals_of(study, case.id)
    mask = store.read_proposed(study, made)
    mask[1] = 0  # one of two planes
    store.add_correction(study, case.id, mask, annotator="bo", role=Role.SECOND)
    told("review", place, "a", *second, "bo")
    report = told("agreement", place)
    (one,) = report["cases"]
    assert (one["name"], one["first"], one["second"]) == ("a", "anna", "bo")
    assert one["structures"]["anterior"]["dice"] == pytest.approx(2 / 3)
    assert one["structures"]["anterior"]["hd95_mm"] == pytest.approx(2.0)
    assert report["pooled"]["posterior"]["dice"] == pytest.approx(2 / 3)
    assert report["consensus"] == {}
    saved = told("agreement", place, "--consensus", "majority", "--annotator", "cy")
    assert saved["consensus"] == {"a": 2}
    newest = store.newest_correction(study, case.id)
    assert newest is not None
    np.testing.assert_array_equal(store.read_correction(study, newest), mask)


def test_a_model_of_other_values_is_refused_before_it_is_loaded(
    place: Path, refused: Run, model: Any
) -> None:
    labels = model.card.labels.model_dump()
    for changes, said in (
        ({"value": 2}, "anterior as 2, the project has anterior=1"),
        ({"name": "lesion"}, "lesion as 1, the project has anterior=1"),
    ):
        first, *rest = labels["labels"]
        other = {"labels": [first | changes, *rest]}
        model.card.labels = type(model.card.labels).model_validate(other)
        assert said in refused("propose", place, "--model", "m")
    assert model.loaded == []


def test_cases_that_were_refused_are_told_in_a_line(
    place: Path,
    told: Run,
    refused: Run,
    model: Any,
    tmp_path: Path,
    write_image: Callable[..., Path],
) -> None:
    write_image(tmp_path / "b.nii.gz", 9)
    said = refused("propose", place, "--model", "m")
    assert "1 of 4 cases were refused, 'b' because" in said
    assert "3 were proposed for" in said
    assert told("propose", place, "--model", "m", "--cases", "a,c,d")["skipped"] == [
        "a", "c", "d",
    ]  # fmt: skip


def test_words_for_a_person(
    place: Path, model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffseg.cli import app

    def said(*args: object) -> str:
        assert app.main(["project", *map(str, args)]) == 0
        return capsys.readouterr().out

    assert "a: m 1, seed 0" in said("propose", place, "--model", "m")
    assert "--again makes another" in said("propose", place, "--model", "m")
    assert "4 of 4, stratified, seed 0" in said("queue", place)
    assert said("queue", place, "--next", "--strategy", "entropy") == "d, slice 1\n"
    assert "(1 given)" in said("queue", place, "--followed")
    assert "no case was read twice" in said("agreement", place)
    assert "a: done, 0 slices" in said("review", place, "a", "--state", "done")


@pytest.mark.slow
def test_a_shipped_model_proposes_for_a_project(
    told: Run, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    import nibabel as nib

    rng = np.random.default_rng(0)
    image = tmp_path / "scan.nii.gz"
    voxels = rng.normal(100, 20, (20, 24, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), image)
    folder = tmp_path / "real"
    told("create", folder, "--model", "hippocampus-mri")
    told("add", folder, image)
    told("label", folder, "scan", "anterior=absent")
    order = ("--model", "hippocampus-mri", "--members", 2, "--device", "cpu")
    made = told("propose", folder, *order, "--seed", 5)
    (one,) = made["proposals"]
    assert (one["members"], one["seed"], one["device"]) == (2, 5, "cpu")
    parts = {part["name"]: part["voxels"] for part in one["structures"]}
    assert parts["anterior"] == 0
    assert told("propose", folder, *order, "--seed", 5)["skipped"] == ["scan"]
    (case,) = told("queue", folder)["cases"]
    assert case["mutual_information"] is not None
