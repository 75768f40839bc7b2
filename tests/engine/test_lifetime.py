"""Engines start, close and die; nothing of them stays behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from diffseg.engine import Engine, Failed, Finished, Stopped
from diffseg.engine.exchange import Exchange, sweep
from diffseg.engine.patience import within
from diffseg.errors import DiffsegError, UserError

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# No guard about its main part: the worker must not run a user's script again.
SCRIPT = """
import os, sys, time
import numpy as np
from threading import Event
from diffseg.domain import Request
from diffseg.engine import Advanced, Engine, Finished, Job
from diffseg.volume import Volume
with open(os.environ["RUNS"], "a") as file:
    file.write("run\\n")
engine = Engine(threads=1)
over, began = Event(), Event()
def listener(event):
    if isinstance(event, Finished):
        print(event.proposal.warnings[0].split()[1], flush=True)
        over.set()
    elif isinstance(event, Advanced) and event.progress.stage == "sample":
        began.set()
volume = Volume.from_array(np.ones((2, 3, 4)))
engine.propose(Job("fake", Request(volume), "cpu"), listener)
assert over.wait(60)
began.clear()
engine.propose(Job("fake", Request(volume, text=sys.argv[1]), "cpu"), listener)
assert began.wait(60)
assert "torch" not in sys.modules
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""

CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
        silence_logs=50, local_directory=sys.argv[1],
        scheduler_kwargs={"local_directory": sys.argv[1]},
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""

# Closed so soon that nothing has started, or in the midst of it.
HASTY = """
import gc, sys, threading, time
import psutil
from diffseg.engine import Engine
from diffseg.errors import DiffsegError
def start(engine):
    try:
        engine.start()
        engine.machine()
    except DiffsegError:
        pass
for delay in (0, 0.05, 0.8, 1.6, 3):
    engine = Engine(threads=1)
    thread = threading.Thread(target=start, args=(engine,))
    thread.start()
    engine.warm("fake")
    time.sleep(delay)
    engine.close()
    thread.join(60)
    assert not thread.is_alive()
gc.collect()
assert not psutil.Process().children(recursive=True)
"""

BLOCKED = """
import importlib, pkgutil, sys
blocked = {"torch", "distributed", "dask"}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
def walk(name):
    module = importlib.import_module(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ()), name + "."):
        if found.name.split(".")[-1] != "migrations":  # scripts that Alembic runs
            walk(found.name)
import diffseg.engine
walk("diffseg.project")
from diffseg.engine import Engine, find_model, list_models
engine = Engine()
assert find_model("hippocampus-mri").card.labels
assert not {"torch", "distributed", "qtpy", "napari"} & set(sys.modules)
engine.close()
blocked.discard("distributed")
blocked.discard("dask")
walk("diffseg.engine")
"""


