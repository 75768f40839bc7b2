"""Two processes that share a batch, and one that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from beside import beside
from safetensors.torch import load_file

from diffseg.progress import run
from diffseg_training.state import read_log

SCRIPT = Path(__file__).with_name("tiny_run.py")
tiny_run = beside(__file__, "tiny_run")
tiny_recipe, tiny_train = tiny_run.tiny_recipe, tiny_run.tiny_train

TIMING = {"minutes", "images_per_second", "waiting"}


def state_of(out):
    (file,) = (out / "state").glob("state-*.safetensors")
    return load_file(file)


def told(out):
    """The log, but for what a clock says."""
    rows = read_log(out / "log.jsonl")
    return [{k: v for k, v in row.items() if k not in TIMING} for row in rows]


# Dice is no mean over samples: its sums are over the whole batch.
FEEDFORWARD = ("objective={name: feedforward}", "sampling.prediction=classes")
# Nor is the deviation that an autoencoder's latents are held to.
AUTOENCODER = (
    "objective={name: autoencoder, holding: 5}",
    "network={name: kl_autoencoder, channels: 8, multipliers: [1, 1], blocks: 1, "
    "groups: 8}",
    "product=part",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [(), FEEDFORWARD, AUTOENCODER],
    ids=["denoising", "feedforward", "autoencoder"],
)
def test_two_processes_give_the_losses_of_one_at_the_same_batch(more, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    options = {"validate": None} if more is AUTOENCODER else {}
    held_out = tiny_run.tiny_examples(2)
    run(tiny_train(tiny_recipe(10, *more), one, held_out=held_out, **options))
    launcher = Path(sys.executable).with_name("accelerate")
    command = [launcher, "launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "--main_process_port", "0"]
    # One thread each, and on processors even where there is a GPU.
    env = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*map(str, command), str(SCRIPT), str(two), "10", *more],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = ([r for r in told(out) if "loss" in r] for out in (one, two))
    assert len(ours) == len(theirs) == 10
    for mine, other in zip(ours, theirs, strict=True):
        assert other["loss"] == pytest.approx(mine["loss"], abs=1e-4)
        if more is AUTOENCODER:
            assert other["holding"] == pytest.approx(mine["holding"], abs=1e-4)
    # Batch norm saw the whole batch, running statistics included.
    first, second = state_of(one), state_of(two)
    assert first.keys() == second.keys()
    for name in {"net.norm.running_mean", "net.norm.running_var"} & first.keys():
        torch.testing.assert_close(second[name], first[name], atol=1e-4, rtol=1e-4)


@pytest.fixture
def one_thread():
    """As the runs in processes of their own: more threads add up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_next_batch(tmp_path, one_thread):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    more = ["length.checkpoint_minutes=0.001", "length.validations=3"]
    run(tiny_train(tiny_recipe(60, *more), whole))
    command = [sys.executable, str(SCRIPT), str(killed), "60", "--slowly", *more]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    log, saved = killed / "log.jsonl", set()
    while process.poll() is None and len(saved) < 4:
        saved |= {path.name for path in killed.glob("state/state-*.safetensors")}
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
    assert 0 < len(read_log(log)) < 63
    run(tiny_train(tiny_recipe(60, *more), killed, resume=True))
    assert told(killed) == told(whole)
    ours, theirs = state_of(killed), state_of(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
