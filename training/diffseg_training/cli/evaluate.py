"""``diffseg evaluate``: how good a model is on cases with reference masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffseg.cli.output import emit, follow

if TYPE_CHECKING:
    from rich.console import Group
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
    seed: Annotated[
        int | None,
        typer.Option(help="Every random number follows.", show_default="0"),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="How much the scores depend on the noise; the first is --seed.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print metrics.json.")] = False,
) -> None:
    """Score a model's proposals against reference masks.

    Writes metrics.json and a report.html that opens offline.

    Dice, IoU, surface distances, calibration, uncertainty, and intervals over
    patients; against several raters where the data have them. With --compare,
    paired differences with a permutation and a Wilcoxon test.

    Example: diffseg evaluate --model ID --data DIR --split val --out evaluation
    """
    from diffseg.segmenters import load_segmenter
    from diffseg_training.dataset import load_dataset
    from diffseg_training.evaluation import evaluation_config, iter_evaluate
    from diffseg_training.evaluation_report import check_folder, save_evaluation

    first, *others = _seeds(seed, seeds)
    config = evaluation_config(
        split=split,
        labels=labels,
        members=members,
        steps=steps,
        seed=first,
        more_seeds=tuple(others),
    )
    check_folder(out)
    dataset = load_dataset(data)
    dataset.split(split)  # a wrong split is told before a model is loaded
    segmenter = load_segmenter(model, device=device)
    other = None if compare is None else load_segmenter(compare, device=device)
    result = follow(iter_evaluate(segmenter, dataset, config, other))
    save_evaluation(result, out)
    emit(result.metrics, json, lambda: _table(result.metrics, out))


def _seeds(seed: int | None, seeds: str | None) -> tuple[int, ...]:
    """Return the seed of every number, then those that stability alone needs."""
    from diffseg.errors import UserError
    from diffseg_training.evaluation_config import parse_seeds

    if seeds is None:
        return (seed or 0,)
    parsed = parse_seeds(seeds)
    if seed is not None and seed != parsed[0]:
        raise UserError(
            f"--seed is {seed}, but the first of --seeds {seeds} is {parsed[0]}; "
            "leave --seed out"
        )
    return parsed


def _table(metrics: dict[str, Any], out: Path) -> Group:
    from rich.console import Group

    tables = [_scores(metrics), _trust(metrics)]
    if metrics["stability"] is not None:
        tables.append(_stability(metrics["stability"]))
    if "comparison" in metrics:
        tables.append(_comparison(metrics))
    tables[-1].caption = f"{out / 'report.html'}"
    return Group(*tables)


def _scores(metrics: dict[str, Any]) -> Table:
    from diffseg_training.evaluation_text import interval, number

    mean, ci95 = metrics["mean"], metrics["ci95"]
    in_mm = any(value is not None for value in mean["hd95_mm"].values())
    unit = "mm" if in_mm else "px"
    table = _columns(
        "structure", "Dice", "95 % interval", "IoU", f"HD95 {unit}", f"NSD 2 {unit}"
    )
    for name in mean["dice"]:
        table.add_row(
            name,
            number(mean["dice"][name]),
            interval(ci95["dice"][name]),
            number(mean["iou"][name]),
            number(mean[f"hd95_{unit}"][name], 2),
            number(mean[f"nsd_2{unit}"][name]),
        )
    macro = number(metrics["dice_macro"])
    iou = number(metrics["iou_macro"])
    table.add_row("mean", macro, interval(ci95["dice_macro"]), iou, "", "")
    return table


def _trust(metrics: dict[str, Any]) -> Table:
    from diffseg_training.evaluation_text import interval, number

    ci95 = metrics["ci95"]
    table = _columns("trust", "", "95 % interval")
    for title, key, digits in (
        ("calibration error", "ece_pooled", 4),
        ("calibration error in the box", "ece_foreground_box", 4),
        ("AUROC of uncertainty", "uncertainty_error_auroc", 3),
    ):
        table.add_row(title, number(metrics[key], digits), interval(ci95[key], digits))
    box = metrics["risk_coverage"]["box"]
    if box is not None:
        bounds = ci95["risk_coverage"]["box"]
        for title, key in (("AURC in the box", "aurc"), ("above the ideal", "excess")):
            table.add_row(title, number(box[key], 4), interval(bounds[key], 4))
    if metrics["raters"] is not None:
        raters, bounds = metrics["raters"], ci95["raters"]
        for title, key in (("GED^2", "ged2"), ("Dice between raters", "rater_dice")):
            for name, value in raters[key].items():
                bound = interval(bounds[key][name])
                table.add_row(f"{title}, {name}", number(value), bound)
        key = "uncertainty_disagreement_auroc"
        table.add_row("AUROC for disagreement", number(raters[key]),
                      interval(bounds[key]))  # fmt: skip
    return table


def _stability(stability: dict[str, Any]) -> Table:
    from diffseg_training.evaluation_text import interval, number

    table = _columns(f"{len(stability['seeds'])} seeds", "mean", "std", "95 % interval")
    for kind, title in (("dice", "Dice"), ("iou", "IoU")):
        for name, found in stability[kind].items():
            table.add_row(
                f"{title}, {name}",
                number(found["mean"], 4),
                number(found["std"], 5),
                interval(found["std_ci95"], 5),
            )
    return table


def _comparison(metrics: dict[str, Any]) -> Table:
    from diffseg_training.evaluation_text import interval, number, p_value
    from diffseg_training.report_comparison import SCORES

    found = metrics["comparison"]
    other = found["compared"]["model"]["id"]
    table = _columns(
        "model - compared", metrics["model"]["id"], other, "difference",
        "95 % interval", "p (exchange)", "p (Wilcoxon)",
    )  # fmt: skip
    one = len(found["dice"]) == 1
    for title, key, digits in SCORES:
        if one and key == "dice_foreground":
            continue
        entry = found[key]
        table.add_row(
            title,
            number(entry["model"], digits),
            number(entry["compared"], digits),
            number(entry["difference"], digits, signed=True),
            interval(entry["ci95"], digits, signed=True),
            p_value(entry["p_permutation"]),
            p_value(entry["p_wilcoxon"]),
        )
    return table


def _columns(first: str, *others: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(first, justify="left")
    for column in others:
        table.add_column(column, justify="right")
    return table
