"""What a training in the window needs of all that is around it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffseg.progress import Work
from napari_diffseg.presenters.train_outlook import Prospect, iter_prospect

if TYPE_CHECKING:
    from diffseg_training.finetuning.job import Finetuned, FinetuneJob, RunJob


def begin_apart(job: RunJob) -> Work[Any]:
    """Start a training in a process that leaves a core to the window."""
    from diffseg_training.finetuning.job import FinetuneJob
    from diffseg_training.selftraining.job import SelfTrainJob

    threads = max(1, (os.cpu_count() or 2) - 1)
    if isinstance(job, SelfTrainJob):
        from diffseg_training.selftraining.process import iter_self_train_apart

        return iter_self_train_apart(job, threads=threads)
    from diffseg_training.finetuning.process import iter_finetune_apart

    assert isinstance(job, FinetuneJob)
    return iter_finetune_apart(job, threads=threads)


def resumed(kind: str, project: str, annotator: str, device: str) -> RunJob:
    """The job that goes on with the run of a kind that was broken off."""
    from diffseg_training.finetuning.job import FinetuneJob
    from diffseg_training.selftraining.job import SelfTrainJob

    maker = SelfTrainJob if kind == SelfTrainJob.kind else FinetuneJob
    return maker(project=project, annotator=annotator, device=device, resume=True)


@dataclass(frozen=True, slots=True)
class Doors:
    """What a training needs of the other presenters.

    Parameters
    ----------
    save : callable
        Saves what is drawn in the open case, then calls on.
    kept : callable
        Told the name of a version that was kept.
    ended : callable
        Told how each run ended: the result.
    begin : callable
        Starts the work of a job.
    look : callable
        Starts the work that counts a job's cases.
    """

    save: Callable[[Callable[[], Any]], Any]
    kept: Callable[[str], Any]
    ended: Callable[[Finetuned], Any]
    begin: Callable[[RunJob], Work[Any]] = begin_apart
    look: Callable[[FinetuneJob], Work[Prospect]] = iter_prospect
