"""``diffseg train``: a recipe and a data set in, a model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffseg.cli.output import emit, follow


def train(
    recipe: Annotated[
        str, typer.Argument(help="A name from `diffseg recipes list`, or a YAML file.")
    ],
    data: Annotated[str, typer.Option(help="Manifest or folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; the model lies in it.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override, as optimiser.batch=4; repeatable."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of training, instead of the recipe's.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last state in OUT.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output.")
    ] = False,
) -> None:
    """Train a model by a recipe; the best weights on val become OUT/model.

    Example: diffseg train hippocampus-mri --data DATASET --out runs/hippocampus

    Several processes: accelerate launch --multi_gpu --no_python diffseg train ...
    """
    from diffseg_training.run import train_model

    overrides = list(set_ or [])
    if minutes is not None:
        overrides += [f"length.minutes={minutes}", "length.steps=null"]
    result = follow(
        train_model(recipe, data, out, overrides, resume=resume, device=device)
    )
    if "curve" not in result:  # not the first of several processes
        return
    written = next(
        result[kind] for kind in ("model", "part", "folder") if kind in result
    )
    emit(
        result,
        json,
        lambda: (
            f"{written}: {result['steps']} steps in "
            f"{result['minutes']:.1f} minutes, best on val {result['best']}\n"
            f"{result['images_per_second']:.1f} images/s, "
            f"{100 * result['waiting']:.1f} % of the time waiting for data\n"
            f"curves: {result['curve']}"
        ),
    )
