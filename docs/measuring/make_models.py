"""Make the models that ship, besides the hippocampus's, of the runs of docs/results.md.

    python docs/measuring/make_models.py --runs runs [--replace]

Of each data set, the cell with the highest Dice on val; of vessels that network trained
on the set's own split in place of a fold. The card is the run's own, with a name that
says what is segmented, what was measured on val, and the limits of a few minutes'
training.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_data import THINNED

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models.folder import read_folder
from diffseg.models.registry import copy_model

DOCS = Path(__file__).parents[1]
MODELS = DOCS.parent / "resources" / "diffseg_resources" / "models"
MOST_BYTES = 10_000_000
_TOLD = (
    *("dice_macro", "iou_macro", "dice", "iou", "hd95_mm", "nsd_2mm", "ece_pooled"),
    *("ece_foreground_box", "uncertainty_error_auroc", "member_pairwise_dice"),
    *("members", "steps", "n_cases", "n_groups", "seed"),
)
"""Of what was measured; the whole lies in docs/results."""
_SHORT = "Learnt for some minutes on one processor core: a start for your own training."


@dataclass(frozen=True, slots=True)
class Shipped:
    """A model that ships: its name, the cell that it is, and what its card says."""

    id: str
    cell: str
    title: str
    limits: tuple[str, ...]


SHIPPED = (
    Shipped(
        "lesion-dermoscopy",
        "ph2-unet",
        "Lesion on dermoscopic images",
        (
            "Learnt from 46 images of one hospital: moles and melanomas on fair skin.",
            "It outlines, and does not tell what a lesion is.",
        ),
    ),
    Shipped(
        "nuclei-microscopy",
        "nuclei-ensemdiff-feedforward",
        "Nuclei on microscopic images of several stains",
        (),
    ),
    Shipped(
        "tumour-flair",
        "lgg-unet",
        "Lower-grade glioma on FLAIR slices of the brain",
        (
            "Learnt from 52 patients, on axial slices with the skull.",
            "Intensities are taken to lie from 0 to 255, as in pictures of slices.",
            "Where there is a tumour its Dice is 0.67 on average: look at every slice.",
        ),
    ),
    Shipped(
        "vessels-fundus",
        "chasedb1-unet",
        "Retinal vessels on fundus photographs",
        ("Learnt from 16 photographs of 8 children, as one rater outlined them.",),
    ),
)


def ship(one: Shipped, runs: Path, replace: bool) -> ModelCard:
    """Copy a run's model among those that ship, with its new card.

    Raises
    ------
    UserError
        The run's model is broken or too large, or another one ships under its name.
    """
    source = read_folder(runs / one.cell / "model")
    size = source.weights.stat().st_size
    if size > MOST_BYTES:
        raise UserError(f"{source.weights} has {size} bytes; {MOST_BYTES} may ship")
    out = MODELS / one.id
    card = shipped_card(one, source.card)
    if out.exists() and not replace and read_folder(out).card.sha256 != card.sha256:
        raise UserError(f"another {one.id} ships; --replace puts this one in its place")
    shutil.rmtree(out, ignore_errors=True)
    copy_model(source, card, out)
    return card


def shipped_card(one: Shipped, card: ModelCard) -> ModelCard:
    """The card of a run's model as it ships: with what was measured of its cell."""
    measured = json.loads((DOCS / "results" / f"{one.cell}.json").read_text("utf-8"))
    if measured["val"]["model"]["sha256"] != card.sha256:
        raise UserError(f"docs/results/{one.cell}.json is of another training")
    changed = {
        "id": one.id,
        "title": one.title,
        "intended_use": "A first proposal to correct, and a start for training, in "
        "research.",
        "limits": (*one.limits, _SHORT, *card.limits),
        "metrics": {**card.metrics, "val": _quality(measured)},
    }
    return ModelCard.model_validate(card.model_dump() | changed)


def _quality(measured: dict[str, Any]) -> dict[str, Any]:
    val = measured["val"]
    told = {name: val["mean"].get(name, val.get(name)) for name in _TOLD}
    ends = {name: val["ci95"][name] for name in ("dice", "dice_macro", "iou_macro")}
    where = f"{val['data']}, split {val['split']}"
    if nth := THINNED.get(val["data"]):
        where += f", one case of {nth}"
    return told | {"ci95": ends, "date": val["date"][:10], "data": where}


def main() -> None:
    """Make every one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--replace", action="store_true")
    given = parser.parse_args()
    try:
        for one in SHIPPED:
            card = ship(one, given.runs, given.replace)
            print(one.id, card.metrics["val"]["dice_macro"], card.sha256[:12])
    except UserError as err:
        sys.exit(f"error: {err}")


if __name__ == "__main__":
    main()
