"""The process that self-trains for a window: ``python -m ...selftraining.worker``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffseg.progress import Work
from diffseg_training.apart_worker import leave, serve
from diffseg_training.selftraining.job import SelfTrained, SelfTrainJob


def main() -> int:
    """Carry a job out; returns the exit status of the command line's contract."""
    return serve(_begin, SelfTrainJob.title)


def _begin(told: Mapping[str, Any]) -> Work[SelfTrained]:
    from diffseg_training.selftraining.run import iter_self_train

    return iter_self_train(SelfTrainJob.from_json(told))


if __name__ == "__main__":
    leave(main())
