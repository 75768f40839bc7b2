"""What to look at next: by hand, and that every order is a whole one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from diffseg.ensemble.expected import expected_dice
from diffseg.ensemble.routing import (
    Candidate,
    candidate_of,
    features_of,
    slice_candidates,
)
from diffseg.ensemble.routing_order import (
    STRATEGIES,
    by_diversity,
    by_entropy,
    by_expected_dice,
    by_foreground,
    by_information,
    by_random,
)

MIDDLE = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def candidate(case: str = "c", **changes: object) -> Candidate:
    plain = Candidate(
        case, None, (10.0, 10.0), MIDDLE, (0.2, 0.2), 0.2, 0.1, (0.8, 0.8),
        (0.2, 0.2, 0.2, 0.2, 0.2),
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probability = np.zeros((2, 4, 6, 8), np.float32)
    probability[0, 1, 2, 3:6] = 0.9
    probability[0, 2, 2, 3] = 0.06  # claimed, and not in the mask
    probability[0, 3] = 0.04  # not claimed
    classes = (probability[0] > 0.5).astype(np.uint8)
    uncertainty = np.zeros((4, 6, 8), np.float32)
    uncertainty[1, 2, 3:6] = 0.5
    uncertainty[2, 2, 3] = 0.1
    uncertainty[3] = 1.0
    return probability, classes, uncertainty


def test_a_candidate_by_hand() -> None:
    probability, classes, uncertainty = scene()
    members = np.stack([classes, classes, classes, classes * 0])
    found = candidate_of("a", probability, classes, uncertainty, members)
    assert found.volumes == (3, 0)
    assert found.centroids[0] == pytest.approx((1.5 / 4, 2.5 / 6, 4.5 / 8))
    assert found.centroids[1] == (0.5, 0.5, 0.5)
    assert found.doubts == pytest.approx(((3 * 0.5 + 0.1) / 4, 0))
    assert found.entropy == pytest.approx((3 * 0.5 + 0.1) / 4)
    votes = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(3)
    assert found.information == pytest.approx(3 * votes / 4)  # the fourth: all agree
    assert found.histogram == pytest.approx((0.25, 0, 0.75, 0, 0))
    assert found.expected_dice[0] == expected_dice(probability[0], classes == 1)
    assert found.expected_dice[1] == 1
    assert Candidate.from_json(json.loads(json.dumps(found.as_json()))) == found
    alone = candidate_of("a", probability, classes, uncertainty, members[:1], (0.5, 1))
    assert alone.information is None
    assert alone.expected_dice == (0.5, 1)


def test_empty_proposals_have_numbers_too() -> None:
    nothing = np.zeros((1, 2, 3, 4), np.float32)
    found = candidate_of("a", nothing, nothing[0].astype(np.uint8), nothing[0])
    assert (found.entropy, found.volumes, found.doubts) == (0, (0,), (0,))
    assert slice_candidates("a", nothing, nothing[0].astype(np.uint8), nothing[0]) == ()


@pytest.mark.parametrize(("axis", "at"), [(0, [1, 2]), (1, [2]), (2, [3, 4, 5])])
def test_slices_are_those_with_something_claimed(axis: int, at: list[int]) -> None:
    probability, classes, uncertainty = scene()
    found = slice_candidates("a", probability, classes, uncertainty, axis=axis)
    assert [one.slice for one in found] == at
    for one in found:
        share = (one.slice + 0.5) / classes.shape[axis]  # type: ignore[operator]
        assert one.centroids[0][axis] == pytest.approx(share)
    assert sum(one.volumes[0] for one in found) == 3


def test_features_are_blocks_of_equal_weight() -> None:
    rng = np.random.default_rng(0)
    some = [
        candidate(
            volumes=tuple(rng.integers(1, 99, 2).tolist()),
            histogram=tuple(rng.dirichlet(np.ones(5)).tolist()),
        )
        for _ in range(50)
    ]
    found = features_of(some)
    assert found.shape == (50, 2 + 6 + 5)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    variance = found.var(axis=0)
    assert variance[:2].sum() == pytest.approx(1)
    assert variance[2:8].sum() == 0  # alike everywhere
    assert variance[8:].sum() == pytest.approx(1)


# --- orders ---------------------------------------------------------------------------


def several(n: int = 30, seed: int = 0) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [
        candidate(
            f"c{i}",
            volumes=tuple((rng.integers(0, 50, 2) * (i % 7 > 0)).tolist()),
            entropy=float(rng.random()),
            information=None if i == 3 else float(rng.random()),
            expected_dice=tuple(rng.random(2).tolist()),
            histogram=tuple(rng.dirichlet(np.ones(5)).tolist()),
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_order_is_whole_and_follows_from_its_seed(name: str) -> None:
    some, order = several(), STRATEGIES[name]
    assert sorted(order(some, 0)) == list(range(30))
    assert order(some, 4) == order(some, 4)
    assert order([], 0) == ()
    assert order(some[:1], 0) == (0,)
    if name in ("random", "foreground"):
        assert order(some, 0) != order(some, 1)
    else:  # of equal ones, the seed decides
        alike = [candidate(str(i)) for i in range(8)]
        assert len({order(alike, seed) for seed in range(9)}) > 1


def test_orders_by_one_number() -> None:
    some = [
        candidate(entropy=0.1, information=0.3, expected_dice=(0.9, 0.2)),
        candidate(entropy=0.3, information=None, expected_dice=(0.6, 0.7)),
        candidate(entropy=0.2, information=0.5, expected_dice=(0.5, 0.5)),
    ]
    assert by_entropy(some, 0) == (1, 2, 0)
    assert by_information(some, 0) == (2, 0, 1)
    assert by_expected_dice(some, 0) == (2, 0, 1)


def test_every_case_comes_first_as_often_at_random() -> None:
    some = [candidate(str(i)) for i in range(4)]
    first = Counter(by_random(some, seed)[0] for seed in range(800))
    assert min(first.values()) > 150


def test_foreground_takes_structures_in_turns_by_their_size() -> None:
    some = [
        candidate("big", volumes=(90.0, 0.0)),
        candidate("small", volumes=(10.0, 0.0)),
        candidate("other", volumes=(0.0, 1.0)),
        candidate("nothing", volumes=(0.0, 0.0)),
    ]
    orders = [by_foreground(some, seed) for seed in range(600)]
    assert all(order[3] == 3 for order in orders)
    # The rare structure is among the first two, however small it is.
    assert all(2 in order[:2] for order in orders)
    before = np.mean([order.index(0) < order.index(1) for order in orders])
    assert before == pytest.approx(0.9, abs=0.04)
    first = np.mean([order[0] == 2 for order in orders])
    assert first == pytest.approx(0.5, abs=0.07)


def test_diversity_leaves_copies_for_later() -> None:
    far = ((0.9, 0.5, 0.5), (0.9, 0.5, 0.5))
    some = [
        candidate("worst", expected_dice=(0.50, 1.0), volumes=(10.0, 1.0)),
        candidate("copy", expected_dice=(0.51, 1.0), volumes=(10.0, 1.0)),
        candidate("other", expected_dice=(0.60, 1.0), centroids=far,
                  volumes=(90.0, 1.0)),
    ]  # fmt: skip
    assert by_expected_dice(some, 0) == (0, 1, 2)
    assert by_diversity(some, 0) == (0, 2, 1)
    # What was reviewed before need not be seen again.
    assert by_diversity(some[1:], 0, taken=some[:1]) == (1, 0)


def test_diversity_takes_structures_in_turns() -> None:
    some = [
        candidate("a1", expected_dice=(0.1, 0.9)),
        candidate("a2", expected_dice=(0.2, 0.9), volumes=(1.0, 9.0)),
        candidate("b", expected_dice=(0.9, 0.5), volumes=(30.0, 80.0)),
        candidate("c", expected_dice=(0.9, 0.9), volumes=(300.0, 1.0)),
    ]
    order = by_diversity(some, 0)
    assert order[:2] == (0, 2)


def test_diversity_is_a_greedy_determinant() -> None:
    some = several(12, seed=5)
    features = features_of(some)
    apart = np.linalg.norm(features[:, None] - features[None], axis=2)
    median = np.median(apart[np.triu_indices(12, k=1)])
    alike = np.exp(-(apart**2) / (2 * median**2))
    quality = 1 - np.array([one.expected_dice for one in some])
    turns = np.argsort(-quality.max(axis=0))
    taken: list[int] = []
    for turn in range(12):
        q = quality[:, turns[turn % 2]]
        now = np.linalg.det(alike[np.ix_(taken, taken)]) if taken else 1.0
        gains = {}
        for i in set(range(12)) - set(taken):
            more = [*taken, i]
            gains[i] = q[i] ** 2 * np.linalg.det(alike[np.ix_(more, more)]) / now
        taken.append(max(gains, key=gains.__getitem__))
    assert by_diversity(some, 0) == tuple(taken)


def test_diversity_of_many_is_greedy_for_the_first_only() -> None:
    some = several(60)
    whole, short = by_diversity(some, 0), by_diversity(some, 0, most=10)
    assert short[:10] == whole[:10]
    left = [i for i in by_expected_dice(some, 0) if i not in short[:10]]
    assert list(short[10:]) == left
    assert by_diversity(some, 0, noise=5.0) != whole
    assert by_diversity(some, 1, noise=5.0) == by_diversity(some, 1, noise=5.0)
