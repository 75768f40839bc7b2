"""CLDF's last step: pixels that look alike agree about what they show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from beside import beside

from diffseg.domain.slice_labels import PRESENT
from diffseg.metrics import dice
from diffseg.segmenters.refining.pixels import refine_by_pixels
from diffseg.segmenters.weak.embedding import by_embedding, refined
from diffseg.segmenters.weak.members import WeakMembers

small = beside(__file__, "small_cldf")


def square(size: int = 48) -> np.ndarray:
    """A bright square (Y, X) in a dark slice."""
    found = np.zeros((size, size), bool)
    found[14:34, 10:30] = True
    return found


def coarse(mask: np.ndarray) -> np.ndarray:
    """Probabilities (1, 2, Y, X) of a mask as a map four times as coarse has them."""
    cells = mask.reshape(len(mask) // 8, 8, -1, 8).mean(axis=(1, 3), dtype=np.float32)
    one = np.kron(cells, np.ones((8, 8), np.float32))[None]
    return np.stack([1 - one, one], axis=1)


def image_of(mask: np.ndarray) -> torch.Tensor:
    noise = np.random.default_rng(0).normal(0, 0.05, mask.shape)
    return torch.from_numpy((mask + noise).astype(np.float32))[None, None]


def test_edges_move_to_those_of_the_image() -> None:
    mask = square()
    before = coarse(mask)
    after = refined(before, image_of(mask), small.network(refinement_iterations=12))
    np.testing.assert_allclose(after.sum(1), 1, atol=1e-5)
    plain, better = (
        dice((one[0, 1] > 0.5).astype(np.uint8), mask.astype(np.uint8))
        for one in (before, after)
    )
    assert plain is not None
    assert better is not None
    assert better > max(0.98, plain + 0.02)


def test_each_slice_is_refined_by_its_own_image() -> None:
    masks = [square(), square().T]
    before = np.concatenate([coarse(mask) for mask in masks])
    images = torch.cat([image_of(mask) for mask in masks])
    network = small.network(refinement_iterations=3, refinement_dilations=(1, 3))
    found = refined(before, images, network)
    together = refine_by_pixels(
        torch.from_numpy(before), images, iterations=3, dilations=(1, 3)
    )
    np.testing.assert_allclose(found, together.numpy(), atol=1e-6)


def test_without_it_nothing_changes() -> None:
    before = coarse(square())
    assert refined(before, image_of(square()), small.network()) is before


def test_a_proposal_takes_it_and_no_class_comes_in_that_is_absent() -> None:
    image = np.random.default_rng(0).random((1, 1, 13, 18)).astype(np.float32)
    said = np.array([PRESENT, 2, PRESENT], np.uint8)

    def drawn(**config: Any) -> np.ndarray:
        source = WeakMembers(
            small.network(classes=3, **config),
            small.card(("a", "b", "c")),
            "cpu",
            by_embedding,
            said=said,
        )
        pieces = source(image, members=1, steps=2, seed=3)
        return next(one.probability for one in pieces if hasattr(one, "probability"))

    plain, fine = drawn(), drawn(refinement_iterations=4)
    assert np.abs(plain - fine).max() > 1e-3
    assert (fine[2] == 0).all()
    expected = refine_by_pixels(
        torch.from_numpy(plain).movedim(1, 0),
        torch.from_numpy(image[:, 0])[None],
        iterations=4,
        dilations=(1, 2, 4, 8),
    )
    np.testing.assert_allclose(fine[:, 0], expected[0].numpy(), atol=1e-4)


@pytest.mark.parametrize("dilations", [(), (0, 1)])
def test_distances_of_nothing_are_refused(dilations: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="give some of 1 and more"):
        small.network(refinement_dilations=dilations)


def test_fewer_rounds_than_none_are_refused() -> None:
    with pytest.raises(TypeError, match="refinement_iterations is -1; give 0 or more"):
        small.network(refinement_iterations=-1)
