"""A model's calibration before and after, and the Dice that it predicts, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffseg.domain import ModelCard, Proposal
from diffseg.ensemble.calibration import calibration_of
from diffseg.ensemble.expected import expected_structures
from diffseg.errors import UserError
from napari_diffseg.views import CalibrationFacts, DiceLine, Reliability

FIGURES = "calibration.json"
NONE = "not calibrated: its probabilities are the ensemble's own"
LIKELIEST = "likeliest class"


def facts_of(card: ModelCard, folder: Path) -> CalibrationFacts:
    """What is known of a version's calibration.

    Parameters
    ----------
    folder : Path
        Of the version: its figures lie beside the card.

    Raises
    ------
    UserError
        The figures are there and cannot be read.
    """
    known = calibration_of(card.calibration, len(card.labels), card.id)
    if known is None:
        return CalibrationFacts(NONE)
    figures = _read(folder / FIGURES)
    line = known.words
    groups = known.fitted.get("groups")
    if groups:
        line += f", judged on {groups} patients held out in turn"
    if figures is None:
        return CalibrationFacts(line + _ece_of(known.fitted))
    return CalibrationFacts(
        line,
        _curves(figures, card.labels.names),
        {name: _ranks(one) for name, one in _predicted(figures).items()},
    )


def dice_lines(
    proposal: Proposal, expected: Sequence[float], notes: Mapping[str, str]
) -> tuple[DiceLine, ...]:
    """What Dice each structure of a proposal is expected to have.

    Parameters
    ----------
    expected : sequence of float
        `expected_of` the proposal.
    notes : mapping
        `CalibrationFacts.notes`: how well it goes with the real Dice.
    """
    told = {one.name: one for one in proposal.structures}
    lines = []
    for name, value in zip(proposal.labels.names, expected, strict=True):
        one = told.get(name)
        predicted = ""
        if one is not None and one.predicted_dice is not None:
            low, high = one.predicted_dice_p05, one.predicted_dice_p95
            span = "" if low is None or high is None else f" ({low:.2f}–{high:.2f})"
            predicted = f"{one.predicted_dice:.2f}{span}"
        lines.append(DiceLine(name, f"{value:.2f}", predicted, notes.get(name, "")))
    return tuple(lines)


def expected_of(proposal: Proposal) -> tuple[float, ...]:
    """Expected Dice of each structure of a proposal under its probabilities."""
    lookup = np.zeros(256, np.uint8)
    for index, value in enumerate(proposal.labels.values, start=1):
        lookup[value] = index
    return expected_structures(proposal.probability, lookup[proposal.mask])


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise UserError(f"{path} cannot be read: {err}") from None
    return found


def _curves(
    figures: Mapping[str, Any], names: Sequence[str]
) -> tuple[Reliability, ...]:
    place = "image" if figures["before"]["box"] is None else "box"
    before, after = figures["before"][place], figures["after"][place]
    curves = [
        Reliability(
            LIKELIEST,
            _points(before["reliability"]),
            _points(after["reliability"]),
            (before["ece"], after["ece"]),
        )
    ]
    for index, name in enumerate(names):
        curves.append(
            Reliability(
                name,
                _points(before["reliability_binary"][index]),
                _points(after["reliability_binary"][index]),
                (before["ece_binary"][index], after["ece_binary"][index]),
            )
        )
    return tuple(curves)


def _points(rows: Sequence[Sequence[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(row[0]), float(row[1])) for row in rows if row[2])


def _predicted(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    return figures.get("predicted_dice") or {}


def _ranks(one: Mapping[str, Any]) -> str:
    """Rank correlation of the predicted with the real Dice: "0.25 (-0.10 to 0.56)"."""
    found = one["predicted"]["spearman"]
    if found is None:
        return ""
    ends = one["predicted"].get("spearman_ci95")
    span = "" if ends is None else f" ({ends[0]:.2f} to {ends[1]:.2f})"
    return f"{found:.2f}{span}"


def _ece_of(fitted: Mapping[str, Any]) -> str:
    """Calibration error that the card alone tells."""
    for place, words in (("box", "in the box"), ("image", "over all voxels")):
        pair = fitted.get(f"ece_{place}")
        if pair:
            return f"; error {words} {pair[0]:.4f} to {pair[1]:.4f}"
    return ""
