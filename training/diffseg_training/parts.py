"""A trained part that no segmenter draws with: weights, and how they are built."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from diffseg.volume import atomic_write_bytes
from diffseg_training.recipe import Recipe

if TYPE_CHECKING:
    from diffseg_training.trainer import TrainingResult

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_part(folder: Path, recipe: Recipe, result: TrainingResult) -> Path:
    """Write ``config.json`` and ``model.safetensors`` (float32) into a folder.

    The configuration holds what `diffseg.networks.build_network` takes, under
    ``network``, besides the recipe's name and objective, the scores on val and the
    weights' checksum.

    Raises
    ------
    UserError
        The folder cannot be written, or the disk is full.
    """
    from safetensors.torch import save

    tensors = {
        name: value.detach().cpu().float().contiguous().clone()
        if value.is_floating_point()
        else value.detach().cpu().clone()
        for name, value in result.network.state_dict().items()
    }
    content = save(tensors, metadata={"format": "pt"})
    told = {
        "network": dict(recipe.network),
        "recipe": recipe.name,
        "objective": recipe.objective.name,
        "best": dict(result.best),
        "steps": result.steps,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    atomic_write_bytes(folder / WEIGHTS, content)
    text = json.dumps(told, indent=2) + "\n"
    atomic_write_bytes(folder / CONFIG, text.encode())
    return folder
