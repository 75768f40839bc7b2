"""Make the model that ships for masks from image-level labels, of a run of lgg-cldf.

    python docs/measuring/make_weak_model.py --run runs/lgg-cldf --data DIR [--replace]

No mask had a part in its training; the recipe's few settings were chosen on val of
fold 0 (docs/weak.md). Masks of val are read here, to measure what it draws, patients'
stacks with their labels by slice, and to calibrate its probabilities by a temperature,
which moves no mask.
"""

from __future__ import annotations

import datetime
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from make_models import MODELS
from weak_drawn import dices_of_model

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.metrics import bootstrap_interval
from diffseg.models.folder import ModelFolder, read_folder
from diffseg.models.registry import copy_model
from diffseg.progress import run as done
from diffseg.segmenters import load_segmenter
from diffseg_training.calibration import CalibrationConfig, iter_calibrate
from diffseg_training.dataset import load_dataset

ID = "brain-tumour-mri-weak"
MOST_BYTES = 16_000_000
LIMITS = (
    "It learnt from which slices show a tumour, of 52 patients with a glioma, and from "
    "no mask; its recipe's settings were chosen with masks of 12 patients.",
    "Its masks are drafts: about two thirds of a mask are right. Correct every one.",
    "Its probabilities are calibrated on single slices of 8 patients, by their masks.",
    "It takes brightness on one side of the head that the other side has not for "
    "tumour: one in the midline, or on both sides, is missed.",
)


def main(
    run: Annotated[Path, typer.Option(help="Of recipe lgg-cldf, on the set's split.")],
    data: Annotated[Path, typer.Option(help="The set, with its masks of val.")],
    replace: Annotated[bool, typer.Option(help="Put it in the place of one.")] = False,
) -> None:
    """Measure a run on val, and copy its model among those that ship."""
    try:
        card = shipped(run, data, replace)
    except UserError as err:
        sys.exit(f"error: {err}")
    print(card.id, card.metrics["val"], card.sha256[:12])


def shipped(run: Path, data: Path, replace: bool) -> ModelCard:
    """Copy a run's model among those that ship, with its new card.

    Raises
    ------
    UserError
        The run's model is broken or too large, or another one ships under its name.
    """
    source, out = read_folder(run / "model"), MODELS / ID
    size = source.weights.stat().st_size
    if size > MOST_BYTES:
        raise UserError(f"{source.weights} has {size} bytes; {MOST_BYTES} may ship")
    if out.exists() and not replace:
        raise UserError(f"{out} exists; --replace puts this one in its place")
    card = source.card
    rows = list(dices_of_model(source.path, load_dataset(data), "val", whole=True))
    changed = {
        "id": ID,
        "title": "Brain tumour on FLAIR slices, learnt from image-level labels alone",
        "intended_use": "Drafts of masks to correct, where it is known which slices "
        "show a tumour; a start for training, in research.",
        "limits": (*LIMITS, *card.limits[1:]),
        "metrics": {**card.metrics, "val": _quality(rows)},
    }
    changed["calibration"] = _calibrated(source, data)
    made = ModelCard.model_validate(card.model_dump() | changed)
    shutil.rmtree(out, ignore_errors=True)
    copy_model(source, made, out)
    return made


def _calibrated(source: ModelFolder, data: Path) -> dict[str, Any]:
    """A temperature, by slices of val each by itself, told its label."""
    segmenter = load_segmenter(str(source.path), device="cpu")
    config = CalibrationConfig(split="val", labels="given", method="temperature")
    found = done(iter_calibrate(segmenter, load_dataset(data), config)).calibration
    # Fitted on slices, and proposals are of stacks: no Dice of them is predicted.
    return dict(
        found.model_copy(update={"predicted_dice": None}).model_dump(mode="json")
    )


def _quality(rows: list[dict[str, Any]]) -> dict[str, Any]:
    values, groups = ([row[key] for row in rows] for key in ("labels", "group"))
    return {
        "dice_of_slices_with_tumour": round(float(np.mean(values)), 4),
        "ci95": bootstrap_interval(values, groups),
        "slices": len(values),
        "patients": len(set(groups)),
        "members": 1,
        "data": "TCGA-LGG, split val, stacks of a patient, labels by slice",
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    typer.run(main)
