"""A model is calibrated on what a project's annotators reviewed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from beside import beside

from diffseg.domain import Presence
from diffseg.errors import UserError
from diffseg.models import find_model, list_models
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.calibrating import process
from diffseg_training.calibrating import run as calibrating
from diffseg_training.calibrating.job import CalibrateJob, Recalibrated
from diffseg_training.calibrating.reviewed import calibration_outlook, reviewed_cases

balls = beside(__file__, "balls")
correct = balls.correct
PATIENT = CalibrateJob(project="", model="", annotator="").patient


def job_of(project: store.Project, **changes: object) -> CalibrateJob:
    given = {
        "project": str(project.folder),
        "model": "balls",
        "annotator": "anna",
        "device": "cpu",
        **changes,
    }
    return CalibrateJob(**given)


def test_a_job_survives_its_way_to_the_process():
    job = CalibrateJob(project="p", model="m", annotator="anna", members=3)
    assert CalibrateJob.from_json(json.loads(json.dumps(job.as_json()))) == job


def test_what_the_window_needs_loads_without_torch():
    script = (
        "import sys, diffseg_training.calibrating.process;"
        "import diffseg_training.calibrating.reviewed;"
        "print('torch' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"


def test_too_few_patients_are_refused_in_a_line(parent, study):
    correct(study, "ball0")
    correct(study, "ball1", done=False)  # not reviewed to its end
    with pytest.raises(UserError, match=r"^1 patient with a case") as error:
        calibration_outlook(study, "balls", PATIENT)
    assert "\n" not in str(error.value)
    correct(study, "ball2")
    assert calibration_outlook(study, "balls", PATIENT) == (2, 2)
    with pytest.raises(UserError, match="1 patient with"):
        calibration_outlook(study, "balls", "^(ball)")


def test_what_the_model_learnt_from_is_left_out(parent, study):
    for index in range(3):
        correct(study, f"ball{index}")
    learnt = store.find_case(study, "ball0").id
    card = parent.card
    made = store.begin_run(
        study,
        model=(card.id, card.version, card.sha256),
        settings={},
        cases=[learnt],
        annotator="anna",
        id=store.new_run_id(),
    )
    id = made if isinstance(made, str) else made.id
    store.end_run(study, id, "kept", {"sha256": card.sha256})
    found = reviewed_cases(study, parent, PATIENT)
    assert learnt not in {one.case.id for one in found}
    assert len(found) == 2


@pytest.mark.slow
def test_a_calibration_is_kept_as_a_version(parent, study, monkeypatch):
    for index in range(4):
        correct(study, f"ball{index}")
    # Half of what is said is wrong, and surely so: a temperature must help.
    told = calibrating.evidence_of

    def too_sure(case, group, probability, *rest):
        background = np.clip(1 - probability.sum(0, keepdims=True), 1e-6, 1)
        full = np.concatenate([background, probability.clip(1e-6)]) ** 6
        return told(case, group, (full / full.sum(0))[1:].astype(np.float32), *rest)

    monkeypatch.setattr(calibrating, "evidence_of", too_sure)
    done = run(calibrating.iter_calibrate_reviewed(job_of(study)))
    assert done.parent == parent.name
    assert done.model == f"{parent.name}+cal1"
    assert find_model("balls").name == done.model
    assert (done.cases, done.patients) == (4, 4)
    figures = json.loads((done.path / "calibration.json").read_text())
    assert done.ece == (figures["before"]["box"]["ece"], figures["after"]["box"]["ece"])
    entry = list(store.audit(study))[-1]
    assert (entry.action, entry.who) == ("calibrate", "anna")
    assert Recalibrated.from_json(json.loads(json.dumps(done.as_json()))) == done


def test_the_model_is_told_what_was_said(parent, study, monkeypatch):
    for index in range(2):
        correct(study, f"ball{index}")
    (name, *_) = parent.card.labels.names
    id = store.find_case(study, "ball0").id
    store.set_label(study, id, name, Presence.ABSENT, annotator="anna")
    asked = []

    def proposed(segmenter, request):
        asked.append(request)
        raise UserError("enough")
        yield

    kind = calibrating.load_method(parent.card.method, "")
    monkeypatch.setattr(kind, "iter_propose", proposed)
    with pytest.raises(UserError, match="enough"):
        run(calibrating.iter_calibrate_reviewed(job_of(study, members=3, seed=5)))
    (request,) = asked
    assert request.labels[name] is Presence.ABSENT
    assert (request.members, request.seed, request.keep_members) == (3, 5, False)


@pytest.mark.slow
def test_mistakes_cross_the_border_and_nothing_is_kept(parent, study):
    before = len(list_models())
    correct(study, "ball0")
    with pytest.raises(UserError, match="1 patient with a case"):
        run(process.iter_calibrate_apart(job_of(study)))
    assert len(list_models()) == before
