"""DiCLIP's losses against loops over pixels and pairs, and where nothing is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffseg.networks.diclip_head import predicted_affinity
from diffseg.segmenters.text.pseudo_masks import IGNORE
from diffseg_training.text.losses import (
    LossWeights,
    adapter_loss,
    affinity_loss,
    affinity_targets,
    balanced_cross_entropy,
    classes_on_grid,
    cross_entropy,
    segmentation_loss,
    summed,
)


def made(size: tuple[int, int] = (5, 6), classes: int = 2) -> tuple[Tensor, Tensor]:
    """Logits (2, K + 1, *size), and classes in which some are not known."""
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes + 1, *size, generator=source)
    found = torch.randint(0, classes + 1, (2, *size), generator=source)
    unknown = torch.rand(2, *size, generator=source) < 0.2
    return logits.requires_grad_(True), found.masked_fill(unknown, IGNORE)


def pixel_entropies(logits: Tensor, classes: Tensor) -> list[tuple[int, float]]:
    """Class and cross-entropy of every pixel that is known."""
    found = []
    values = logits.detach()
    for image, mask in zip(values, classes, strict=True):
        for y in range(mask.shape[0]):
            for x in range(mask.shape[1]):
                index = int(mask[y, x])
                if index == IGNORE:
                    continue
                powers = [math.exp(float(one)) for one in image[:, y, x]]
                found.append((index, -math.log(powers[index] / sum(powers))))
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def value(loss: Tensor) -> float:
    return float(loss.detach())


def test_cross_entropies_pixel_by_pixel() -> None:
    logits, classes = made()
    each = pixel_entropies(logits, classes)
    every = mean([one for _, one in each])
    assert value(cross_entropy(logits, classes)) == pytest.approx(every, rel=1e-5)
    background = mean([one for index, one in each if index == 0])
    foreground = mean([one for index, one in each if index > 0])
    found = value(balanced_cross_entropy(logits, classes))
    assert found == pytest.approx(0.5 * background + 0.5 * foreground, rel=1e-5)
    assert abs(found - every) > 1e-3


def test_an_image_without_foreground_has_half_a_loss() -> None:
    logits, classes = made()
    nothing = torch.zeros_like(classes)
    found = value(balanced_cross_entropy(logits, nothing))
    assert found == pytest.approx(0.5 * value(cross_entropy(logits, nothing)))


def test_logits_are_brought_to_the_size_of_the_mask() -> None:
    coarse, _ = made((3, 4))
    _, classes = made((9, 12))
    full = torch.nn.functional.interpolate(
        coarse, (9, 12), mode="bilinear", align_corners=False
    )
    wanted = value(balanced_cross_entropy(full, classes))
    assert value(segmentation_loss(coarse, classes)) == pytest.approx(wanted)
    tokens = coarse.flatten(2).transpose(1, 2)
    assert value(adapter_loss(tokens, classes, (3, 4))) == pytest.approx(wanted)
    plain = value(adapter_loss(tokens, classes, (3, 4), balanced=False))
    assert plain == pytest.approx(value(cross_entropy(full, classes)))


def test_targets_pair_by_pair() -> None:
    _, classes = made((4, 5))
    for radius in (0, 1, 2, 8):
        found = affinity_targets(classes, radius)
        for image in range(2):
            for a in range(20):
                for b in range(20):
                    one, other = (classes[image, p // 5, p % 5].item() for p in (a, b))
                    apart = max(abs(a // 5 - b // 5), abs(a % 5 - b % 5))
                    if IGNORE in (one, other) or a == b or apart > radius:
                        wanted = IGNORE
                    else:
                        wanted = int(one == other)
                    assert int(found[image, a, b]) == wanted


def test_affinity_pair_by_pair() -> None:
    _, classes = made((4, 5))
    targets = affinity_targets(classes, 2)
    source = torch.Generator().manual_seed(3)
    predicted = torch.rand(2, 20, 20, generator=source)
    like, unlike = [], []
    for p, target in zip(
        predicted.flatten().tolist(), targets.flatten().tolist(), strict=True
    ):
        if target == 1:
            like.append(1 - p)
        elif target == 0:
            unlike.append(p)
    wanted = 0.5 * mean(like) + 0.5 * mean(unlike)
    assert value(affinity_loss(predicted, targets)) == pytest.approx(wanted, rel=1e-5)


def test_affinity_that_is_right_costs_nothing() -> None:
    _, classes = made((4, 5))
    targets = affinity_targets(classes)
    assert value(affinity_loss((targets == 1).float(), targets)) == 0
    assert value(affinity_loss((targets != 1).float(), targets)) == 1


def test_classes_of_patches_are_those_of_their_middle() -> None:
    classes = torch.zeros(1, 6, 9, dtype=torch.long)
    classes[0, 1, 4] = 2
    classes[0, 4, 7] = IGNORE
    classes[0, 0, 0] = 1
    assert classes_on_grid(classes, (2, 3)).tolist() == [[[0, 2, 0], [0, 0, IGNORE]]]


def test_where_nothing_is_known_nothing_is_lost_and_nothing_learnt() -> None:
    logits, classes = made((4, 5))
    nothing = torch.full_like(classes, IGNORE)
    fused = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(2))
    fused.requires_grad_(True)
    parts = {
        "segmentation": balanced_cross_entropy(logits, nothing),
        "adapter": adapter_loss(
            logits.flatten(2).transpose(1, 2), nothing, (4, 5), balanced=False
        ),
        "affinity": affinity_loss(predicted_affinity(fused), affinity_targets(nothing)),
    }
    total, terms = summed(parts, LossWeights())
    assert value(total) == 0
    assert set(terms.values()) == {0.0}
    total.backward()
    for one in (logits, fused):
        assert one.grad is not None
        assert not one.grad.any()
        assert torch.isfinite(one.grad).all()


def test_pixels_that_are_not_known_have_no_gradient() -> None:
    logits, classes = made()
    balanced_cross_entropy(logits, classes).backward()
    assert logits.grad is not None
    moved = logits.grad.abs().sum(1) > 0
    assert torch.equal(moved, classes != IGNORE)


def test_parts_are_weighed_by_their_names() -> None:
    parts = {
        "segmentation": torch.tensor(2.0),
        "adapter": torch.tensor(3.0),
        "affinity": torch.tensor(5.0),
    }
    total, terms = summed(parts, LossWeights())
    assert value(total) == pytest.approx(2.8)
    assert dict(terms) == {"segmentation": 2.0, "adapter": 3.0, "affinity": 5.0}
    paper, _ = summed(parts, LossWeights(affinity=0))
    assert value(paper) == pytest.approx(2.3)
    alone, _ = summed({"adapter": parts["adapter"]}, LossWeights())
    assert value(alone) == pytest.approx(0.3)
    for wrong in ({}, {"other": torch.tensor(1.0)}):
        with pytest.raises(ValueError, match="parts"):
            summed(wrong, LossWeights())


def test_half_precision_is_weighed_in_single() -> None:
    logits, classes = made()
    half = balanced_cross_entropy(logits.detach().half(), classes)
    assert half.dtype == torch.float32
    assert value(half) == pytest.approx(
        value(balanced_cross_entropy(logits, classes)), rel=1e-2
    )
