"""``diffseg evaluate``: how good a model is on cases with reference masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(
    model: Annotated[str, typer.Option(metavar="ID|DIR", help="The model.")],
    data: Annotated[
        Path, typer.Option(metavar="DATASET", help="A manifest.csv or its folder.")
    ],
    split: Annotated[str, typer.Option(help="train, val, test or all.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where metrics.json and report.html go.")
    ],
    compare: Annotated[
        str | None, typer.Option(metavar="ID|DIR", help="A second model, in pairs.")
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            metavar="given|predicted|none", help="Image-level labels the model is told."
        ),
    ] = "none",
    members: Annotated[int | None, typer.Option(help="Draws of the ensemble.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of a member.")] = None,
    seed: Annotated[int, typer.Option(help="Every random number follows.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print metrics.json.")] = False,
) -> None:
    """Score a model's proposals against reference masks.

    Writes metrics.json and a report.html that opens offline.

    Example: diffseg evaluate --model ID --data DIR --split val --out evaluation
    """
    from diffseg.segmenters import load_segmenter
    from diffseg_training.dataset import load_dataset
    from diffseg_training.evaluation import evaluation_config, iter_evaluate
    from diffseg_training.evaluation_report import check_folder, save_evaluation

    config = evaluation_config(
        split=split, labels=labels, members=members, steps=steps, seed=seed
    )
    check_folder(out)
    dataset = load_dataset(data)
    dataset.split(split)  # a wrong split is told before a model is loaded
    segmenter = load_segmenter(model, device=device)
    other = None if compare is None else load_segmenter(compare, device=device)
    result = follow(iter_evaluate(segmenter, dataset, config, other))
    save_evaluation(result, out)
    emit(result.metrics, json, lambda: _table(result.metrics, out))


def _table(metrics: dict[str, Any], out: Path) -> Table:
    from rich.table import Table

    from diffseg_training.evaluation_text import interval, number

    table = Table(box=None, pad_edge=False, caption=f"{out / 'report.html'}")
    for column in ("structure", "Dice", "95 % interval", "IoU", "HD95 mm", "NSD 2 mm"):
        table.add_column(column, justify="left" if column == "structure" else "right")
    mean, ci95 = metrics["mean"], metrics["ci95"]
    for name in mean["dice"]:
        table.add_row(
            name,
            number(mean["dice"][name]),
            interval(ci95["dice"][name]),
            number(mean["iou"][name]),
            number(mean["hd95_mm"][name], 2),
            number(mean["nsd_2mm"][name]),
        )
    macro = number(metrics["dice_macro"])
    table.add_row("mean", macro, interval(ci95["dice_macro"]), "", "", "")
    for title, key in (
        ("calibration error", "ece_pooled"),
        ("AUROC of uncertainty", "uncertainty_error_auroc"),
    ):
        table.add_row(title, number(metrics[key], 4), interval(ci95[key], 4))
    if "comparison" in metrics:
        paired = metrics["comparison"]["dice_macro"]
        gain = number(paired["difference"], signed=True)
        table.add_row("mean - compared", gain, interval(paired["ci95"], signed=True))
    return table
