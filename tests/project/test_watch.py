"""The journal's thread: nothing is missed, and who waits waits for the right turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from diffseg.project.watch import Watch

LONG = 20.0


class Desk:
    """Work that waits to be let go, and tells what was drawn when it began."""

    def __init__(self) -> None:
        self.began, self.go = threading.Semaphore(0), threading.Semaphore(0)
        self.drawn = 0
        self.kept: list[int] = []
        self.sound = True
        self.pieces = 0
        self.watch = Watch(self.work, self.chore, delay=0.01, retry=0.01)

    def work(self, key: str) -> bool:
        seen = self.drawn
        self.began.release()
        assert self.go.acquire(timeout=LONG)
        self.kept.append(seen)
        return self.sound

    def chore(self) -> bool:
        self.pieces = max(0, self.pieces - 1)
        return self.pieces > 0


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    for _ in range(100):
        made.go.release()
    assert made.watch.stop(LONG)


def test_who_waits_while_work_runs_waits_for_the_next(desk: Desk) -> None:
    desk.watch.note("a")
    assert desk.began.acquire(timeout=LONG)  # it has looked, and saw 0
    desk.drawn = 1
    done: list[bool] = []
    waiting = threading.Thread(
        target=lambda: done.append(desk.watch.settle(["a"], LONG))
    )
    waiting.start()
    desk.go.release()
    assert desk.began.acquire(timeout=LONG)
    assert done == []
    desk.go.release()
    waiting.join(LONG)
    assert done == [True]
    assert desk.kept == [0, 1]


def test_a_note_while_work_runs_is_worked_on(desk: Desk) -> None:
    desk.watch.note("a")
    assert desk.began.acquire(timeout=LONG)
    desk.drawn = 1
    desk.watch.note("a")
    desk.go.release()
    assert desk.began.acquire(timeout=LONG)
    desk.go.release()
    desk.watch.settle([], LONG)


def test_who_waits_is_told_that_it_failed_or_takes_too_long(desk: Desk) -> None:
    assert not desk.watch.settle(["a"], timeout=0.01)
    desk.sound = False
    desk.go.release()
    desk.go.release()
    assert not desk.watch.settle(["a"], LONG)
    desk.sound = True  # and it is tried again, without another note
    for _ in range(50):
        desk.go.release()
    count = len(desk.kept)
    while len(desk.kept) == count:
        assert desk.began.acquire(timeout=LONG)


def test_chores_are_done_in_pieces_between(desk: Desk) -> None:
    desk.pieces = 5
    for _ in range(10):
        desk.go.release()
    desk.watch.settle(["a"], LONG)
    while desk.pieces:
        desk.watch.settle(["a"], LONG)
    assert desk.pieces == 0


def test_nothing_is_done_after_the_end(desk: Desk) -> None:
    assert desk.watch.stop(LONG)
    desk.watch.note("a")
    assert not desk.watch.settle(["a"], timeout=0.05)
    assert desk.kept == []
