"""``report.html``: an evaluation on one page that opens offline and prints."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from diffseg.errors import UserError
from diffseg.volume import atomic_write
from diffseg_training.evaluation import Evaluation
from diffseg_training.evaluation_plots import (
    case_plot,
    dice_plot,
    difference_plot,
    reliability_plot,
    uncertainty_plot,
)
from diffseg_training.evaluation_text import interval, number
from diffseg_training.pictures import Picture
from diffseg_training.report_page import GENERATOR, PAGE

METRICS, REPORT = "metrics.json", "report.html"
Metrics = Mapping[str, Any]


def check_folder(folder: Path) -> None:
    """Raise `UserError` unless an evaluation can be written into `folder`.

    Asked before the work starts. An earlier evaluation is replaced; any other
    file called ``metrics.json`` or ``report.html`` is not.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"cannot write into {folder}; choose a folder that is writable")
    marks = {METRICS: '"ece_foreground_box"', REPORT: GENERATOR}
    for name, mark in marks.items():
        path = folder / name
        if not path.exists():
            continue
        if path.is_dir() or mark not in path.read_text("utf-8", errors="replace"):
            raise UserError(
                f"{path} was not written by an evaluation; choose another folder"
            )


def save_evaluation(evaluation: Evaluation, folder: Path) -> dict[str, Path]:
    """Write ``metrics.json`` and ``report.html``; return their paths by name.

    Raises
    ------
    UserError
        The folder cannot be written to, is full, or holds files that are not
        an evaluation's (see `check_folder`).
    """
    check_folder(folder)
    metrics = json.dumps(evaluation.metrics, indent=1, allow_nan=False) + "\n"
    texts = {REPORT: report_html(evaluation), METRICS: metrics}
    return {
        name: atomic_write(folder / name, _writer(text)) for name, text in texts.items()
    }


def report_html(evaluation: Evaluation) -> str:
    """Return the page: no script, no link, every picture within it."""
    metrics = evaluation.metrics
    names = list(metrics["mean"]["dice"])
    model = metrics["model"]
    return Template(PAGE).substitute(
        generator=GENERATOR,
        title=f"{escape(model['id'])} on {escape(metrics['data'])}",
        about=_about(metrics),
        figures=_key_figures(metrics),
        table=_structures(metrics, names),
        dice=_image(dice_plot(metrics["cases"], names), "Dice of every case"),
        reliability=_image(reliability_plot(metrics["reliability"]), "Reliability"),
        uncertainty=_image(
            uncertainty_plot(metrics["uncertainty_error"]),
            "Share of wrong voxels by uncertainty",
        ),
        comparison=_comparison(metrics),
        worst="".join(_worst(picture) for picture in evaluation.worst),
        cases=_cases(metrics["cases"], names),
        warnings=_warnings(metrics),
    )


def _about(metrics: Metrics) -> str:
    model = metrics["model"]
    facts = {
        "version": model["version"],
        "sha256": model["sha256"][:12],
        "split": metrics["split"],
        "cases": metrics["n_cases"],
        "groups": metrics["n_groups"],
        "members": metrics["members"],
        "steps": metrics["steps"],
        "seed": metrics["seed"],
        "labels told": metrics["labels"],
        "device": f"{metrics['device']}, {metrics['threads']} threads",
        "date": metrics["date"],
    }
    cells = (
        f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>"
        for k, v in facts.items()
    )
    return "".join(cells)


def _key_figures(metrics: Metrics) -> str:
    shown = (
        ("Dice, mean over structures", "dice_macro", 3),
        ("calibration error (ECE)", "ece_pooled", 4),
        ("AUROC of uncertainty for errors", "uncertainty_error_auroc", 3),
        ("Dice between members", "member_pairwise_dice", 3),
        ("reference volume inside 5–95 %", "volume_interval_coverage", 2),
        ("seconds a case", "seconds_per_case", 2),
    )
    cards = []
    for title, key, digits in shown:
        bounds = metrics["ci95"].get(key)
        small = f"<small>{interval(bounds, digits)}</small>" if bounds else ""
        value = number(metrics[key], digits)
        cards.append(f"<div><b>{value}</b>{small}<span>{title}</span></div>")
    return "".join(cards)


