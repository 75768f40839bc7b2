"""The process that fine-tunes for a window: ``python -m ...finetuning.worker``.

The first line of standard input is the job; its end, by whatever cause, cancels. What
is told goes out as one JSON object a line: signs of life, then how it ended.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from threading import Event, Thread
from typing import Any, TextIO

from diffseg.progress import Progress
from diffseg_training.finetuning.job import Finetuned, FinetuneJob
from diffseg_training.learning import Learning


def main() -> int:
    """Carry a job out; returns the exit status of the command line's contract."""
    # What libraries print goes nowhere; the pipe is for what is told.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    line = sys.stdin.readline()
    if not line.strip():
        return 130
    job = FinetuneJob.from_json(json.loads(line))
    cancelled = Event()
    Thread(target=_await_end, args=(cancelled,), daemon=True).start()
    with pipe:
        return _carry_out(job, cancelled, pipe)


def _carry_out(job: FinetuneJob, cancelled: Event, pipe: TextIO) -> int:
    from diffseg.engine.faults import verdict

    try:
        from diffseg_training.finetuning.run import iter_finetune

        work = iter_finetune(job)
        try:
            while True:
                if cancelled.is_set():
                    return 130
                _say(pipe, told_of(next(work)))
        except StopIteration as stop:
            done: Finetuned = stop.value
        finally:
            work.close()
    except BrokenPipeError:
        return 130
    except BaseException as error:
        failed = verdict("fine-tuning", error)
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


def progress_of(told: dict[str, Any]) -> Progress:
    """Read what `told_of` gave."""
    if "learning" in told:
        return Learning(**told["sign"], **told["learning"])
    return Progress(**told["sign"])


def _say(pipe: TextIO, told: dict[str, Any]) -> None:
    pipe.write(json.dumps(told) + "\n")
    pipe.flush()


def _await_end(cancelled: Event) -> None:
    with suppress(OSError, ValueError):
        sys.stdin.read()
    cancelled.set()


if __name__ == "__main__":
    status = main()
    # The thread that waits for standard input cannot be joined.
    os._exit(status)
