"""The whole loop: label, propose, follow, correct, redraw, learn, go back, export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from beside import beside

from diffseg.models import find_model, list_models, remove_model

images, steps = beside(__file__, "loop_images"), beside(__file__, "loop_steps")

pytestmark = [
    pytest.mark.gui, pytest.mark.slow, pytest.mark.walk, pytest.mark.timeout(1800)
]  # fmt: skip

MODEL = "hippocampus-mri"
SIDES = ("left", "right", "left")
SHORT = ("length.validations=1", "loading.workers=0", "patch=[24,32,24]")
TINY = ("length.steps=3", *SHORT)
POISONED = (
    "length.steps=12", *SHORT, "finetuning.rate=1.0", "finetuning.anchor=0",
    "optimiser.ema=0.0",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_children() -> Iterator[None]:
    """Leave the models as they were to the tests that follow."""
    yield
    for one in list_models():
        if one.card.id == MODEL and one.card.finetuning:
            remove_model(one.name)


FORMATS = {
    "nifti": ("NIfTI", "NIfTI", "3D Slicer", "Measurements"),
    "dicom": ("NIfTI", "NIfTI", "3D Slicer", "DICOM-SEG", "Measurements"),
}


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_the_whole_loop(robot: Any, tmp_path: Path, kind: str) -> None:
    write = images.write_nifti if kind == "nifti" else images.write_series
    paths = [write(tmp_path, f"sub-{n}", side, n) for n, side in enumerate(SIDES)]
    project = steps.begin(robot, tmp_path / "study", paths)
    robot.window.dock.propose.ask_replace = lambda touched, word: False
    case = steps.open_row(robot, 0)
    steps.label(robot, case, project)
    steps.propose(robot, case)
    steps.follow(robot, case, project)
    steps.strokes(robot, case)
    steps.tools(robot, case)
    steps.redraw(robot, case)
    steps.finish(robot, case)
    for row in (1, 2):
        case = steps.open_row(robot, row)
        steps.propose(robot, case)
        steps.finish(robot, case)

    # What was corrected is learnt from; the gate lets the child through.
    for name in ("tolerance", "overall_tolerance"):
        robot.find(f"diffseg.train.{name}").setValue(0.2)
    child = f"{MODEL}@1.0.0+ft1"
    assert steps.learn(robot, TINY).state == "kept", robot.notice()
    robot.wait(lambda: robot.session.model_name == child, "the child is in use")
    steps.compare(robot)
    case = robot.session.current
    steps.propose(robot, case)
    assert case.proposal.provenance.model["version"] == "1.0.0+ft1"
    assert robot.find("diffseg.model.choice").currentData() == child

    # One press, and the parent proposes again.
    robot.click("diffseg.train.rollback")
    robot.wait(lambda: robot.session.model_name == f"{MODEL}@1.0.0", "it is back")
    assert find_model(MODEL).card.version == "1.0.0"
    assert robot.find("diffseg.model.choice").currentData() == f"{MODEL}@1.0.0"
    steps.propose(robot, case)
    assert case.proposal.provenance.model["version"] == "1.0.0"

    case = steps.open_row(robot, 0) if case.name != "sub-0" else case
    steps.export_case(robot, case, FORMATS[kind])
    every = ["nifti", "seg-nrrd", "nnunet", "csv"]
    steps.export_all(robot, 3, every if kind == "nifti" else [*every, "dicom-seg"])
    steps.reopen(robot, tmp_path / "study", case)


def test_poisoned_corrections_are_refused_and_the_parent_stays(
    robot: Any, tmp_path: Path
) -> None:
    """All that is background is called anterior, by one press of the filler."""
    paths = [
        images.write_nifti(tmp_path, f"sub-{n}", side, n)
        for n, side in enumerate(SIDES)
    ]
    steps.begin(robot, tmp_path / "study", paths)
    case = steps.open_row(robot, 0)
    steps.propose(robot, case)
    steps.finish(robot, case)  # what judges is right
    for row in (1, 2):
        case = steps.open_row(robot, row)
        robot.find("diffseg.labels.list").setCurrentRow(0)
        robot.click("diffseg.correct.fill")
        robot.find("diffseg.correct.brush_3d").setChecked(True)
        robot.along([(0.5, 0.5)])
        assert (steps.values_of(case) == 1).all()
    run = steps.learn(robot, POISONED)
    assert run.state == "refused", run.result
    assert "refused: worse than" in robot.find("diffseg.train.verdict").text()
    assert "stays" in robot.notice()
    assert robot.session.model_name == f"{MODEL}@1.0.0"
    assert find_model(MODEL).card.version == "1.0.0"
    assert [one.card.version for one in list_models() if one.card.id == MODEL] == [
        "1.0.0"
    ]
