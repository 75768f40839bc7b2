"""A model card as a page to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from diffseg.domain import ModelCard

_WHERE = {"test": "on the test split", "val": "on the validation split"}


def card_html(card: ModelCard, tint: str) -> str:
    """Write a card as rich text; `tint` colours what steps back (``#rrggbb``)."""
    facts = f"{card.id} {card.version} · {card.modality} · {card.licence}"
    parts = [
        f"<h2>{escape(card.title)}</h2>",
        f'<p style="color:{tint}">{escape(facts)}</p>',
        _section("Intended use", f"<p>{escape(card.intended_use)}</p>"),
        _section("Limits", _bullets(card.limits)),
        _section("Trained on", f"<p>{escape(' '.join(_training(card)))}</p>"),
        _section("Measured quality", "".join(_quality(card)) or _while_trained(card)),
        _section("Licence", f"<p>{escape(card.licence)}</p>"),
        _section("Weights", f"<p>SHA-256 {escape(card.sha256[:16])}…</p>"),
        f"<p><b>{escape(card.notice)}</b></p>",
    ]
    return "".join(parts)


def _section(title: str, body: str) -> str:
    return f"<h4>{escape(title)}</h4>{body}"


def _bullets(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul style="margin-left:-24px">{items}</ul>'


def _training(card: ModelCard) -> Iterable[str]:
    """What it learnt from, and how much of it."""
    yield card.data
    cases, steps = card.metrics.get("cases"), card.metrics.get("steps")
    if cases and steps:
        yield f"{cases['train']} cases to train, {steps} steps."


def _while_trained(card: ModelCard) -> str:
    """The only number there is before an evaluation."""
    found = card.metrics.get("val_during_training") or {}
    if "score" not in found:
        return "<p>Not measured.</p>"
    return (
        f"<p>Not evaluated. While training, mean Dice {found['score']:.2f} on the "
        "cases by which the weights were chosen.</p>"
    )


def _quality(card: ModelCard) -> Iterable[str]:
    """Tables of every split that was measured."""
    for split, found in card.metrics.items():
        if not isinstance(found, Mapping) or "dice" not in found:
            continue
        cases = found.get("n_cases")
        where = _WHERE.get(split, f"on split {split}")
        told = f"{cases} cases {where}" if cases else where
        yield f"<p>{escape(told[0].upper() + told[1:])}:</p>"
        yield _table(card, found)
        yield _sentences(found)


def _table(card: ModelCard, found: Mapping[str, Any]) -> str:
    head = ("", "Dice", "95 % interval", "HD95 mm", "NSD 2 mm")
    lines = ["<tr>" + "".join(f"<td><i>{cell}</i></td>" for cell in head) + "</tr>"]
    for name in card.labels.names:
        cells = (
            name,
            _number(found, "dice", name),
            _interval(found, name),
            _number(found, "hd95_mm", name),
            _number(found, "nsd_2mm", name),
        )
        lines.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    return f'<table cellspacing="0" cellpadding="4">{"".join(lines)}</table>'


def _number(found: Mapping[str, Any], metric: str, name: str) -> str:
    value = found.get(metric, {}).get(name)
    return "–" if value is None else f"{value:.2f}"


def _interval(found: Mapping[str, Any], name: str) -> str:
    ends = found.get("ci95", {}).get("dice", {}).get(name)
    return "–" if not ends else f"{ends[0]:.2f} to {ends[1]:.2f}"


def _sentences(found: Mapping[str, Any]) -> str:
    told = []
    error = found.get("ece_foreground_box")
    if error is not None:
        told.append(f"Calibration error around the structures: {error:.4f}.")
    auroc = found.get("uncertainty_error_auroc")
    if auroc is not None:
        told.append(f"Uncertainty tells wrong voxels from right ones: {auroc:.2f} (1).")
    covered = found.get("volume_interval_coverage")
    if covered is not None:
        told.append(
            f"The spread over members holds the reference volume in {covered:.0%} "
            "of cases: it is no interval of confidence."
        )
    return f"<p>{escape(' '.join(told))}</p>" if told else ""
