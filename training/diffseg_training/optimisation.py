"""Optimiser and learning rate of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from diffseg_training.recipe_parts import Optimiser

_LOWEST = 0.01  # of the peak, where a cosine ends


def make_optimiser(
    options: Optimiser, parameters: Iterable[nn.Parameter], device: str
) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters, all of a step in few kernels."""
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[options.kind]
    made: torch.optim.Optimizer = kind(
        list(parameters),
        lr=options.learning_rate,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=device.split(":")[0] in {"cpu", "cuda"},
    )
    return made


def learning_rate(options: Optimiser, share: float) -> float:
    """Rate at a finished share of the run: a linear warm-up, then as scheduled."""
    share = min(share, 1.0)
    if share < options.warmup:
        return options.learning_rate * min(1.0, (share + 1e-3) / options.warmup)
    if options.schedule == "constant":
        return options.learning_rate
    along = (share - options.warmup) / (1 - options.warmup)
    fall = 0.5 * (1 + math.cos(math.pi * along))
    return options.learning_rate * (_LOWEST + (1 - _LOWEST) * fall)
