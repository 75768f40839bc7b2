"""The command, the process of its own, and a run that is killed in its midst."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from beside import beside
from typer.testing import CliRunner

from diffseg.errors import DiffsegError, UserError
from diffseg.models import find_model
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.cli.finetune import finetune
from diffseg_training.finetuning import process
from diffseg_training.finetuning.begun import run_folder
from diffseg_training.finetuning.run import iter_finetune
from diffseg_training.finetuning.worker import progress_of, told_of
from diffseg_training.learning import Learning

balls = beside(__file__, "balls")
correct, job_of, TINY = balls.correct, balls.job_of, balls.TINY
ROOT = Path(__file__).parents[3]


def test_the_entry_point_names_the_command():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    group = told["project"]["entry-points"]["diffseg.commands.project"]
    entry = EntryPoint("finetune", group["finetune"], "diffseg.commands.project")
    assert entry.load() is finetune


@pytest.mark.slow
def test_what_the_window_needs_loads_without_torch():
    script = (
        "import sys, diffseg_training.finetuning.process as p;"
        "import diffseg_training.finetuning.outlook;"
        "p.FinetuneJob(project='a', model='b', annotator='c').checked();"
        "print('torch' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "False"


def test_signs_of_life_cross_the_border():
    one = Learning("train", 3, 9, "go", step=4, loss=0.5, scores={"score": 0.7})
    assert progress_of(json.loads(json.dumps(told_of(one)))) == one


@pytest.mark.slow
def test_the_command_tells_what_became_of_the_child(parent, study):
    app = typer.Typer()
    app.command()(finetune)
    for index in range(3):
        correct(study, f"ball{index}")
    options = [x for one in (*TINY, "length.steps=2") for x in ("--set", one)]
    given = [str(study.folder), "--model", "balls", "--device", "cpu", *options]
    said = CliRunner().invoke(app, [*given, "--annotator", "anna", "--json"])
    assert said.exit_code == 0, said.exception
    told = json.loads(said.stdout)
    assert told["outcome"] in ("kept", "refused")
    assert told["verdict"]["sentence"].startswith(told["outcome"])
    assert told["steps"] == 2
    assert len(told["held_out"]) == 1


def _await_state(project):
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        runs = store.training_runs(project)
        if runs:
            folder = run_folder(project, runs[0].id)
            state = folder / "state" / "state.json"
            if state.is_file() and json.loads(state.read_text())["step"] >= 5:
                return runs[0]
        time.sleep(0.1)
    raise AssertionError("the run has not got anywhere")


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(parent, study):
    for index in range(3):
        correct(study, f"ball{index}")
    settings = ("length.steps=10", "length.validations=5",
                "length.checkpoint_minutes=0.001")  # fmt: skip
    job = job_of(study, settings=settings)
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "diffseg_training.finetuning.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with worker:
        worker.stdin.write(json.dumps(job.as_json()) + "\n")
        worker.stdin.flush()
        noted = _await_state(study)
        os.kill(worker.pid, signal.SIGKILL)
    assert noted.state == "running"
    assert find_model("balls").card == parent.card
    done = run(iter_finetune(job_of(study, model="", resume=True)))
    assert (done.run_id, done.steps) == (noted.id, 10)
    assert store.training_runs(study)[0].state == done.outcome


@pytest.mark.slow
def test_closing_the_generator_cancels_the_process(parent, study):
    for index in range(3):
        correct(study, f"ball{index}")
    work = process.iter_finetune_apart(job_of(study, settings=("length.steps=9999",)))
    for sign in work:
        if isinstance(sign, Learning) and sign.step:
            break
    work.close()
    assert store.training_runs(study)[0].state in ("cancelled", "running")
    assert find_model("balls").card == parent.card


@pytest.mark.slow
def test_mistakes_cross_the_border_as_mistakes(study, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    work = process.iter_finetune_apart(job_of(study, model="none-such"))
    with pytest.raises(UserError, match="'none-such' is not known"):
        run(work)


def test_a_process_that_ends_is_told(study, monkeypatch):
    monkeypatch.setattr(process, "_MODULE", "abc")  # ends at once, without a word
    with pytest.raises(DiffsegError, match="go on with --resume"):
        run(process.iter_finetune_apart(job_of(study)))
