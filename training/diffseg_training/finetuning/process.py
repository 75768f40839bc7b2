"""A fine-tuning in a process of its own, watched from here. Loads without torch.

See `diffseg_training.apart`.
"""

from __future__ import annotations

from diffseg.progress import Work
from diffseg_training.apart import iter_apart
from diffseg_training.finetuning.job import Finetuned, FinetuneJob

LOST = (
    "the process that trained the model ended, perhaps because the memory is "
    "exhausted; what it had learnt is kept, go on with --resume"
)
_MODULE = "diffseg_training.finetuning.worker"


def iter_finetune_apart(
    job: FinetuneJob, *, threads: int | None = None
) -> Work[Finetuned]:
    """Fine-tune in another process; see `diffseg_training.finetuning.run`.

    Run it in a thread: it blocks for a quarter of a second between two signs of life.
    Closing the generator cancels the run, and returns once its process has ended.

    Parameters
    ----------
    job : FinetuneJob
    threads : int, optional
        CPU threads of that process; a window leaves one core for itself.

    Yields
    ------
    Progress
        While it trains, a `diffseg_training.learning.Learning`.

    Raises
    ------
    UserError
        As `run.iter_finetune` has it.
    DiffsegError
        The process ended before its work did.
    """
    told = job.checked().as_json()
    return (
        yield from iter_apart(
            _MODULE, told, Finetuned.from_json, lost=LOST, threads=threads
        )
    )
