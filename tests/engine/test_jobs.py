"""Jobs in a worker process: what is told, stopped, and what breaks off."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from diffseg.domain import Preview, Request, Resampling, Strokes
from diffseg.engine import Advanced, Failed, Finished, Job, Stopped
from diffseg.errors import UserError
from diffseg.volume import Volume

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def ask(engine, job, ear):
    """Run a job to its end, and return its last event."""
    engine.propose(job, ear)
    return ear.last()


def works(engine, world, ear):
    """Whether the next job is answered."""
    return isinstance(ask(engine, world.job(), ear), Finished)


def pid_of(event):
    return int(next(w for w in event.proposal.warnings if w.startswith("pid"))[4:])


def test_events_come_in_order_and_the_proposal_is_that_of_the_volume(
    engine, world, ear
):
    job = world.job(seed=7)
    done = ask(engine, job, ear)
    assert ear.stages == ["load", "sample", "sample"]
    told = [one.progress for one in ear.events if isinstance(one, Advanced)]
    assert told[1].message == "first"
    assert [one.done for one in told] == [0, 0, 2]
    voxels = job.request.volume.data[0]
    np.testing.assert_array_equal(done.proposal.mask, voxels > 0)
    np.testing.assert_array_equal(done.proposal.probability[0], voxels)
    assert type(done.proposal.mask) is np.ndarray
    assert not done.proposal.mask.flags.writeable
    assert done.proposal.provenance.seed == 7
    assert done.proposal.provenance.threads == 1
    assert done.proposal.grid.same_as(job.request.volume.grid)
    pid, folder = done.proposal.warnings  # no Qt, no napari
    assert pid != f"pid {os.getpid()}"
    assert folder == os.getcwd()


def test_previews_arrive_as_they_were_sent(engine, world, ear):
    assert isinstance(ask(engine, world.job("previews"), ear), Finished)
    previews = [one.progress for one in ear.events if isinstance(one, Advanced)]
    previews = [one for one in previews if isinstance(one, Preview)]
    assert [one.region.z for one in previews] == [(n, n + 1) for n in range(4)]
    for plane, one in enumerate(previews):
        assert (one.done, one.total) == (plane, 4)
        assert one.mask.dtype == one.uncertainty.dtype == np.uint8
        assert one.mask.shape == one.region.shape == (1, 5, 6)
        assert (one.mask == plane).all()
        assert (one.uncertainty == 255 - plane).all()


def test_files_of_a_job_are_gone_and_its_arrays_live_on(engine, world, new_ear):
    job = world.job("previews", initial_mask=np.ones((4, 5, 6), np.uint8))
    made = [ask(engine, job, new_ear()).proposal for _ in range(2)]
    (folder,) = world.exchanges
    works(engine, world, new_ear())  # now the one before has been cleared away
    left = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    # One file a kept array of the first job, written once for both.
    assert left.count("input") >= 2
    assert set(left) - {"pymp"} == {"input", "scratch", "token", "worker.log"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    np.testing.assert_array_equal(made[0].probability, made[1].probability)
    before = left.count("input")
    del job, made
    after = [path for path in folder.iterdir() if path.name.startswith("input")]
    assert len(after) < before


def test_an_array_that_was_changed_is_sent_again(engine, new_ear):
    voxels = np.ones((2, 3, 4), np.float32)
    job = Job("fake", Request(Volume.from_array(voxels)), "cpu")
    assert ask(engine, job, new_ear()).proposal.mask.all()
    voxels[:] = -1
    assert not ask(engine, job, new_ear()).proposal.mask.any()
    assert (voxels == -1).all()


def test_a_mask_to_refine_comes_across(engine, world, ear):
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 2] = 1
    job = world.job(initial_mask=mask)
    done = ask(engine, job, ear)
    expected = job.request.volume.data[0] * mask
    np.testing.assert_array_equal(done.proposal.probability[0], expected)
    assert job.request.initial_mask is mask


def test_strokes_and_how_they_are_kept_come_across(engine, world, new_ear):
    mask, dense = np.ones((4, 5, 6), np.uint8), np.zeros((4, 5, 6), np.uint8)
    dense[1, 2, 3], dense[2, 2, 2:4] = 1, 255
    given = {"initial_mask": mask, "noise_level": 0.3}
    how = Resampling(way="projection", gain=2.5)
    job = world.job(strokes=Strokes.of(dense), resampling=how, **given)
    done = ask(engine, job, new_ear())
    assert isinstance(done, Finished), done
    found, voxels = done.proposal.probability[0], job.request.volume.data[0]
    np.testing.assert_array_equal(found[dense == 0], voxels[dense == 0])
    assert found[1, 2, 3] == 1
    assert found[2, 2, 2:4].tolist() == [-1, -1]
    assert "level 0.3 projection 2.5" in done.proposal.warnings
    none = world.job(strokes=Strokes.of(dense * 0), **given)
    done = ask(engine, none, new_ear())
    np.testing.assert_array_equal(done.proposal.probability[0], voxels)
    assert "level 0.3 regression 4.0" in done.proposal.warnings


def test_a_volume_with_a_file_is_read_by_the_worker(engine, world, ear, tmp_path):
    import nibabel

    voxels = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "case.nii")
    volume = Volume.read(tmp_path / "case.nii")
    job = world.job()
    job = replace(job, request=replace(job.request, volume=volume))
    done = ask(engine, job, ear)
    assert not volume.is_loaded
    np.testing.assert_array_equal(done.proposal.probability[0], voxels.T)
    assert done.proposal.source.paths == volume.source.paths


def test_a_job_is_stopped_between_its_signs_of_life(engine, world, new_ear, tmp_path):
    ear, closed = new_ear(), tmp_path / "closed"
    before = pid_of(ask(engine, world.job(), new_ear()))
    ticket = engine.propose(world.job(f"slow:{closed}"), ear)
    ear.await_stage("sample")
    ticket.cancel()
    ticket.cancel()
    assert isinstance(ear.last(), Stopped)
    after = ask(engine, world.job(), new_ear())
    assert pid_of(after) == before  # the same process goes on
    assert closed.exists()  # the generator was closed
    assert isinstance(ear.events[-1], Stopped)


def test_a_job_may_be_cancelled_by_its_listener(engine, world, ear, tmp_path):
    tickets = []

    def listener(event):
        if isinstance(event, Advanced) and event.progress.done == 1:
            tickets[0].cancel()
        ear(event)

    tickets.append(engine.propose(world.job(f"slow:{tmp_path / 'closed'}"), listener))
    assert isinstance(ear.last(), Stopped)


def test_jobs_wait_their_turn_and_may_be_cancelled_meanwhile(
    engine, world, new_ear, tmp_path
):
    first, second, third = new_ear(), new_ear(), new_ear()
    running = engine.propose(world.job(f"slow:{tmp_path / 'closed'}"), first)
    waiting = engine.propose(world.job("never"), second)
    engine.propose(world.job("later"), third)
    first.await_stage("sample")
    waiting.cancel()
    assert isinstance(second.last(), Stopped)
    assert len(first.events) == len([e for e in first.events if type(e) is Advanced])
    assert third.events == []
    running.cancel()
    assert isinstance(third.last(), Finished)
    assert world.lines("begin never") == []
    assert len(second.events) == 1


@pytest.mark.slow
@linux
def test_a_job_that_does_not_stop_is_ended_with_its_process(engine, world, new_ear):
    ear, states = new_ear(), []
    engine.on_state = states.append
    ticket = engine.propose(world.job("stubborn"), ear)
    ear.await_stage("sample")
    pid = int(world.lines("begin stubborn")[-1].split()[-1])
    ticket.cancel()
    assert isinstance(ear.last(), Stopped)
    done = ask(engine, world.job(), new_ear())
    assert isinstance(done, Finished)
    assert pid_of(done) != pid
    assert world.gone(pid)
    assert states[-1] == "ready"
    assert isinstance(ear.events[-1], Stopped)


@pytest.mark.slow
def test_a_lost_worker_is_told_and_replaced(engine, world, new_ear):
    ear, states, begun = new_ear(), [], len(world.lines("begin stubborn"))
    recovered = threading.Event()
    engine.on_state = lambda s: (states.append(s), s == "ready" and recovered.set())
    engine.propose(world.job("stubborn"), ear)
    ear.await_stage("sample")
    os.kill(int(world.lines("begin stubborn")[-1].split()[-1]), signal.SIGKILL)
    failed = ear.last()
    assert isinstance(failed, Failed)
    assert failed.exit_status == 1
    assert "memory is exhausted" in failed.message
    assert "\n" not in failed.message
    assert recovered.wait(60)
    assert len(states) == 2
    assert "ended" in states[0]
    assert works(engine, world, new_ear())
    assert len(world.lines("begin stubborn")) == begun + 1  # nobody tried again


@pytest.mark.parametrize(
    ("word", "status", "said"),
    [
        ("memory", 1, "the memory is exhausted; mark a smaller region"),
        ("gpu", 1, "the memory is exhausted; mark a smaller region"),
        ("user", 2, "case.nii is no image; give another"),
        ("ours", 1, "the model drew nothing"),
        ("exit", 1, "our fault, SystemExit: 3; the traceback is in"),
        ("bug", 1, "our fault, ValueError: cannot read /patients/Doe.nii; the trace"),
        ("tensor", 1, "answered with a torch Size"),
    ],
)
def test_failures_are_told_in_one_line(engine, world, new_ear, word, status, said):
    ear = new_ear()
    failed = ask(engine, world.job(word), ear)
    assert isinstance(failed, Failed)
    assert failed.exit_status == status
    assert said in failed.message
    assert "torch" not in sys.modules or "/fakes/" not in sys.modules["torch"].__file__
    assert works(engine, world, new_ear())


@pytest.mark.slow
def test_a_broken_gpu_costs_the_process(engine, world, new_ear):
    said, recovered = [], threading.Event()
    engine.on_state = lambda s: (said.append(s), s == "ready" and recovered.set())
    before = pid_of(ask(engine, world.job(), new_ear()))
    failed = ask(engine, world.job("cuda"), new_ear())
    assert isinstance(failed, Failed)
    assert "illegal memory access" in failed.message
    assert pid_of(ask(engine, world.job(), new_ear())) != before
    assert recovered.wait(60)
    assert "GPU" in said[0]


def test_a_plan_says_what_a_job_will_take(engine, world, new_ear):
    ear, wrong = new_ear(), new_ear()
    engine.plan(world.job(members=5), ear)
    engine.plan(world.job("user"), wrong)
    plan = ear.last().plan
    assert (plan.seconds, plan.memory_bytes, plan.members, plan.steps) == (
        2.5,
        10,
        5,
        3,
    )
    assert type(plan.seconds) is float
    assert plan.warnings == ("fake",)
    assert plan.machine.device == "cpu"
    assert wrong.last() == Failed("case.nii is no image; give another", 2)


def test_a_plan_that_nobody_wants_costs_no_process(engine, world, new_ear):
    before = pid_of(ask(engine, world.job(), new_ear()))
    ear = new_ear()
    ticket = engine.plan(world.job("long"), ear)
    ear.await_stage("load")
    ticket.cancel()
    assert isinstance(ear.last(), Stopped)
    assert pid_of(ask(engine, world.job(), new_ear())) == before


def test_the_log_names_no_file_of_a_patient(engine, world, ear):
    ask(engine, world.job("bug"), ear)
    log = (world.home / "logs" / "diffseg.log").read_text()
    assert "fake_method.py" in log
    assert "ValueError" in log
    assert "Doe" not in log


def test_an_unknown_model_is_the_users_mistake(engine, world, ear):
    failed = ask(engine, world.job(model="nobody"), ear)
    assert failed.exit_status == 2
    assert "nobody" in failed.message


def test_a_model_is_loaded_once_until_another_is_wanted(engine, world, new_ear):
    def loads():
        return [line.split()[1] for line in world.lines("load")]

    ask(engine, world.job(), new_ear())
    before = len(loads())
    for model in ("fake", "other", "other", "fake"):
        ask(engine, world.job(model=model), new_ear())
    assert loads()[before:] == ["other", "fake"]


def test_warming_loads_a_model_and_says_what_is_wrong(engine, world, ear):
    said, heard = [], threading.Event()
    engine.on_state = lambda state: (said.append(state), heard.set())
    engine.warm("other")
    ask(engine, world.job(), ear)
    assert [line.split()[1] for line in world.lines("load")][-2:] == ["other", "fake"]
    engine.warm("broken")
    assert heard.wait(60)
    assert said == ["weights of broken are not there"]


def test_a_listener_that_fails_ends_nothing(engine, world, ear):
    def listener(event):
        raise RuntimeError("a window that is gone")

    engine.propose(world.job(), listener)
    assert works(engine, world, ear)


def test_the_machine_is_told_while_a_job_runs(engine, world, ear, tmp_path):
    ticket = engine.propose(world.job(f"slow:{tmp_path / 'closed'}"), ear)
    ear.await_stage("sample")
    machine = engine.machine("cpu")
    ticket.cancel()
    assert machine.device == "cpu"
    assert machine.threads == 1
    assert "CPU core" in machine.name
    assert machine.memory_bytes > 2**20
    assert machine.why_cpu
    with pytest.raises(UserError, match="device cuda is not there"):
        engine.machine("cuda")


def test_nobody_else_is_spoken_to(engine, world, ear):
    """Each open port is on this machine only, and answers nothing in plain text."""
    import psutil

    assert works(engine, world, ear)
    here = psutil.Process()
    ports = [
        one.laddr
        for process in (here, *here.children(recursive=True))
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    ]
    assert len(ports) >= 2  # the scheduler's and the worker's
    for host, port in ports:
        assert host == "127.0.0.1"
        with socket.create_connection((host, port), timeout=10) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in plain.recv(64)
