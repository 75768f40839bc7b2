"""The process that calibrates for a window: ``python -m ...calibrating.worker``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffseg.progress import Work
from diffseg_training.apart_worker import leave, serve
from diffseg_training.calibrating.job import CalibrateJob, Recalibrated


def main() -> int:
    """Carry a job out; returns the exit status of the command line's contract."""
    return serve(_begin, "calibration")


def _begin(told: Mapping[str, Any]) -> Work[Recalibrated]:
    from diffseg_training.calibrating.run import iter_calibrate_reviewed

    return iter_calibrate_reviewed(CalibrateJob.from_json(told))


if __name__ == "__main__":
    leave(main())
