"""What diffusion model and noisy classifier learn, against their formulas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffseg.diffusion import generator, noise_schedule
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN, SliceLabels
from diffseg.errors import UserError
from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.noisy_classifier import NoisyClassifier
from diffseg_training.labelled import LabelledExample
from diffseg_training.objectives import Batch
from diffseg_training.objectives.class_diffusion import ClassDiffusion
from diffseg_training.objectives.noisy_classification import (
    NoisyClassification,
    accuracy,
    cross_entropy,
)

SCHEDULE = noise_schedule("linear")
SMALL = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": ()}


def sources(count: int) -> list[torch.Generator]:
    return [generator(7, index) for index in range(count)]


def batch(labels: list[list[int]], channels: int = 2) -> Batch:
    torch.manual_seed(0)
    image = torch.randn(len(labels), channels, 8, 8)
    classes = torch.zeros(len(labels), 0, dtype=torch.long)
    said = torch.tensor(labels)
    return Batch(image, classes, sources(len(labels)), None, said)


class Remembering(ClassUNet):
    """Answers nothing, and remembers what it was asked."""

    def forward(self, noisy: Tensor, timesteps: Tensor, states: Tensor) -> Tensor:
        self.asked = noisy, timesteps, states
        return torch.zeros_like(noisy)


def asked(kind: str, labels: list[list[int]], kept_back: float = 0.0) -> Any:
    net = Remembering(image_channels=2, classes=len(labels[0]), heads=1, **SMALL)
    loss = ClassDiffusion("l2", kept_back, SCHEDULE, kind)  # type: ignore[arg-type]
    value, _ = loss(net, batch(labels))
    return (float(value), *net.asked)


def drawn(count: int) -> tuple[Tensor, Tensor]:
    """Timesteps and noise, drawn in the loss's order from the same sources."""
    found = sources(count)
    t = torch.cat([torch.randint(0, 1000, (1,), generator=g) for g in found])
    return t, torch.stack([torch.randn(2, 8, 8, generator=g) for g in found])


@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_the_image_is_noised_and_its_noise_is_learnt(kind: str) -> None:
    labels = [[PRESENT], [ABSENT]]
    value, noisy, t, states = asked(kind, labels)
    image = batch(labels).image
    bar = SCHEDULE.alpha_bar[t].float().view(-1, 1, 1, 1)
    noise = (noisy - bar.sqrt() * image) / (1 - bar).sqrt()
    wanted = {"eps": noise, "x0": image}[kind]
    # Nothing was answered: the error is the wanted one's own square.
    assert value == pytest.approx(float((wanted**2).mean()), rel=1e-3)
    assert abs(float(noise.mean())) < 0.3
    assert float(noise.std()) == pytest.approx(1, abs=0.2)
    assert states.tolist() == labels


def test_labels_are_kept_back_of_a_share_of_the_images() -> None:
    *_, states = asked("eps", [[PRESENT]] * 64, kept_back=0.5)
    hidden = int((states == UNKNOWN).sum())
    assert 16 < hidden < 48
    *_, states = asked("eps", [[PRESENT]] * 8)
    assert (states == PRESENT).all()


def test_other_channels_and_classes_are_told() -> None:
    loss = ClassDiffusion("l2", 0.0, SCHEDULE, "eps")
    net = ClassUNet(image_channels=1, heads=1, **SMALL)
    with pytest.raises(UserError, match=r"set network.image_channels=2"):
        loss(net, batch([[PRESENT]]))
    net = ClassUNet(image_channels=2, classes=3, heads=1, **SMALL)
    with pytest.raises(UserError, match=r"set network.classes=1"):
        loss(net, batch([[PRESENT]]))


def test_cross_entropy_is_the_mean_over_what_is_known() -> None:
    logits = torch.tensor([[[1.0, 3.0], [0.5, 0.0]], [[2.0, -1.0], [0.0, 0.0]]])
    states = torch.tensor([[PRESENT, UNKNOWN], [ABSENT, PRESENT]])
    p = logits.softmax(2)
    wanted = -(p[0, 0, 1].log() + p[1, 0, 0].log() + p[1, 1, 1].log()) / 3
    torch.testing.assert_close(cross_entropy(logits, states), wanted)
    nothing = torch.zeros(2, 2, dtype=torch.long)
    assert float(cross_entropy(logits, nothing)) == 0


def test_accuracy_weighs_presence_and_absence_alike() -> None:
    logits = torch.tensor([[[0.0, 1.0]]] * 9 + [[[1.0, 0.0]]])
    states = torch.tensor([[PRESENT]] * 8 + [[ABSENT]] * 2)
    assert accuracy(logits, states) == pytest.approx((1.0 + 0.5) / 2)
    assert accuracy(logits, torch.zeros_like(states)) == 0


def test_the_classifier_sees_levels_below_the_highest_it_is_to_see() -> None:
    seen: list[int] = []

    class Seeing(NoisyClassifier):
        def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
            seen.extend(timesteps.tolist())
            return torch.zeros(len(noisy), 1, 2)

    net = Seeing(image_channels=2, size=8, head_channels=16, **SMALL)
    value, _ = NoisyClassification(SCHEDULE, 50)(net, batch([[PRESENT]] * 64))
    assert float(value) == pytest.approx(np.log(2), rel=1e-5)
    assert 0 <= min(seen) < 10
    assert 40 < max(seen) < 50


def held_out() -> list[LabelledExample]:
    states = np.array([[PRESENT], [UNKNOWN], [ABSENT]], np.uint8)
    labels = SliceLabels(("disc",), states)
    return [
        LabelledExample(str(i), str(i), torch.randn(2, 3, 8, 8), labels)
        for i in range(3)
    ]


def recipe() -> Any:
    return SimpleNamespace(
        patch=(8, 8), seed=0, length=SimpleNamespace(validation_cases=4)
    )


@pytest.mark.parametrize("which", ["diffusion", "classifier"])
def test_scores_are_the_same_every_time_and_higher_is_better(which: str) -> None:
    torch.manual_seed(0)
    net: nn.Module
    loss: Any
    if which == "diffusion":
        net = ClassUNet(image_channels=2, heads=1, **SMALL)
        loss = ClassDiffusion("l2", 0.5, SCHEDULE, "eps")
    else:
        net = NoisyClassifier(image_channels=2, size=8, head_channels=16, **SMALL)
        loss = NoisyClassification(SCHEDULE, 1000)
    found = loss.scores(net.eval(), held_out_now := held_out(), recipe())
    assert loss.scores(net, held_out_now, recipe()) == found
    other = "error" if which == "diffusion" else "loss"
    assert found["score"] == -found[other]
