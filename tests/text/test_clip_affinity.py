"""Activation maps spread along attention: written out on small grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from diffseg.segmenters.text.affinity import (
    affinity_refined,
    box_mask,
    mean_affinity,
    symmetric_affinity,
)


def attention(count: int = 12, images: int = 2, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(images, count, count, generator=source).softmax(-1)


def slow_affinity(one: Tensor, rounds: int, squares: int) -> Tensor:
    found = one.double().numpy().copy()
    count = len(found)
    for _ in range(rounds):
        for column in range(count):
            found[:, column] /= found[:, column].sum()
        for row in range(count):
            found[row] /= found[row].sum()
    half = np.zeros_like(found)
    for i in range(count):
        for j in range(count):
            half[i, j] = (found[i, j] + found[j, i]) / 2
    for _ in range(squares):
        half = np.array(
            [
                [
                    sum(half[i, m] * half[m, j] for m in range(count))
                    for j in range(count)
                ]
                for i in range(count)
            ]
        )
    return torch.from_numpy(half).float()


@pytest.mark.parametrize(("rounds", "squares"), [(3, 1), (1, 0), (2, 2)])
def test_affinity_is_the_loop(rounds: int, squares: int) -> None:
    given = attention()
    found = symmetric_affinity(given, rounds, squares)
    for one, wanted in zip(found, given, strict=True):
        torch.testing.assert_close(one, slow_affinity(wanted, rounds, squares))


def test_affinity_is_symmetric_and_doubly_stochastic_in_the_end() -> None:
    found = symmetric_affinity(attention(), rounds=40)
    torch.testing.assert_close(found, found.mT)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 12))
    torch.testing.assert_close(found.sum(-2), torch.ones(2, 12))
    few = symmetric_affinity(attention())
    assert (few.sum(-1) - 1).abs().max() < 0.02
    # Of any scale, rows of nothing included.
    torch.testing.assert_close(symmetric_affinity(5 * attention()), few)
    assert symmetric_affinity(torch.zeros(1, 4, 4)).isfinite().all()


def test_layers_are_averaged_and_weighed() -> None:
    one, two = attention(seed=1), attention(seed=2)
    torch.testing.assert_close(mean_affinity([one, two]), (one + two) / 2)
    torch.testing.assert_close(mean_affinity([one, two], [1, 3]), (one + 3 * two) / 4)
    with pytest.raises(ValueError, match="2 layers cannot be weighed"):
        mean_affinity([one, two], [1])
    with pytest.raises(ValueError, match="0 layers"):
        mean_affinity([])


def test_boxes_are_drawn_around_bright_regions() -> None:
    field = torch.tensor(
        [
            [1.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.8, 0.0, 0.0, 0.7],
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.8, 0.0],
            [0.0, 0.0, 0.8, 0.0, 0.0],
        ]
    )
    found = box_mask(field.reshape(1, 25, 1), (5, 5), 0.79)[0, :, 0].reshape(5, 5)
    wanted = torch.zeros(5, 5, dtype=torch.bool)
    wanted[:2, :2] = True  # touching at a corner is one region
    wanted[3:, 2:4] = True
    assert torch.equal(found, wanted)
    lower = box_mask(field.reshape(1, 25, 1), (5, 5), 0.7)[0, :, 0].reshape(5, 5)
    assert lower[1, 4]
    assert int(lower.sum()) == int(wanted.sum()) + 1


def test_the_threshold_is_a_share_of_each_map_s_maximum() -> None:
    field = torch.rand(2, 12, 3, generator=torch.Generator().manual_seed(3))
    scaled = field * torch.tensor([1.0, 0.01, 100.0])
    assert torch.equal(box_mask(field, (3, 4), 0.6), box_mask(scaled, (3, 4), 0.6))
    for index in range(2):
        one = box_mask(field[index : index + 1], (3, 4), 0.6)
        assert torch.equal(one, box_mask(field, (3, 4), 0.6)[index : index + 1])
    assert not box_mask(torch.zeros(1, 12, 1), (3, 4), 0.6).any()


def test_refinement_is_the_loop() -> None:
    cams = torch.rand(2, 12, 3, generator=torch.Generator().manual_seed(4))
    affinity = symmetric_affinity(attention())
    found = affinity_refined(cams, affinity, (3, 4), 0.7)
    inside = box_mask(cams, (3, 4), 0.7)
    for b in range(2):
        for k in range(3):
            for i in range(12):
                wanted = sum(
                    float(affinity[b, i, j] * cams[b, j, k])
                    for j in range(12)
                    if inside[b, j, k]
                )
                assert float(found[b, i, k]) == pytest.approx(wanted, rel=1e-5)


def test_two_groups_of_patches_keep_to_themselves() -> None:
    alike = torch.block_diag(torch.full((6, 6), 1 / 6), torch.full((6, 6), 1 / 6))
    affinity = symmetric_affinity(alike[None])
    cam = torch.zeros(1, 12, 1)
    cam[0, 1] = 1
    found = affinity_refined(cam, affinity, (3, 4))[0, :, 0]
    torch.testing.assert_close(found[:6], torch.full((6,), 1 / 6))
    assert torch.equal(found[6:], torch.zeros(6))
    # An affinity to oneself alone leaves the map as it is within its boxes.
    itself = symmetric_affinity(torch.eye(12)[None])
    torch.testing.assert_close(affinity_refined(cam, itself, (3, 4)), cam)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="grid of 3 x 5"):
        affinity_refined(torch.rand(2, 12, 1), attention(), (3, 5))
