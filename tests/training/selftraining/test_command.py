"""``diffseg project self-train``, and the process that trains for a window."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import typer
from beside import beside
from typer.testing import CliRunner

from diffseg.errors import UserError
from diffseg.models import find_model
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.cli.self_train import self_train
from diffseg_training.learning import Learning
from diffseg_training.selftraining.process import iter_self_train_apart

ROOT = Path(__file__).parents[3]
masks = beside(__file__, "masks")


def cohort(project, model, weak=3):
    """Weak masks that fill the same box, and a judge."""
    box = np.zeros((16, 18, 16), np.uint8)
    box[5:10, 5:9, 5:10], box[5:10, 9:13, 5:10] = 1, 2
    for index in range(weak):
        masks.propose(project, f"ball{index}", model, box, 0.1 + index / 100)
    case = store.find_case(project, "ball5")
    store.add_correction(project, case.id, box, annotator="anna")
    store.set_review(project, case.id, store.State.DONE, reviewer="anna")


def test_the_entry_point_names_the_command():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    group = told["project"]["entry-points"]["diffseg.commands.project"]
    name = "self-train"
    assert (
        EntryPoint(name, group[name], "diffseg.commands.project").load() is self_train
    )


@pytest.mark.slow
def test_what_the_window_needs_loads_without_torch():
    script = (
        "import sys, diffseg_training.selftraining.process as p;"
        "import diffseg_training.selftraining.outlook;"
        "p.SelfTrainJob(project='a', model='b', recipe='c', annotator='d').checked();"
        "print('torch' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"


@pytest.mark.slow
def test_the_command_tells_what_was_taken_and_what_is_missing(study, weak_model):
    app = typer.Typer()
    app.command()(self_train)
    cohort(study, weak_model)
    options = [x for one in (*masks.TINY, "length.steps=2") for x in ("--set", one)]
    given = [str(study.folder), "--model", "weak", "--recipe", "hippocampus-mri"]
    allowed = ["--tolerance", "0.99", "--overall-tolerance", "0.99"]
    more = [*allowed, "--annotator", "anna", "--device", "cpu"]
    said = CliRunner().invoke(app, [*given, *options, *more])
    assert said.exit_code == 0, said.exception
    assert "learnt from 3 weak masks of weak@1.0.0" in said.stdout
    assert "2 cases have no proposal: diffseg project propose" in said.stdout
    assert "weak-ensemdiff@1.0.0 is added" in said.stdout
    assert find_model("weak-ensemdiff").card.self_training["held_out"] == 1


@pytest.mark.slow
def test_another_process_does_the_same_and_can_be_cancelled(study, weak_model):
    cohort(study, weak_model)
    work = iter_self_train_apart(masks.job_of(study, "weak", 9999))
    for sign in work:
        if isinstance(sign, Learning) and sign.step:
            break
    work.close()
    assert store.training_runs(study)[0].state in ("cancelled", "running")
    wrong = masks.job_of(study, "weak", recipe="none-such")
    with pytest.raises(UserError, match="'none-such' does not ship"):
        run(iter_self_train_apart(wrong))
    assert json.loads(json.dumps(wrong.as_json()))["recipe"] == "none-such"
