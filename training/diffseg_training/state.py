"""The state of a run on disk: safetensors and JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg_training.recipe import Recipe

# What makes the weights and the examples; the rest may change from one sitting to
# the next, and every sitting's recipe is kept.
_FIXED = ("method", "network", "patch", "preparation", "seed")


def save_state(
    folder: Path,
    *,
    network: nn.Module,
    optimiser: torch.optim.AdamW,
    average: EMAModel,
    best_weights: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
) -> None:
    """Write aside, then rename: a killed run leaves the state before it whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"net.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in best_weights.items()}
    tensors |= {f"ema.{i}": v for i, v in enumerate(average.shadow_params)}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"opt.{index}.{k}": v for k, v in slots.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    name = f"state-{numbers['step']}.safetensors"
    save_file(tensors, folder / name)
    aside = folder / "state.json.part"
    content = {**numbers, "tensors": name, "ema_step": average.optimization_step}
    aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    aside.replace(folder / "state.json")
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_state(
    folder: Path,
    *,
    network: nn.Module,
    optimiser: torch.optim.AdamW,
    average: EMAModel,
    recipe: Recipe,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Put a saved state back; returns its numbers and the best weights.

    Raises
    ------
    UserError
        Nothing to resume, or it was written by another recipe.
    """
    path = folder / "state.json"
    if not path.is_file():
        raise UserError(f"nothing to resume in {folder.parent}: leave out --resume")
    numbers = json.loads(path.read_text(encoding="utf-8"))
    ours, theirs = recipe.model_dump(mode="json"), numbers["sittings"][-1]["recipe"]
    changed = [key for key in _FIXED if ours[key] != theirs[key]]
    if changed:
        raise UserError(
            f"{folder.parent} was trained by a recipe with another "
            f"{', '.join(changed)}: train into a new folder"
        )
    tensors = load_file(folder / numbers["tensors"])
    network.load_state_dict(_part(tensors, "net."))
    shadows = _part(tensors, "ema.")
    for i, shadow in enumerate(average.shadow_params):
        shadow.data.copy_(shadows[str(i)])
    average.optimization_step = numbers["ema_step"]
    state = optimiser.state_dict()
    for key, value in _part(tensors, "opt.").items():
        index, slot = key.split(".")
        state["state"].setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict(state)
    return numbers, _part(tensors, "best.")


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a run's ``log.jsonl``, oldest first."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def rewind_log(path: Path, step: int) -> None:
    """Drop the lines after `step`: a resumed run takes those steps again."""
    if not path.exists():
        return
    kept = [row for row in read_log(path) if row["step"] <= step]
    aside = path.with_name(path.name + ".part")
    aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    aside.replace(path)
