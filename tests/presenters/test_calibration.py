"""The calibration in the window: figures, predicted Dice, and fitting it anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import StructureReport
from diffseg.engine.events import Advanced, Failed
from diffseg.ensemble.calibration_choice import Plan, calibrate
from diffseg.ensemble.calibration_evidence import evidence_of
from diffseg.errors import UserError
from diffseg.progress import Progress
from diffseg.project import store
from diffseg.project.journal import Journal
from diffseg.project.journals import Journals
from diffseg_training.calibrating.job import Recalibrated
from napari_diffseg.presenters.calibration_facts import (
    dice_lines,
    expected_of,
    facts_of,
)


@pytest.fixture
def window(
    make_window: Callable[..., Any],
    make_image: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    place = tmp_path / "study"
    with store.create_project(place, annotator="head") as project:
        store.add_case(project, make_image("a.nii.gz"), annotator="head")
    journal = Journals(Journal(tmp_path / "journal", interval=0.05))
    made = make_window(journal=journal)
    made.views.project.open_requested.emit(str(place), "anna")
    yield made
    made.desk.close()
    journal.close()


def calibrated_card(make_card: Any, folder: Path) -> Any:
    """A card whose calibration was fitted, its figures beside it."""
    generator = np.random.default_rng(0)
    evidence = []
    for case in range(8):
        real = np.clip(generator.normal(0.5, 0.3, (1, 6, 8, 8)), 0.02, 0.98)
        told = real**3 / (real**3 + (1 - real) ** 3)
        truth = (generator.random(real.shape) < real)[0].astype(np.uint8)
        evidence.append(evidence_of(f"c{case}", f"p{case}", told, truth, generator))
    plan = Plan(names=("tumour",), members=4, steps=1, method="temperature", about={})
    found = calibrate(evidence, plan, generator.uniform(0.5, 0.9, (8, 1)))
    folder.mkdir()
    (folder / "calibration.json").write_text(json.dumps(found.figures))
    kept = found.calibration.model_dump(mode="json")
    return make_card("tumour", "tumour", version="1+cal1", calibration=kept)


def test_figures_are_read_from_beside_the_card(make_card: Any, tmp_path: Path) -> None:
    card = calibrated_card(make_card, tmp_path / "model")
    facts = facts_of(card, tmp_path / "model")
    assert "temperature" in facts.line
    assert "8 patients held out" in facts.line
    assert [one.name for one in facts.curves] == ["likeliest class", "tumour"]
    top = facts.curves[0]
    assert top.ece[1] < top.ece[0] / 2
    assert 2 <= len(top.before) <= 10
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in (*top.before, *top.after))
    assert "tumour" in facts.notes
    # Without the figures the card alone tells less.
    (tmp_path / "model" / "calibration.json").unlink()
    bare = facts_of(card, tmp_path / "model")
    assert not bare.curves
    assert "error in the box" in bare.line or "error over all voxels" in bare.line
    (tmp_path / "model" / "calibration.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        facts_of(card, tmp_path / "model")


def test_a_model_without_one_says_so(card: Any, tmp_path: Path) -> None:
    assert "not calibrated" in facts_of(card, tmp_path).line


def test_expected_and_predicted_dice_of_a_proposal(
    window: Any, card: Any, propose: Any, image: Path
) -> None:
    window.views.case.open_requested.emit(str(image))
    mask = np.zeros(window.case.volume.shape, np.uint8)
    mask[2:4, 2:5, 2:5] = 2
    report = StructureReport("posterior", 2, 18, 1.0, 0.9, 1.1, 0.95, 0.81, 0.7, 0.9)
    made = propose(window.case, mask, card, structures=(report,))
    expected = expected_of(made)
    assert expected[0] == pytest.approx(1.0)  # none is there, and none is said
    assert expected[1] == pytest.approx(0.947, abs=0.01)  # 2 x 0.9 / (1 + 0.9)
    lines = dice_lines(made, expected, {"posterior": "0.25 (-0.10 to 0.56)"})
    assert lines[0].predicted == ""
    assert lines[1].predicted == "0.81 (0.70–0.90)"
    assert lines[1].correlation.startswith("0.25")


def test_nothing_is_counted_before_anybody_looks(window: Any) -> None:
    assert not window.works.pieces
    window.views.calibration.run_requested.emit()
    assert not window.works.pieces


def test_too_few_cases_are_told_in_a_line(window: Any) -> None:
    window.views.calibration.looked.emit(True)
    window.works.pieces[-1].tell(Failed("1 patient with a case", 2))
    line, why = window.views.calibration.last("show_ready")[:2]
    assert (line, why) == ("", "1 patient with a case")
    window.views.calibration.run_requested.emit()
    assert len(window.works.pieces) == 1


def test_without_a_project_it_says_so(make_window: Any) -> None:
    made = make_window()
    made.views.calibration.looked.emit(True)
    assert "open a project" in made.views.calibration.last("show_ready")[1]


def test_it_is_fitted_apart_and_taken(window: Any, make_card: Any) -> None:
    from types import SimpleNamespace

    window.views.calibration.looked.emit(True)
    window.works.finish((5, 4))
    line = window.views.calibration.last("show_ready")[0]
    assert "5 reviewed cases of 4 patients" in line
    window.views.calibration.run_requested.emit()
    piece = window.works.pieces[-1]
    piece.tell(Advanced(Progress("calibrate", 1, 5, "a")))
    line, _, running = window.views.calibration.last("show_ready")
    assert (line, running) == ("proposing for case 2 of 5 ...", True)
    child = make_card("hippocampus-mri", "anterior", "posterior", version="1+cal1")
    window.desk.learning._catalogue.models.append(
        SimpleNamespace(name="hippocampus-mri@1+cal1", card=child, path=Path("no"))
    )
    done = Recalibrated(
        model="hippocampus-mri@1+cal1",
        parent="hippocampus-mri@1",
        path=Path("no"),
        words="calibrated (temperature 1.1)",
        cases=5,
        patients=4,
        ece=(0.02, 0.01),
    )
    assert Recalibrated.from_json(done.as_json()) == done
    window.works.finish(done, window.works.pieces.index(piece))
    assert window.session.model_name == "hippocampus-mri@1+cal1"
    assert "0.0200 to 0.0100" in window.said[-1]
    assert not window.views.calibration.last("show_ready")[2]


def test_cancelling_keeps_nothing(window: Any) -> None:
    window.views.calibration.looked.emit(True)
    window.works.finish((5, 4))
    window.views.calibration.run_requested.emit()
    piece = window.works.pieces[-1]
    window.views.calibration.cancel_requested.emit()
    assert piece.cancelled
    assert not window.views.calibration.last("show_ready")[2]
    assert window.session.model_name == "hippocampus-mri@1"
