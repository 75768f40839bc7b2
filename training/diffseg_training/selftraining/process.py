"""A self-training in a process of its own, watched from here. Loads without torch."""

from __future__ import annotations

from diffseg.progress import Work
from diffseg_training.apart import iter_apart
from diffseg_training.finetuning.process import LOST
from diffseg_training.selftraining.job import SelfTrained, SelfTrainJob

_MODULE = "diffseg_training.selftraining.worker"


def iter_self_train_apart(
    job: SelfTrainJob, *, threads: int | None = None
) -> Work[SelfTrained]:
    """Self-train in another process; see `diffseg_training.selftraining.run`.

    As `diffseg_training.finetuning.process.iter_finetune_apart`: run it in a thread;
    closing the generator cancels.

    Raises
    ------
    UserError
        As `run.iter_self_train` has it.
    DiffsegError
        The process ended before its work did.
    """
    told = job.checked().as_json()
    return (
        yield from iter_apart(
            _MODULE, told, SelfTrained.from_json, lost=LOST, threads=threads
        )
    )
