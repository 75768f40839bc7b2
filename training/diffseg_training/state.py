"""The state of a run on disk: safetensors and JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffseg.errors import UserError
from diffseg_training.average import Average
from diffseg_training.recipe import Recipe
from diffseg_training.step import Step

# What makes the weights and the examples; the rest may change from one sitting to
# the next, and every sitting's recipe is kept.
_FIXED = ("method", "network", "patch", "preparation", "lora", "seed")
_NAMED = 3  # keys that a message names


def save_state(
    folder: Path,
    *,
    step: Step,
    optimiser: torch.optim.Optimizer,
    average: Average,
    best_weights: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
) -> None:
    """Write aside, then rename: a killed run leaves the state before it whole.

    Raises
    ------
    UserError
        The disk is full or cannot be written; the state before is as it was.
    """
    tensors = {f"net.{k}": v for k, v in step.network.state_dict().items()}
    tensors |= {f"loss.{k}": v for k, v in step.of_loss().items()}
    tensors |= {f"best.{k}": v for k, v in best_weights.items()}
    tensors |= {f"ema.{i}": v for i, v in enumerate(average.shadows)}
    for index, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"opt.{index}.{k}": v for k, v in slots.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    path, before = folder / "state.json", None
    name = f"state-{numbers['step']}.safetensors"
    aside = folder / "state.json.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            before = str(json.loads(path.read_text(encoding="utf-8"))["tensors"])
        if name == before:  # never over what the state before consists of
            name = f"state-{numbers['step']}b.safetensors"
        save_file(tensors, folder / name)
        content = {**numbers, "tensors": name, "ema_step": average.steps}
        aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        aside.replace(path)
    except (OSError, SafetensorError) as err:
        _drop(folder, but=before)
        kept = " the state before it is whole, go on from it with --resume"
        raise UserError(
            f"the state of step {numbers['step']} cannot be written into {folder}: "
            f"{_reason(err)};{kept if before else ''} after making room"
        ) from None
    _drop(folder, but=name)


def _drop(folder: Path, but: str | None) -> None:
    for old in (*folder.glob("state-*.safetensors"), *folder.glob("*.part")):
        if old.name != but:
            old.unlink(missing_ok=True)


def _reason(err: Exception) -> str:
    return str(getattr(err, "strerror", None) or " ".join(str(err).split()))


def load_state(
    folder: Path,
    *,
    step: Step,
    optimiser: torch.optim.Optimizer,
    average: Average,
    recipe: Recipe,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Put a saved state back; returns its numbers and the best weights.

    Raises
    ------
    UserError
        Nothing to resume, or not a state of this recipe and this network.
    """
    numbers = _numbers(folder)
    ours, theirs = recipe.model_dump(mode="json"), numbers["sittings"][-1]["recipe"]
    changed = [key for key in _FIXED if ours[key] != theirs.get(key)]
    if ours["optimiser"]["ema_of"] != theirs["optimiser"].get("ema_of", []):
        changed.append("optimiser.ema_of")
    if changed:
        raise UserError(
            f"{folder.parent} was trained by a recipe with another "
            f"{', '.join(changed)}: train into a new folder"
        )
    tensors = _read(folder / str(numbers["tensors"]))
    network, loss = _part(tensors, "net."), _part(tensors, "loss.")
    check_keys(network, step.network.state_dict(), f"the state in {folder}")
    check_keys(loss, step.of_loss(), f"the state in {folder}, of its loss,")
    step.network.load_state_dict(network)
    for key, value in step.of_loss().items():
        value.copy_(loss[key])
    shadows = _part(tensors, "ema.")
    for i, shadow in enumerate(average.shadows):
        shadow.copy_(shadows[str(i)])
    average.steps = numbers["ema_step"]
    state = optimiser.state_dict()
    parameters = optimiser.param_groups[0]["params"]
    for key, value in _part(tensors, "opt.").items():
        index, slot = key.split(".")
        like = parameters[int(index)]
        if value.shape == like.shape:  # laid out in memory as fused kernels expect
            value = torch.empty_like(like).copy_(value)
        state["state"].setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict(state)
    return numbers, _part(tensors, "best.")


def _numbers(folder: Path) -> dict[str, Any]:
    path = folder / "state.json"
    if not path.is_file():
        raise UserError(f"nothing to resume in {folder.parent}: leave out --resume")
    try:
        numbers: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise UserError(f"{path} cannot be read: {err}; train anew") from None
    return numbers


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors of a file; whatever would have to be unpickled is refused."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as err:
        raise UserError(
            f"{path} is not safetensors, and nothing else is read ({_reason(err)}): "
            "train into a new folder"
        ) from None


def check_keys(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str
) -> None:
    """Refuse weights of another architecture, naming the keys; `UserError`."""
    missing = sorted(wanted.keys() - found.keys())
    strange = sorted(found.keys() - wanted.keys())
    other = sorted(
        k for k in wanted.keys() & found.keys() if wanted[k].shape != found[k].shape
    )
    said = [
        f"{word} {', '.join(keys[:_NAMED])}"
        + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
        for word, keys in (
            ("lacks", missing),
            ("holds the unknown", strange),
            ("has another shape of", other),
        )
        if keys
    ]
    if said:
        raise UserError(f"{what} is of another architecture: it {'; it '.join(said)}")


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a run's ``log.jsonl``, oldest first; a line cut off is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break  # killed while it was written
    return rows


def write_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line to a run's log; `UserError` where the disk is full."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as err:
        raise UserError(
            f"the log {path} cannot be written: {_reason(err)}; the last state is "
            "whole, go on from it with --resume after making room"
        ) from None


def rewind_log(path: Path, step: int) -> None:
    """Drop the lines after `step`: a resumed run takes those steps again."""
    if not path.exists():
        return
    kept = [row for row in read_log(path) if row["step"] <= step]
    aside = path.with_name(path.name + ".part")
    aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    aside.replace(path)
