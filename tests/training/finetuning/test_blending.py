"""Weights between a parent's and its child's, and which of them are chosen."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from diffseg.progress import run
from diffseg_training.finetuning.blending import Blend, blended, iter_blend
from diffseg_training.sitting import TrainingResult


def layer(weight: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, weight)
    return made


def chosen(parent: float, child: float, best: float) -> tuple[Blend, float]:
    """The blend that is taken where scores fall with the distance from `best`."""

    def score(network: nn.Module) -> Mapping[str, float]:
        (weight,) = network.parameters()
        return {"score": -abs(float(weight.detach()) - best)}

    trained = layer(child)
    result = TrainingResult(trained, score(trained), steps=3, minutes=0.1, skipped=0)
    before = layer(parent).state_dict()
    found = run(iter_blend(before, result, score, (0.25, 0.5)))
    assert float(trained.weight.detach()) == child  # what was trained stays whole
    return found, float(next(found.result.network.parameters()).detach())


def test_a_blend_is_on_the_line_and_counts_stay() -> None:
    parent = {"w": torch.tensor([0.0, 4.0]), "seen": torch.tensor(3)}
    child = {"w": torch.tensor([1.0, 0.0]), "seen": torch.tensor(9)}
    found: dict[str, Tensor] = blended(parent, child, 0.25)
    assert found["w"].tolist() == [0.25, 3.0]
    assert found["seen"] == 9


def test_where_training_went_too_far_it_is_drawn_back() -> None:
    found, weight = chosen(parent=0.0, child=1.0, best=0.3)
    assert (found.share, weight) == (0.25, 0.25)
    assert abs(found.result.best["score"] + 0.05) < 1e-6
    assert found.result.steps == 3


def test_where_training_led_well_it_is_left_alone() -> None:
    assert chosen(parent=0.0, child=1.0, best=2.0)[0].share == 1.0
    found, weight = chosen(parent=1.0, child=1.0, best=0.0)  # all are equal
    assert (found.share, weight) == (1.0, 1.0)
