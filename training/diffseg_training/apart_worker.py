"""The other side of `diffseg_training.apart`: a process that does one piece of work.

The first line of standard input is the job; its end, by whatever cause, cancels. What
is told goes out as one JSON object a line: signs of life, then how it ended.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Any, TextIO

from diffseg.progress import Progress, Work
from diffseg_training.learning import Learning

Begin = Callable[[Mapping[str, Any]], Work[Any]]


def serve(begin: Begin, title: str) -> int:
    """Carry a job out; returns the exit status of the command line's contract.

    Parameters
    ----------
    begin : callable
        Starts the work of a job's plain values; its result has ``as_json``.
    title : str
        What is done, for the log.
    """
    # What libraries print goes nowhere; the pipe is for what is told.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    line = sys.stdin.readline()
    if not line.strip():
        return 130
    cancelled = Event()
    Thread(target=_await_end, args=(cancelled,), daemon=True).start()
    with pipe:
        return _carry_out(begin, json.loads(line), title, cancelled, pipe)


def leave(status: int) -> None:
    """End the process; the thread that waits for standard input cannot be joined."""
    os._exit(status)


def _carry_out(
    begin: Begin, job: Mapping[str, Any], title: str, cancelled: Event, pipe: TextIO
) -> int:
    from diffseg.engine.faults import verdict

    try:
        work = begin(job)
        try:
            while True:
                if cancelled.is_set():
                    return 130
                _say(pipe, told_of(next(work)))
        except StopIteration as stop:
            done = stop.value
        finally:
            work.close()
    except BrokenPipeError:
        return 130
    except BaseException as error:
        failed = verdict(title, error)
        with suppress(OSError):
            said = {"failed": failed.message, "status": failed.exit_status}
            _say(pipe, said)
        return failed.exit_status
    _say(pipe, {"done": done.as_json()})
    return 0


def told_of(progress: Progress) -> dict[str, Any]:
    """A sign of life as plain values; see `progress_of`."""
    told: dict[str, Any] = {"sign": progress.sign()}
    if isinstance(progress, Learning):
        told["learning"] = {
            "step": progress.step,
            "loss": progress.loss,
            "scores": dict(progress.scores),
        }
    return told


def progress_of(told: Mapping[str, Any]) -> Progress:
    """Read what `told_of` gave."""
    if "learning" in told:
        return Learning(**told["sign"], **told["learning"])
    return Progress(**told["sign"])


def _say(pipe: TextIO, told: Mapping[str, Any]) -> None:
    pipe.write(json.dumps(told) + "\n")
    pipe.flush()


def _await_end(cancelled: Event) -> None:
    with suppress(OSError, ValueError):
        sys.stdin.read()
    cancelled.set()