def script(world, *args, text=SCRIPT):
    """Run a script in a fresh interpreter; return it, and how often it ran."""
    file, runs = world.folder / "script.py", world.folder / "runs"
    file.write_text(text)
    runs.write_text("")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file), *args],
        env={**os.environ, "RUNS": str(runs)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done, runs.read_text().count("run")


def test_it_loads_where_torch_and_dask_are_missing(world):
    done, _ = script(world, text=BLOCKED)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@linux
@pytest.mark.parametrize("ending", ["ended", "killed"])
def test_the_worker_ends_with_the_process_that_wanted_it(world, ending):
    done, runs = script(world, "stubborn", ending)
    assert done.returncode == {"ended": 0, "killed": -signal.SIGKILL}[ending]
    assert done.stderr == ""
    assert world.gone(int(done.stdout))
    assert runs == 1
    for _ in range(1200):  # whoever sweeps up may be a moment behind
        if not world.exchanges:
            break
        time.sleep(0.05)
    assert world.exchanges == []


@linux
def test_a_temporary_folder_of_a_long_path_is_no_obstacle(world, ear, monkeypatch):
    far = world.temporary / ("f" * 60) / ("g" * 60)
    far.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    engine = world.engine()
    engine.propose(world.job(), ear)
    assert isinstance(ear.last(), Finished)
    engine.close()
    assert list(far.iterdir()) == []
    shutil.rmtree(far.parent)


@linux
def test_closing_ends_running_and_waiting_jobs(world, new_ear):
    engine = world.engine()
    running, waiting, done = new_ear(), new_ear(), new_ear()
    engine.propose(world.job(), done)
    proposal = done.last().proposal
    engine.propose(world.job("stubborn"), running)
    engine.propose(world.job(), waiting)
    running.await_stage("sample")
    pid = int(world.lines("begin stubborn")[-1].split()[-1])
    engine.close()
    assert isinstance(running.last(), Stopped)
    assert isinstance(waiting.last(), Stopped)
    assert world.gone(pid)
    assert world.exchanges == []
    assert proposal.mask.any()  # what was told stays
    engine.close()
    for call in (engine.start, engine.machine):
        with pytest.raises(DiffsegError, match="closed"):
            call()
    with pytest.raises(DiffsegError, match="closed"):
        engine.propose(world.job(), done)


def test_closing_before_starting_does_nothing(world):
    world.engine().close()
    assert world.exchanges == []


@pytest.mark.slow
def test_closing_while_starting_leaves_nothing_and_says_nothing(world):
    done, _ = script(world, text=HASTY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(world.temporary.iterdir()) == []


def test_folders_of_dead_processes_are_swept(world):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = world.temporary / f"diffseg-exchange-{dead.pid}-abc"
    left.mkdir()
    (left / "a.npy").touch()
    other = world.temporary / "diffseg-exchange-of-somebody"
    other.mkdir()
    mine = Exchange()
    sweep()
    assert not left.exists()
    assert mine.path.exists()
    mine.close()
    assert world.exchanges == [other]
    other.rmdir()


@pytest.mark.parametrize(
    ("said", "local"), [("", True), ("local", True), ("tcp://127.0.0.1:9", False)]
)
def test_the_environment_names_the_engine(monkeypatch, said, local):
    monkeypatch.setenv("DIFFSEG_ENGINE", said)
    engine = Engine.from_environment()
    assert (engine.address == "") == local
    engine.close()


def test_a_scheduler_that_is_not_there_is_the_users_mistake(world, ear):
    engine = Engine("not an address")
    states = []
    engine.on_state = states.append
    with pytest.raises(UserError, match="no scheduler answers at not an address"):
        engine.start()
    engine.propose(world.job(), ear)
    failed = ear.last()
    assert isinstance(failed, Failed)
    assert failed.exit_status == 2
    engine.close()
    assert states[:2] == ["starting", failed.message]
    gc.collect()  # a client that failed to start must not wait for anything here
    assert world.exchanges == []


@pytest.fixture
def scheduler(world):
    """Address of a scheduler with one worker, in processes of their own."""
    file = world.folder / "cluster.py"
    file.write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, str(file), str(world.folder / "scratch")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as cluster:
        try:
            yield within(60, cluster.stdout.readline).strip()
            cluster.stdin.close()
            cluster.wait(30)
        finally:
            cluster.kill()


@pytest.mark.slow
def test_a_schedulers_worker_does_the_same(world, new_ear, scheduler):
    engine = world.engine(scheduler)
    try:
        through_a_scheduler(engine, world, new_ear)
    finally:
        engine.close()
    assert world.exchanges == []


def through_a_scheduler(engine, world, new_ear):
    job = world.job("previews")
    for shared in (True, False):
        if not shared:
            # A worker on another machine has no such folder.
            (folder,) = world.exchanges
            (folder / "token").unlink()
        ear = new_ear()
        engine.propose(job, ear)
        done = ear.last()
        assert isinstance(done, Finished), done
        voxels = job.request.volume.data[0]
        assert (done.proposal.mask == (voxels > 0)).all()
        slices = [e.progress for e in ear.events[:-1] if hasattr(e.progress, "mask")]
        assert len(slices) == (4 if shared else 0)
        notes = [e for e in ear.events[:-1] if "no previews" in e.progress.message]
        assert len(notes) == (not shared)
        assert engine.machine("cpu").device == "cpu"
    ear, failed = new_ear(), new_ear()
    ticket = engine.propose(world.job(f"slow:{world.folder / 'closed'}"), ear)
    ear.await_stage("sample")
    ticket.cancel()
    assert isinstance(ear.last(), Stopped)
    engine.propose(world.job("die"), failed)
    assert isinstance(failed.last(), Failed)
    assert len(world.lines("begin die")) == 1
    again = new_ear()
    engine.propose(world.job(), again)
    assert isinstance(again.last(), Finished)


def test_a_worker_that_did_not_start_is_told_by_what_went_wrong(tmp_path):
    from types import SimpleNamespace

    from diffseg.engine.host import LocalHost

    host = LocalHost(SimpleNamespace(path=tmp_path), 1)
    news = "2026-11-22 13:01:18 - distributed.scheduler - INFO - Registering plugin"
    log = tmp_path / "worker.log"
    log.write_text(f"OSError: no space left on device\n{news}\n\n")
    assert host.why_not() == "OSError: no space left on device"
    log.write_text(f"<frozen runpy>:128: RuntimeWarning: imported before\n{news}\n")
    assert host.why_not() == ""
