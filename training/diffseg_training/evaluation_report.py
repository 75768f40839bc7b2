"""``report.html``: an evaluation on one page that opens offline and prints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from diffseg.errors import UserError
from diffseg.volume import atomic_write
from diffseg_training.evaluation import Evaluation
from diffseg_training.evaluation_plots import dice_plot
from diffseg_training.evaluation_text import number
from diffseg_training.pictures import Picture
from diffseg_training.report_cases import cases, picture
from diffseg_training.report_comparison import comparison
from diffseg_training.report_page import GENERATOR, PAGE
from diffseg_training.report_parts import image, section
from diffseg_training.report_sections import (
    averages,
    calibration,
    headline,
    raters,
    stability,
    structures,
    uncertainty,
)

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
    """Return the page: no link, every picture within it, and a script that sorts."""
    metrics = evaluation.metrics
    names = list(metrics["mean"]["dice"])
    model = metrics["model"]
    return Template(PAGE).substitute(
        generator=GENERATOR,
        title=f"{escape(model['id'])} on {escape(metrics['data'])}",
        about=_about(metrics),
        figures=headline(metrics),
        table=structures(metrics),
        averages=averages(metrics),
        dice=image(dice_plot(metrics["cases"], names), "Dice of every case"),
        calibration=calibration(metrics),
        uncertainty=uncertainty(metrics),
        raters=raters(metrics),
        stability=stability(metrics),
        comparison=comparison(metrics),
        shown=_shown(evaluation),
        cases=cases(metrics),
        warnings=_warnings(metrics),
    )


def _about(metrics: Metrics) -> str:
    model = metrics["model"]
    facts = {
        "version": model["version"],
        "sha256": model["sha256"][:12],
        "split": metrics["split"],
        "cases": metrics["n_cases"],
        "patients": metrics["n_groups"],
        "members": metrics["members"],
        "steps": metrics["steps"],
        "seed": metrics["seed"],
        "labels told": metrics["labels"],
        "Dice between members": number(metrics["member_pairwise_dice"]),
        "volume inside 5–95 %": number(metrics["volume_interval_coverage"], 2),
        "seconds a case": number(metrics["seconds_per_case"], 2),
        "device": metrics["device"],
        "threads": metrics["threads"],
        "date": metrics["date"][:10],
    }
    cells = (
        f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>"
        for k, v in facts.items()
    )
    return "".join(cells)


def _shown(evaluation: Evaluation) -> str:
    def part(title: str, words: str, pictures: Sequence[Picture]) -> str:
        return section(title, words, *map(picture, pictures)) if pictures else ""

    worst = part("Worst cases", "The lowest Dice.", evaluation.worst)
    typical = part("Typical cases", "Nearest to the median Dice.", evaluation.typical)
    best = part("Best cases", "The highest Dice.", evaluation.best)
    return f'{worst}<div class="pair abreast">{typical}{best}</div>'


def _warnings(metrics: Metrics) -> str:
    lines = [*metrics["warnings"]]
    lines += [f"{c['case']}: {w}" for c in metrics["cases"] for w in c["warnings"]]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f"<details><summary>{len(lines)} warnings</summary><ul>{items}</ul></details>"
    )


def _writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write
