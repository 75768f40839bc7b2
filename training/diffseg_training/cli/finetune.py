"""``diffseg project finetune``: a model learns from corrections, behind a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.project_options import Annotator, Dir, Json, who
from diffseg.errors import UserError
from diffseg_training.cli.run_options import (
    PATIENT,
    Device,
    HoldOut,
    OverallTolerance,
    Patient,
    Resume,
    Seed,
    Tolerance,
    names_of,
)

if TYPE_CHECKING:
    from diffseg_training.finetuning.job import Finetuned


def finetune(
    folder: Dir,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID[@VERSION]", help="The model to start from."),
    ] = None,
    cases: Annotated[
        str | None,
        typer.Option(metavar="CASE,...", help="To learn from; else all reviewed."),
    ] = None,
    hold_out: HoldOut = None,
    replay: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Base data to mix in.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="Of the model, where its card names none here."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Of training, instead of the recipe's steps.")
    ] = None,
    tolerance: Tolerance = None,
    overall_tolerance: OverallTolerance = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override, as finetuning.rate=0.2; repeatable."),
    ] = None,
    patient: Patient = PATIENT,
    seed: Seed = 0,
    resume: Resume = False,
    device: Device = "auto",
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Fine-tune a model on a project's corrections, and keep it if it is no worse.

    Only voxels that were reviewed are learnt from; a model of words learns from what
    was said of slices, too. Parent and child propose for the held-out cases; the child
    becomes a version of the model, and is meant by its id from then on, unless a class,
    or the mean of all, loses more than it may.

    Example: diffseg project finetune my-study --model hippocampus-mri --minutes 3
    """
    from diffseg_training.finetuning.job import FinetuneJob

    if model is None and not resume:
        raise UserError("name the model to start from", option="--model")
    job = FinetuneJob(
        project=str(folder),
        model=model or "",
        annotator=who(annotator),
        cases=names_of(cases),
        hold_out=names_of(hold_out),
        replay=replay,
        recipe=recipe,
        minutes=minutes,
        tolerance=tolerance,
        overall_tolerance=overall_tolerance,
        settings=tuple(set_ or ()),
        patient=patient,
        seed=seed,
        device=device,
        resume=resume,
    ).checked()
    from diffseg_training.finetuning.run import iter_finetune

    done = follow(iter_finetune(job))
    emit(done.as_json(), json, lambda: _text(done))


def _text(done: Finetuned) -> str:
    said = [
        done.verdict["sentence"],
        f"{done.parent} learnt from {len(done.learnt)} cases, {done.voxels} voxels: "
        f"{done.steps} steps in {done.minutes:.1f} minutes",
    ]
    if done.outcome == "kept":
        id = done.model.partition("@")[0]
        said += [
            f"{done.model} is added, and {id} means it now: {done.path}",
            f"back to {done.parent}: diffseg models rollback {id}",
        ]
    else:
        said.append(f"{done.parent} stays; what was refused lies in {done.path}")
    return "\n".join(said)
