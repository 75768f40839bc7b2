"""``diffseg calibrate``: probabilities that mean what they say, as a new version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow

if TYPE_CHECKING:
    from rich.console import Group

    from diffseg.ensemble.calibration_choice import Calibrated
    from diffseg.models import ModelFolder


def calibrate(
    model: Annotated[str, typer.Option(metavar="ID[@VERSION]|DIR", help="The model.")],
    data: Annotated[
        Path, typer.Option(metavar="DATASET", help="A manifest.csv or its folder.")
    ],
    split: Annotated[str, typer.Option(help="train, val, test or all.")],
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|temperature|temperatures|isotonic",
            help="One temperature, one a class, a monotone table; the best of them.",
        ),
    ] = "auto",
    labels: Annotated[
        str,
        typer.Option(
            metavar="given|none", help="Image-level labels the model is told."
        ),
    ] = "none",
    members: Annotated[int | None, typer.Option(help="Draws of the ensemble.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a member.")] = None,
    seed: Annotated[int, typer.Option(help="Every random number follows.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print every figure.")] = False,
) -> None:
    """Calibrate a model on a split's reference masks, and keep it as a new version.

    A model by ID gets a version beside its own, which propose then takes; a folder
    gets a new card. What is no better on patients held out is refused, and nothing
    is kept.

    Example: diffseg calibrate --model hippocampus-mri --data DATASET --split val
    """
    from diffseg.models import find_model
    from diffseg.models.calibrated import (
        FIGURES,
        figures,
        store_calibration,
        uncalibrated,
    )
    from diffseg.segmenters.base import load_method
    from diffseg.segmenters.device import resolve_device
    from diffseg_training.calibration import CalibrationConfig, iter_calibrate
    from diffseg_training.calibration_picture import calibration_plot
    from diffseg_training.dataset import load_dataset

    _check(method, labels, members=members, steps=steps, seed=seed)
    config = CalibrationConfig(
        split=split,
        method=method,
        labels="given" if labels == "given" else "none",
        members=members,
        steps=steps,
        seed=seed,
    )
    dataset = load_dataset(data)
    dataset.split(split)  # a wrong split is told before a model is loaded
    folder = find_model(model)
    base = uncalibrated(folder)
    kind = load_method(base.card.method, f"model {base.name}")
    segmenter = kind.from_model(base, resolve_device(device))
    found = follow(iter_calibrate(segmenter, dataset, config))
    files = {
        FIGURES: figures(found.figures),
        "reliability.png": calibration_plot(found.figures, base.card.labels.names),
    }
    kept = store_calibration(folder, found.calibration.model_dump(mode="json"), files)
    emit(_result(kept, found), json, lambda: _text(kept, found))


def _check(method: str, labels: str, **numbers: int | None) -> None:
    from diffseg.ensemble.calibration_choice import METHODS
    from diffseg.errors import UserError

    if method not in ("auto", *METHODS):
        raise UserError(f"--method is {method!r}; give auto, {', '.join(METHODS)}")
    if labels not in ("given", "none"):
        raise UserError(f"--labels is {labels!r}; give given or none")
    for name, value in numbers.items():
        least = 0 if name == "seed" else 1
        if value is not None and value < least:
            raise UserError(f"--{name} is {value}; give {least} or more")


def _result(kept: ModelFolder, found: Calibrated) -> dict[str, Any]:
    return {
        "model": {
            "id": kept.card.id,
            "version": kept.card.version,
            "sha256": kept.card.sha256,
            "path": str(kept.path),
        },
        "calibration": found.calibration.model_dump(mode="json"),
        "figures": found.figures,
    }


def _text(kept: ModelFolder, found: Calibrated) -> Group:
    from rich.console import Group
    from rich.table import Table

    figures = found.figures
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{figures['cases']} cases, patients held out")
    for column in ("before", "after"):
        table.add_column(column, justify="right")
    sides = (figures["before"], figures["after"])
    for place, words in (("box", "in the box"), ("image", "all voxels")):
        if sides[0][place] is None:
            continue
        for key, name in (("nll", "NLL"), ("brier", "Brier"), ("ece", "ECE")):
            values = [f"{side[place][key]:.5f}" for side in sides]
            table.add_row(f"{name}, {words}", *values)
    for name in sides[0]["dice"]:
        table.add_row(f"Dice, {name}", *(f"{side['dice'][name]:.4f}" for side in sides))
    lines = [f"{kept.name} is {found.calibration.words}: {kept.path}"]
    for name, one in (figures["predicted_dice"] or {}).items():
        spearman = one["predicted"]["spearman"]
        told = "unknown" if spearman is None else f"{spearman:.2f}"
        lines.append(
            f"predicted Dice, {name}: rank correlation {told}, mean error "
            f"{one['mean_absolute_error']:.3f}"
        )
    return Group(table, "", *lines)
