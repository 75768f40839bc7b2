"""A chain from end to end: read and prepare once, go through its stages, tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffseg.errors import UserError
from diffseg.progress import Work
from diffseg.volume import atomic_write_bytes
from diffseg_training.curve import draw_curve
from diffseg_training.dataset import load_dataset
from diffseg_training.labelled_splits import labelled_splits
from diffseg_training.lock import alone_in
from diffseg_training.machines import make_accelerator
from diffseg_training.recipe import Recipe
from diffseg_training.run import draft_card
from diffseg_training.run_folder import check_begun
from diffseg_training.weak.chain import iter_chain
from diffseg_training.weak.plan import Chain

_CHAIN = "chain.json"


def train_chain(
    recipe: Recipe, data: str, out: Path, resume: bool, device: str
) -> Work[dict[str, Any]]:
    """Train a chain on image-level labels; write ``out/model`` and each stage's files.

    Returns
    -------
    dict
        As `diffseg_training.run.train_model` tells, with what each stage told, under
        ``stages``.

    Raises
    ------
    UserError
        Recipe, data or folder cannot be used, or several processes are asked to.
    """
    dataset = load_dataset(data, masks=recipe.labels.source == "mask")
    dataset.for_training()  # refused before anything is made
    accelerator = make_accelerator(recipe, device, out)
    if accelerator.num_processes > 1:
        raise UserError(
            f"recipe {recipe.name} is a chain, which one process goes through: start "
            "it without accelerate launch"
        )
    _open(out, recipe, resume)
    with alone_in(out):
        train, val = yield from labelled_splits(recipe, dataset, out / "cache")
        chain = Chain(recipe, out, train, val, device)
        told = yield from iter_chain(chain, draft_card(recipe, dataset.labels))
        atomic_write_bytes(out / "told.json", json.dumps(told, indent=1).encode())
    first = told["stages"]["diffusion"]
    log, picture = out / "diffusion" / "log.jsonl", out / "curve.png"
    return {
        **told,
        "skipped": first["skipped"],
        "images_per_second": first["images_per_second"],
        "waiting": first["waiting"],
        "stopped": False,
        "curve": str(draw_curve(log, picture, recipe.title)),
    }


def _open(out: Path, recipe: Recipe, resume: bool) -> None:
    begun = out / _CHAIN
    check_begun(out, begun.exists(), resume)
    if not begun.exists():
        content = json.dumps(recipe.model_dump(mode="json"), indent=1)
        atomic_write_bytes(begun, content.encode())
