"""A child between its parent and where training led: weights drawn back, if better."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from diffseg.progress import Progress, Work
from diffseg_training.sitting import TrainingResult


@dataclass(frozen=True, slots=True)
class Blend:
    """The child that was chosen.

    Parameters
    ----------
    result : TrainingResult
        With its weights, and its scores.
    share : float
        Of the way from the parent's weights to the trained ones, in (0, 1].
    """

    result: TrainingResult
    share: float


def blended(
    parent: Mapping[str, Tensor], child: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights at a share of the way from the parent's to the child's.

    ``parent + share (child - parent)`` (WiSE-FT; Wortsman et al. 2022, equation 1);
    what is no floating number is the child's.
    """
    return {
        name: torch.lerp(parent[name].to(value), value, share)
        if value.is_floating_point()
        else value
        for name, value in child.items()
    }


def iter_blend(
    parent: Mapping[str, Tensor],
    result: TrainingResult,
    validate: Callable[[nn.Module], Mapping[str, float]],
    shares: Sequence[float],
) -> Work[Blend]:
    """Choose among the trained weights and such between them and the parent's.

    A model that was poor is best where training led; one that was good has often gone
    too far there, and is best near where it was.

    Parameters
    ----------
    validate : callable
        Scores of a network; `score` is what is chosen by. Of equals the larger share
        is taken.
    """
    best = Blend(result, 1.0)
    trained, network = result.network.state_dict(), copy.deepcopy(result.network)
    for number, share in enumerate(sorted(shares, reverse=True)):
        yield Progress("blend", number, len(shares), f"{share:g} of the way")
        network.load_state_dict(blended(parent, trained, share))
        scores = validate(network)
        if scores["score"] > best.result.best["score"]:
            there = copy.deepcopy(network)
            best = Blend(replace(result, network=there, best=dict(scores)), share)
    return best
