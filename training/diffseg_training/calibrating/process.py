"""A calibration in a process of its own, watched from here. Loads without torch."""

from __future__ import annotations

from diffseg.progress import Work
from diffseg_training.apart import iter_apart
from diffseg_training.calibrating.job import CalibrateJob, Recalibrated

LOST = (
    "the process that calibrated the model ended, perhaps because the memory is "
    "exhausted; the model stays as it was"
)
_MODULE = "diffseg_training.calibrating.worker"


def iter_calibrate_apart(
    job: CalibrateJob, *, threads: int | None = None
) -> Work[Recalibrated]:
    """Calibrate in another process; see `diffseg_training.calibrating.run`.

    Run it in a thread. Closing the generator cancels, and nothing is kept.

    Raises
    ------
    UserError
        As `run.iter_calibrate_reviewed` has it.
    DiffsegError
        The process ended before its work did.
    """
    return (
        yield from iter_apart(
            _MODULE, job.as_json(), Recalibrated.from_json, lost=LOST, threads=threads
        )
    )
