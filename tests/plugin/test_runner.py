"""The runner tells the engine's events in the window's thread, and only once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Request
from diffseg.engine import Advanced, Failed, Job, Machine, Stopped
from diffseg.errors import UserError
from diffseg.progress import Progress
from diffseg.volume import Volume

pytestmark = pytest.mark.gui

MACHINE = Machine("cpu", "2 CPU cores", 1, 1 << 30, "there is no GPU")


class FakeTicket:
    def __init__(self, listener: Callable[[Any], None]) -> None:
        self.listener = listener
        self.cancels = 0

    def cancel(self) -> None:
        self.cancels += 1
        self.listener(Stopped())


class FakeEngine:
    """Tells events from a thread of its own, as the real one does."""

    def __init__(self) -> None:
        self.on_state: Callable[[str], Any] | None = None
        self.may_start = threading.Event()
        self.may_start.set()
        self.tickets: list[FakeTicket] = []
        self.trouble: Exception | None = None
        self.closed = threading.Event()

    def start(self) -> None:
        self.may_start.wait(10)
        if self.trouble is not None:
            raise self.trouble

    def propose(self, job: Job, listener: Callable[[Any], None]) -> FakeTicket:
        self.tickets.append(FakeTicket(listener))
        thread = threading.Thread(
            target=listener, args=(Advanced(Progress("sample", 1, 2)),)
        )
        thread.start()
        thread.join()
        return self.tickets[-1]

    plan = propose

    def warm(self, model: str = "") -> None:
        assert self.on_state is not None
        self.on_state("ready")

    def machine(self, device: str = "auto") -> Machine:
        return MACHINE

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def runner(engine: FakeEngine, qtbot: Any) -> Iterator[Any]:
    from napari_diffseg.jobs.runner import QtRunner

    runner = QtRunner(engine)
    yield runner
    runner.close()
    assert engine.closed.wait(10)


@pytest.fixture
def job() -> Job:
    return Job("any", Request(Volume.from_array(np.zeros((2, 3, 4)))))


class Ear:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        self.threads.add(threading.current_thread())


def test_events_come_in_the_window_s_thread(runner: Any, job: Job, qtbot: Any) -> None:
    ear = Ear()
    runner.propose(job, ear)
    qtbot.waitUntil(lambda: len(ear.events) == 1, timeout=5000)
    assert ear.threads == {threading.main_thread()}
    assert isinstance(ear.events[0], Advanced)


def test_a_cancelled_job_tells_stopped_once(
    runner: Any, engine: FakeEngine, job: Job, qtbot: Any
) -> None:
    ear = Ear()
    ticket = runner.propose(job, ear)
    qtbot.waitUntil(lambda: bool(ear.events), timeout=5000)
    ticket.cancel()
    ticket.cancel()
    engine.tickets[0].listener(Advanced(Progress("sample", 2, 2)))
    engine.tickets[0].listener(Stopped())
    qtbot.waitUntil(lambda: any(isinstance(e, Stopped) for e in ear.events))
    qtbot.wait(50)
    assert [type(event) for event in ear.events] == [Advanced, Stopped]
    assert engine.tickets[0].cancels == 1


def test_a_job_cancelled_before_the_engine_has_started_never_reaches_it(
    runner: Any, engine: FakeEngine, job: Job, qtbot: Any
) -> None:
    engine.may_start.clear()
    ear = Ear()
    ticket = runner.propose(job, ear)
    ticket.cancel()
    qtbot.waitUntil(lambda: bool(ear.events), timeout=5000)
    engine.may_start.set()
    qtbot.wait(100)
    assert [type(event) for event in ear.events] == [Stopped]
    assert engine.tickets == []


@pytest.mark.parametrize(
    ("trouble", "status"),
    [(UserError("DIFFSEG_ENGINE: no scheduler there"), 2), (OSError("no"), 1)],
)
def test_an_engine_that_does_not_start_fails_its_jobs(
    runner: Any,
    engine: FakeEngine,
    job: Job,
    qtbot: Any,
    trouble: Exception,
    status: int,
) -> None:
    engine.trouble = trouble
    ear = Ear()
    runner.plan(job, ear)
    qtbot.waitUntil(lambda: bool(ear.events), timeout=5000)
    (event,) = ear.events
    assert isinstance(event, Failed)
    assert event.exit_status == status
    assert str(trouble) in event.message


def test_warming_tells_the_machine_and_the_state(runner: Any, qtbot: Any) -> None:
    machines, states = Ear(), Ear()
    runner.machine_found.connect(machines)
    runner.state_changed.connect(states)
    runner.warm("any")
    qtbot.waitUntil(lambda: bool(machines.events), timeout=5000)
    assert machines.events == [MACHINE]
    assert states.events == ["ready"]
    assert machines.threads == {threading.main_thread()}


def test_background_work_comes_back_into_the_window(qtbot: Any) -> None:
    from napari_diffseg.jobs.threads import Background, GuiThread

    gui = GuiThread()
    background = Background(gui)
    done, failed = Ear(), Ear()
    background(lambda: threading.current_thread(), done, failed)
    background(lambda: 1 / 0, done, failed)
    qtbot.waitUntil(lambda: bool(failed.events), timeout=5000)
    background.close()
    assert done.events[0] is not threading.main_thread()
    assert isinstance(failed.events[0], ZeroDivisionError)
    assert done.threads | failed.threads == {threading.main_thread()}
