"""What a self-training is asked to do, and what comes of it. Loads without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from diffseg.errors import UserError
from diffseg_training.finetuning.job import Finetuned, RunJob


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTrainJob(RunJob):
    """Train a segmenter from the weak masks and the corrections of a project.

    `model` is whose proposals teach and that is judged against, `recipe` that of the
    segmenter, which begins from scratch.

    Parameters
    ----------
    keep : float, optional
        Share of the weak masks to take; the recipe's without it.
    limit : float, optional
        Uncertainty above which a voxel carries no loss; the recipe's without it.
    start : str, optional
        A model whose weights it begins from.
    id : str, optional
        What the new model is called; without it the weak model's id and the method.
    judged : bool
        Whether held-out cases judge it; else it is kept unjudged.
    """

    kind: ClassVar[str] = "self-train"
    title: ClassVar[str] = "self-training"

    keep: float | None = None
    limit: float | None = None
    start: str | None = None
    id: str | None = None
    judged: bool = True

    def checked(self) -> Self:
        """Return this job; `UserError` if it cannot be meant."""
        if not self.resume and not self.model:
            raise UserError("name the model whose masks teach", option="--model")
        RunJob.checked(self)  # a class with slots has no super() without arguments
        if not self.resume and self.recipe is None:
            raise UserError(
                "name the recipe of the segmenter; see diffseg recipes list",
                option="--recipe",
            )
        if self.keep is not None and not 0 < self.keep <= 1:
            raise UserError(f"keep is {self.keep:g}; give a share above 0, at most 1")
        if self.limit is not None and not 0 <= self.limit <= 1:
            raise UserError(f"limit is {self.limit:g}; give an uncertainty from 0 to 1")
        if self.hold_out and not self.judged:
            raise UserError(
                "cases to hold out and nobody to judge exclude each other: leave out "
                "--hold-out or --no-judge"
            )
        return self


@dataclass(frozen=True, slots=True)
class SelfTrained(Finetuned):
    """How a self-training ended; `parent` is the weak model.

    Parameters
    ----------
    weak_cases, weak_voxels : int
        Of what was learnt from: cases with voxels of a weak mask, and those voxels.
    left_out : int
        Cases whose weak mask was doubted too much, or empty without a word of anybody.
    lacking : int
        Cases that have neither a proposal of the weak model nor a correction.
    """

    weak_cases: int
    weak_voxels: int
    left_out: int
    lacking: int
