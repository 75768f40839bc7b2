"""``diffseg project self-train``: weak masks train a segmenter, behind a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffseg.cli.output import emit, follow
from diffseg.cli.project_options import Annotator, Dir, Json, who
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
    from diffseg_training.selftraining.job import SelfTrained


def self_train(
    folder: Dir,
    model: Annotated[
        str | None,
        typer.Option(metavar="ID[@VERSION]", help="The model whose masks teach."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Of the segmenter to train."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(help="Share of the weak masks, the least doubted; else 0.7."),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(help="Uncertainty above which a voxel teaches nothing; else 0.5."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="To begin from; else from scratch."),
    ] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="What the new model is called.")
    ] = None,
    hold_out: HoldOut = None,
    no_judge: Annotated[
        bool, typer.Option("--no-judge", help="Keep it unjudged, and say so.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Of training, instead of the recipe's length.")
    ] = None,
    tolerance: Tolerance = None,
    overall_tolerance: OverallTolerance = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override, as self_training.by=expected_dice."),
    ] = None,
    patient: Patient = PATIENT,
    seed: Seed = 0,
    resume: Resume = False,
    device: Device = "auto",
    annotator: Annotator = None,
    json: Json = False,
) -> None:
    """Train a segmenter from a model's proposals and your corrections.

    The surest proposals of a model, and of them the voxels that are sure enough, are
    learnt from together with all that was corrected. The new model is kept unless it
    is worse than the one that proposed, on cases held out.

    Example: diffseg project self-train my-study --model lgg-cldf --recipe lgg-unet
    """
    from diffseg_training.selftraining.job import SelfTrainJob

    job = SelfTrainJob(
        project=str(folder),
        model=model or "",
        annotator=who(annotator),
        hold_out=names_of(hold_out),
        recipe=recipe,
        minutes=minutes,
        tolerance=tolerance,
        overall_tolerance=overall_tolerance,
        settings=tuple(set_ or ()),
        patient=patient,
        seed=seed,
        device=device,
        resume=resume,
        keep=keep,
        limit=limit,
        start=start,
        id=id_,
        judged=not no_judge,
    ).checked()
    from diffseg_training.selftraining.run import iter_self_train

    done = follow(iter_self_train(job))
    emit(done.as_json(), json, lambda: _text(done, str(folder)))


def _text(done: SelfTrained, folder: str) -> str:
    said = [
        done.verdict["sentence"],
        f"learnt from {done.weak_cases} weak masks of {done.parent}, "
        f"{done.weak_voxels} voxels, and {done.voxels - done.weak_voxels} corrected "
        f"ones: {done.steps} steps in {done.minutes:.1f} minutes",
    ]
    if done.left_out:
        said.append(f"{done.left_out} weak masks were doubted too much and left out")
    if done.lacking:
        said.append(
            f"{done.lacking} cases have no proposal: diffseg project propose {folder} "
            f"--model {done.parent}"
        )
    if done.outcome == "kept":
        id = done.model.partition("@")[0]
        said.append(f"{done.model} is added, and {id} means it now: {done.path}")
    else:
        said.append(f"what was refused lies in {done.path}")
    return "\n".join(said)
