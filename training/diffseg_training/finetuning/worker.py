"""The process that fine-tunes for a window: ``python -m ...finetuning.worker``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffseg.progress import Work
from diffseg_training.apart_worker import leave, progress_of, serve, told_of
from diffseg_training.finetuning.job import Finetuned, FinetuneJob

__all__ = ["main", "progress_of", "told_of"]


def main() -> int:
    """Carry a job out; returns the exit status of the command line's contract."""
    return serve(_begin, "fine-tuning")


def _begin(told: Mapping[str, Any]) -> Work[Finetuned]:
    from diffseg_training.finetuning.run import iter_finetune

    return iter_finetune(FinetuneJob.from_json(told))


if __name__ == "__main__":
    leave(main())
