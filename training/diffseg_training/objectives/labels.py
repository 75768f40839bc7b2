"""What objectives that learn from image-level labels share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from diffseg.domain.slice_labels import PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.networks.stages import Stages
from diffseg_training.labelled import LabelledExample, centred
from diffseg_training.objectives import Batch
from diffseg_training.recipe import Recipe

Bools = NDArray[np.bool_]
_AT_ONCE = 32  # slices that are scored


def known_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of what is known, its mean; 0 where nothing is.

    Parameters
    ----------
    logits : (B, K) Tensor
    labels : (B, K) int64 Tensor
        0 unknown, 1 present, 2 absent.
    """
    known = (labels != UNKNOWN).float()
    wanted = (labels == PRESENT).float()
    each = functional.binary_cross_entropy_with_logits(
        logits.float(), wanted, reduction="none"
    )
    return (each * known).sum() / known.sum().clamp_min(1)


def labels_of(batch: Batch, network: nn.Module) -> Tensor:
    """Labels (B, K) of a batch; `UserError` where the network has other classes."""
    assert batch.labels is not None, "an objective that learns from labels"
    count = getattr(network, "classes", None)
    if count != batch.labels.shape[1]:
        raise UserError(
            f"the labels speak of {batch.labels.shape[1]} structures and the network "
            f"of {count}: set network.classes={batch.labels.shape[1]}"
        )
    return batch.labels


def known_slices(
    examples: Sequence[LabelledExample], recipe: Recipe
) -> Iterator[tuple[Tensor, Tensor]]:
    """Slices (B, C, *patch) of which something is known, and their states (B, K)."""
    shown: list[tuple[Tensor, Tensor]] = []
    for one in examples:
        for plane in torch.nonzero((one.states != UNKNOWN).any(1))[:, 0].tolist():
            image, states = one.plane(plane)
            shown.append((centred(image, recipe.patch), states))
            if len(shown) == _AT_ONCE:
                yield _stacked(shown)
                shown = []
    if shown:
        yield _stacked(shown)


@torch.no_grad()
def classifier_scores(
    network: nn.Module,
    examples: Sequence[LabelledExample],
    recipe: Recipe,
    chosen_by: str,
) -> Mapping[str, float]:
    """Cross-entropy and, of each structure, the AUROC on held-out slices.

    The AUROC is the chance that a slice with the structure scores higher than one
    without. `score` is their mean, or minus the cross-entropy if that is asked for or
    no structure has slices of both kinds.
    """
    device = next(network.parameters()).device
    logits, states = [], []
    for image, said in known_slices(examples, recipe):
        logits.append(network(image.to(device)).float().cpu())
        states.append(said)
    if not logits:
        return {"loss": float("nan"), "score": float("nan")}
    told, known = torch.cat(logits), torch.cat(states)
    loss = float(known_cross_entropy(told, known))
    scores: dict[str, float] = {"loss": loss}
    areas = []
    for index, name in enumerate(examples[0].labels.names):
        there = known[:, index] != UNKNOWN
        area = auroc(
            told[there, index].numpy(), (known[there, index] == PRESENT).numpy()
        )
        if area is not None:
            scores[f"{name}_auroc"] = area
            areas.append(area)
    by_area = areas and chosen_by == "auroc"
    return {**scores, "score": float(np.mean(areas)) if by_area else -loss}


def auroc(values: NDArray[np.floating[Any]], positive: Bools) -> float | None:
    """Chance that a positive has the higher value, ties half; None without both."""
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return None
    wins = rankdata(values)[positive].sum() - count * (count + 1) / 2
    return float(wins / (count * others))


def begin_with(network: nn.Module, weights: Path | None) -> None:
    """Give a network's backbone first weights of timm's, of any number of channels.

    Parameters
    ----------
    weights : Path or None
        A file of safetensors, or a folder with ``model.safetensors``; None: as it is.

    Raises
    ------
    UserError
        There is no such file, or it is of another network.
    """
    if weights is None:
        return
    from safetensors.torch import load_file
    from timm.models import adapt_input_conv

    path = weights / "model.safetensors" if weights.is_dir() else weights
    if not path.is_file():
        raise UserError(
            f"objective.weights: there is no file {path}; give a folder with "
            "model.safetensors, or such a file"
        )
    stages = getattr(network, "backbone", None)
    if not isinstance(stages, Stages):
        raise UserError(
            f"objective.weights are of a residual network; {type(network).__name__} "
            "has none: leave them out"
        )
    mine, found = stages.body.state_dict(), load_file(path)
    first = next(iter(mine))
    if first in found:
        found[first] = adapt_input_conv(mine[first].shape[1], found[first])
    wrong = [k for k, v in mine.items() if k not in found or found[k].shape != v.shape]
    if wrong:
        raise UserError(
            f"objective.weights: {path} is of another network than the recipe's: "
            f"{wrong[0]} is missing or of another shape"
        )
    stages.body.load_state_dict({key: found[key] for key in mine})


def _stacked(shown: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.stack([a for a, _ in shown]), torch.stack([b for _, b in shown])
