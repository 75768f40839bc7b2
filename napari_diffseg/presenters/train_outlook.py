"""What a model would learn from, as the window asks the project for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffseg.progress import Progress, Work
from napari_diffseg.views import TrainCase

if TYPE_CHECKING:
    from diffseg_training.finetuning.job import FinetuneJob


@dataclass(frozen=True, slots=True)
class Prospect:
    """Cases that would be learnt from and held out, or why there are none.

    Parameters
    ----------
    refused : str
        Why a run would be refused; "" where it would not.
    resumable : bool
        Whether the latest run was broken off, and can go on.
    kind : str
        What that run was begun as; see `diffseg_training.finetuning.job.RunJob`.
    """

    cases: tuple[TrainCase, ...] = ()
    refused: str = ""
    resumable: bool = False
    kind: str = ""


def iter_prospect(job: FinetuneJob) -> Work[Prospect]:
    """Look ahead beside the window; reads the project through a door of its own."""
    from diffseg.errors import UserError
    from diffseg.project import store
    from diffseg_training.finetuning.outlook import outlook
    from diffseg_training.finetuning.records import is_broken_off, kind_of

    yield Progress("look")
    with store.open_project(job.project) as project:
        runs = store.training_runs(project)
        broken = bool(runs) and is_broken_off(project, runs[-1])
        kind = kind_of(runs[-1]) if broken else ""
        try:
            found = outlook(project, job)
        except UserError as error:
            return Prospect(refused=str(error), resumable=broken, kind=kind)
    sides = ((found.learn, False), (found.hold_out, True))
    cases = tuple(
        TrainCase(one.id, one.name, one.voxels, one.whole, held, slices=one.slices)
        for lessons, held in sides
        for one in lessons
    )
    return Prospect(cases, resumable=broken, kind=kind)


def wished(
    cases: tuple[TrainCase, ...],
) -> tuple[tuple[str, ...], tuple[str, ...]] | str:
    """Ids to learn from and to judge by, as ticked; both empty where all are.

    Or, in a line, why what is ticked cannot be begun with.
    """
    used = [one for one in cases if one.used]
    learn = tuple(one.id for one in used if not one.held_out)
    judge = tuple(one.id for one in used if one.held_out)
    if not learn:
        return "tick a case to learn from"
    if not judge:
        return "tick a held-out case: without one nobody could judge what was learnt"
    return (learn, judge) if len(used) < len(cases) else ((), ())


def in_words(cases: tuple[TrainCase, ...]) -> str:
    """Say how much would be learnt from: "2 cases, 12,345 voxels; 1 held out".

    Slices are counted of cases that teach by their labels alone.
    """
    used = [one for one in cases if one.used]
    learn = [one for one in used if not one.held_out]
    held = len(used) - len(learn)
    voxels = sum(one.voxels for one in learn)
    said = sum(one.slices for one in learn if not one.voxels)
    taught = f"{voxels:,} reviewed voxels"
    if said:
        taught += f" and labels of {said:,} slice{'s' * (said != 1)}"
    plural = "s" * (len(learn) != 1)
    return f"learns from {len(learn)} case{plural}, {taught}; judged by {held} held out"
