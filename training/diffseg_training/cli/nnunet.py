"""``diffseg nnunet``: the reference nnU-Net, by its own commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffseg.cli.output import emit, follow


def nnunet(
    data: Annotated[Path, typer.Option(help="A data set: its manifest or folder.")],
    out: Annotated[Path, typer.Option(help="New folder for all that is made.")],
    split: Annotated[str, typer.Option(help="What to predict and score.")] = "val",
    configuration: Annotated[str, typer.Option(help="2d or 3d_fullres.")] = "2d",
    epochs: Annotated[int, typer.Option(help="Of 250 steps: 1, 5, 10 ... 1000.")] = 50,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    processes: Annotated[int, typer.Option(help="That prepare cases at once.")] = 2,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train nnU-Net on a data set's train split, and score what it predicts.

    Example: diffseg nnunet --data data/ph2 --out runs/ph2-nnunet --epochs 5
    """
    from diffseg_training.dataset import load_dataset
    from diffseg_training.nnunet_run import Plan, run_nnunet

    plan = Plan(configuration, epochs, device, processes)  # type: ignore[arg-type]
    metrics = follow(run_nnunet(load_dataset(data), out, split, plan))
    dice = metrics["mean"]["dice"]
    said = [f"Dice of {name}: {value:.4f}" for name, value in dice.items()]
    emit(metrics, json, "\n".join([*said, f"{out / 'metrics.json'}"]))
