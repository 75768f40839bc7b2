"""K-means of embeddings, and the cluster that is the foreground."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from diffseg.segmenters.weak.clusters import (
    centres,
    clustered,
    in_order,
    mean_directions,
    shares,
)
from diffseg.segmenters.weak.thresholds import Threshold, stretched

REFERENCES = np.eye(3, dtype=np.float32)[:2]


def pixels(counts: tuple[int, ...] = (900, 40)) -> np.ndarray:
    """Embeddings about the references, the class of pixel i unknown to the method."""
    source = np.random.default_rng(0)
    made = [
        REFERENCES[k] + source.normal(0, 0.15, (count, 3))
        for k, count in enumerate(counts)
    ]
    found = np.concatenate(made)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_centres_are_those_of_lloyd() -> None:
    """Every centre is the mean of the pixels that lie nearest to it."""
    some = pixels()
    found = centres(some, 2, np.random.default_rng(1), iterations=100)
    assert found is not None
    nearest = ((some[:, None] - found[None]) ** 2).sum(2).argmin(1)
    for k in range(2):
        np.testing.assert_allclose(found[k], some[nearest == k].mean(0), atol=1e-4)


def test_the_best_of_several_starts_is_kept() -> None:
    some = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]], np.float32)
    bad = np.array([[0.0], [0.1], [7.0]], np.float32)
    source = np.random.default_rng(0)
    alone = centres(some, 3, source, starts=0, first=bad)
    best = centres(some, 3, source, starts=5, first=bad)
    assert alone is not None
    assert best is not None

    def spread(at: np.ndarray) -> float:
        return float(((some - at.T) ** 2).min(1).sum())

    assert spread(alone) > 1
    np.testing.assert_allclose(sorted(best[:, 0]), [0.05, 5.05, 9.05], atol=1e-5)


def test_clusters_are_ordered_by_the_references_whatever_their_labels() -> None:
    found = np.array([[0.1, 0.9, 0], [0.8, 0.1, 0], [0, 0, 1]], np.float32)
    references = np.eye(3, dtype=np.float32)
    wanted = found[[1, 0, 2]]
    for order in permutations(range(3)):
        np.testing.assert_array_equal(in_order(found[list(order)], references), wanted)


def test_the_order_is_the_best_of_all_together() -> None:
    # Both centres lie nearest to the first reference; only one can be it.
    references = np.array([[0.0], [1.0]], np.float32)
    found = np.array([[0.1], [-0.4]], np.float32)
    np.testing.assert_allclose(in_order(found, references), [[-0.4], [0.1]])


@pytest.mark.parametrize("seed", range(4))
def test_swapped_labels_change_no_mask(seed: int) -> None:
    some, truth = pixels(), np.repeat([0, 1], [900, 40])
    probability = clustered(
        some, REFERENCES, np.random.default_rng(seed), temperature=0.1
    )
    assert (probability.argmax(1) == truth).mean() > 0.99
    other = clustered(
        some, REFERENCES[::-1], np.random.default_rng(seed), temperature=0.1
    )
    np.testing.assert_allclose(other[:, ::-1], probability, atol=1e-5)


def test_probabilities_are_a_softmax_whose_largest_is_the_nearest_centre() -> None:
    some = pixels()
    soft = shares(some, REFERENCES, 0.1)
    distance = ((some[:, None] - REFERENCES[None]) ** 2).sum(2)
    power = np.exp(-distance / 0.2)
    np.testing.assert_allclose(soft, power / power.sum(1, keepdims=True), rtol=1e-4)
    hard = shares(some, REFERENCES, 0.0)
    np.testing.assert_array_equal(hard.argmax(1), distance.argmin(1))
    assert set(np.unique(hard)) == {0.0, 1.0}


def test_pixels_that_are_all_the_same_go_to_the_nearest_reference() -> None:
    some = np.repeat(REFERENCES[:1], 50, axis=0)
    source = np.random.default_rng(0)
    assert centres(some[:1], 2, source) is None
    probability = clustered(some, REFERENCES, source, temperature=0.1)
    assert (probability.argmax(1) == 0).all()


def test_without_iterations_the_references_are_the_centres() -> None:
    some = pixels((5, 5))
    found = clustered(
        some, REFERENCES, np.random.default_rng(0), temperature=0.1, iterations=0
    )
    np.testing.assert_array_equal(found, shares(some, REFERENCES, 0.1))


def test_a_reference_is_the_mean_of_its_pixels() -> None:
    some = pixels((3, 4))
    found = mean_directions([some[:3], some[3:]])
    np.testing.assert_allclose(found[1], some[3:].mean(0), rtol=1e-6)


def test_otsu_parts_two_groups_and_nothing_stands_out_of_a_flat_map() -> None:
    one = np.where(np.arange(100).reshape(10, 10) < 80, 0.1, 0.9)
    assert 0.1 <= Threshold().of(one) < 0.9
    assert Threshold().of(np.full((4, 4), 0.7)) == np.inf
    assert Threshold(kind="fixed", value=0.3).of(one) == 0.3
    rising = np.linspace(0, 1, 101)[None]
    assert Threshold(kind="percentile", value=90).of(rising) == pytest.approx(0.9)


def test_a_map_is_stretched_slice_by_slice() -> None:
    one = np.array([[2.0, 4.0], [3.0, 6.0]])
    np.testing.assert_allclose(stretched(one), [[0, 0.5], [0.25, 1]])
    assert not stretched(np.full((3, 3), 5.0)).any()
    spike = np.zeros((9, 9))
    spike[4, 4] = 1
    smooth = stretched(spike, blur=1.0)
    assert smooth[4, 4] == 1
    assert smooth[4, 5] == pytest.approx(np.exp(-0.5), rel=0.01)