def _structures(metrics: Metrics, names: Iterable[str]) -> str:
    mean, positive, ci95 = metrics["mean"], metrics["mean_positive"], metrics["ci95"]
    head = ("structure", "Dice", "95 % interval", "Dice where present", "IoU",
            "HD95, mm", "NSD 2 mm")  # fmt: skip
    rows = [
        (
            name,
            number(mean["dice"][name]),
            interval(ci95["dice"][name]),
            number(positive["dice"][name]),
            number(mean["iou"][name]),
            number(mean["hd95_mm"][name], 2),
            number(mean["nsd_2mm"][name]),
        )
        for name in names
    ]
    for title, key in (
        ("mean over structures", "dice_macro"),
        ("merged into one", "dice_foreground"),
    ):
        row = (title, number(metrics[key]), interval(ci95[key]), "", "", "", "")
        rows.append(row)
    return _table(head, rows)


def _comparison(metrics: Metrics) -> str:
    if "comparison" not in metrics:
        return ""
    comparison = metrics["comparison"]
    other = comparison["compared"]
    picture = difference_plot(metrics["cases"], other["cases"], comparison)
    rows = [
        (f"Dice, {name}", *_paired(entry)) for name, entry in comparison["dice"].items()
    ]
    for title, key, digits in (
        ("Dice, mean over structures", "dice_macro", 3),
        ("Dice, merged into one", "dice_foreground", 3),
        ("ECE (smaller is better)", "ece_pooled", 4),
        ("ECE in the box (smaller is better)", "ece_foreground_box", 4),
        ("AUROC of uncertainty", "uncertainty_error_auroc", 3),
    ):
        rows.append((title, *_paired(comparison[key], digits)))
    theirs = f"{other['model']['id']} {other['model']['version']}"
    head = ("", metrics["model"]["id"], theirs, "difference", "95 % interval")
    return (
        f"<section><h2>Against {escape(theirs)}</h2>"
        "<p>Differences are paired by case; dots are cases, the diamond is their "
        "mean, the bar its 95 % interval over groups.</p>"
        f"{_image(picture, 'Paired differences of Dice')}{_table(head, rows)}</section>"
    )


def _paired(entry: Metrics, digits: int = 3) -> tuple[str, ...]:
    return (
        number(entry["model"], digits),
        number(entry["compared"], digits),
        number(entry["difference"], digits, signed=True),
        interval(entry["ci95"], digits, signed=True),
    )


def _worst(picture: Picture) -> str:
    score = picture.score
    dice = ", ".join(f"{name} {number(value)}" for name, value in score.dice.items())
    image = _image(case_plot(picture), f"Slice of {score.case}")
    return (
        f"<figure><figcaption><b>{escape(score.case)}</b> Dice: {escape(dice)}; "
        f"plane {picture.plane}</figcaption>{image}</figure>"
    )


def _cases(cases: Sequence[Metrics], names: Sequence[str]) -> str:
    head = ("case", "group", *(f"Dice, {name}" for name in names), "ECE", "seconds")
    ordered = sorted(cases, key=lambda case: sum(case["dice"].values()))
    rows = [
        (
            case["case"],
            case["group"],
            *(number(case["dice"][name]) for name in names),
            number(case["ece"], 4),
            number(case["seconds"], 2),
        )
        for case in ordered
    ]
    return _table(head, rows)


def _warnings(metrics: Metrics) -> str:
    lines = [*metrics["warnings"]]
    lines += [f"{c['case']}: {w}" for c in metrics["cases"] for w in c["warnings"]]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section><h2>Warnings</h2><ul>{items}</ul></section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _image(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write
