"""Expected Dice: against every possible reference, Monte Carlo, and by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from diffseg.ensemble.calibration_dice import correlations, held_out_dice_map
from diffseg.ensemble.calibration_evidence import Evidence
from diffseg.ensemble.expected import (
    expected_dice,
    expected_structures,
    slice_errors,
    soft_dice,
)
from diffseg.ensemble.expected_map import DiceMap, fit_dice_map, log_odds, predict_dice

RNG = np.random.default_rng


def exactly(p: np.ndarray, inside: np.ndarray) -> float:
    """Mean Dice over all 2**n references."""
    total = 0.0
    for draw in product((0, 1), repeat=len(p)):
        y = np.array(draw, bool)
        chance = float(np.where(y, p, 1 - p).prod())
        size = y.sum() + inside.sum()
        total += chance * (2 * (y & inside).sum() / size if size else 1.0)
    return total


def test_soft_dice_by_hand() -> None:
    p = np.array([0.9, 0.8, 0.3, 0.0])
    inside = np.array([True, True, False, False])
    assert soft_dice(p, inside) == pytest.approx(2 * 1.7 / (2 + 2.0))
    assert soft_dice(p * 0, inside & False) == 1


@pytest.mark.parametrize("seed", range(4))
def test_expected_dice_is_the_mean_over_every_reference(seed: int) -> None:
    rng = RNG(seed)
    p = rng.beta(2, 2, 12)
    inside = p > 0.4
    exact = exactly(p, inside)
    found = expected_dice(p, inside)
    assert found == pytest.approx(exact, abs=0.004)
    # The second order is what makes it so: the first alone is further off.
    assert abs(found - exact) < abs(soft_dice(p, inside) - exact) / 2


def test_expected_dice_of_independent_voxels_against_monte_carlo() -> None:
    rng = RNG(0)
    p = rng.random(30) * 0.6
    inside = p > 0.3
    draws = rng.random((100_000, 30)) < p
    dice = 2 * (draws & inside).sum(axis=1) / (draws.sum(axis=1) + inside.sum())
    error = dice.std() / np.sqrt(len(dice))
    assert expected_dice(p, inside) == pytest.approx(dice.mean(), abs=4 * error + 1e-4)
    assert abs(soft_dice(p, inside) - dice.mean()) > 4 * error + 1e-4


def test_an_empty_mask_is_worth_the_chance_that_there_is_nothing() -> None:
    p = np.array([0.5, 0.2, 0.0])
    nothing = np.zeros(3, bool)
    assert expected_dice(p, nothing) == pytest.approx(0.5 * 0.8)
    assert expected_dice(p * 0, nothing) == 1
    assert expected_dice(p * 0 + 1, nothing) == pytest.approx(0, abs=1e-9)
    assert expected_dice(p, nothing, np.array([2.0, 1, 1])) == pytest.approx(0.2)


def test_counts_are_voxels() -> None:
    p, inside = np.array([0.9, 0.6, 0.2]), np.array([True, True, False])
    counts = np.array([3, 1, 4])
    found = expected_dice(p, inside, counts)
    assert found == pytest.approx(
        expected_dice(np.repeat(p, counts), np.repeat(inside, counts))
    )


def test_structures_and_slices() -> None:
    rng = RNG(1)
    p = rng.dirichlet([1, 1, 2], (4, 5, 6)).transpose(3, 0, 1, 2)[:2]
    classes = np.concatenate([1 - p.sum(axis=0)[None], p]).argmax(axis=0)
    classes = classes.astype(np.uint8)
    first, second = expected_structures(p, classes)
    assert first == pytest.approx(expected_dice(p[0], classes == 1))
    assert second == pytest.approx(expected_dice(p[1], classes == 2))
    for axis in range(3):
        found = slice_errors(p, classes, axis)
        assert found.dice.shape == (2, classes.shape[axis])
        full = np.concatenate([1 - p.sum(axis=0)[None], p])
        for at in range(classes.shape[axis]):
            part, mask = full.take(at, axis + 1), classes.take(at, axis)
            right = np.take_along_axis(part, mask[None].astype(int), 0)
            assert found.wrong[at] == pytest.approx((1 - right).sum(), rel=1e-6)
            wanted = expected_dice(part[2], mask == 2)
            assert found.dice[1, at] == pytest.approx(wanted)


# --- the map to the real Dice ------------------------------------------------------


def expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_a_known_map_is_found() -> None:
    rng = RNG(0)
    a, b = rng.normal(2, 0.7, (30, 2)), rng.normal(3, 0.5, (30, 2))
    real = expit(np.array([-0.5, 0.3]) + 0.4 * a + 0.2 * b)
    found = fit_dice_map(expit(a), expit(b), real)
    np.testing.assert_allclose(found.intercepts, [-0.5, 0.3], atol=1e-6)
    assert found.by_soft == pytest.approx(0.4)
    assert found.by_members == pytest.approx(0.2)
    value = predict_dice(found, 1, expit(a)[0, 1], expit(b)[0, 1])
    assert value is not None
    assert value.value == pytest.approx(real[0, 1])
    assert value.low <= value.value <= value.high


def test_a_map_never_falls() -> None:
    rng = RNG(0)
    a, b = rng.normal(2, 0.7, (30, 1)), rng.normal(3, 0.5, (30, 1))
    found = fit_dice_map(expit(a), expit(b), expit(1 - 0.5 * a + 0.3 * b))
    assert 0 <= found.by_soft < 1e-9
    assert found.by_members > 0


def test_one_member_predicts_nothing() -> None:
    known = DiceMap(intercepts=(0.0,), by_soft=1, by_members=0, low=-1, high=1)
    assert predict_dice(known, 0, 0.9, None) is None
    found = predict_dice(known, 0, 0.9, 0.5)
    assert found is not None
    assert found.value == pytest.approx(0.9)
    assert found.low == pytest.approx(expit(log_odds(np.array(0.9)) - 1))


def case(index: int, flips: int, n: int = 400) -> tuple[Evidence, np.ndarray, float]:
    """A case whose members see what is wrong, and whose probabilities tell it."""
    rng = RNG(index)
    reference = (np.arange(n) < n // 2).astype(np.uint8)
    told = reference.copy()
    told[rng.choice(n, flips, replace=False)] ^= 1
    sure = 1 - 0.9 * flips / n
    p = np.where(told == 1, sure, 1 - sure)
    one = Evidence(
        f"c{index}", f"g{index}", np.stack([1 - p, p]).astype(np.float32), reference,
        np.ones(n), np.ones(n, bool),
    )  # fmt: skip
    return one, np.stack([1 - p, p]), float(np.clip(sure + rng.normal(0, 0.005), 0, 1))


def test_predicted_dice_follows_the_real_one_on_patients_held_out() -> None:
    cases = [case(i, 5 + 6 * i) for i in range(20)]
    evidence, p, agreement = zip(*cases, strict=True)
    pairs = np.array(agreement)[:, None]
    known, figures = held_out_dice_map(evidence, p, pairs, ("a",), 5, 0)
    assert known is not None
    assert figures is not None
    told = figures["a"]["predicted"]
    assert told["spearman"] > 0.95
    assert told["spearman_ci95"][0] > 0.9
    assert told["pearson_ci95"][0] <= told["pearson"] <= told["pearson_ci95"][1]
    assert figures["a"]["mean_absolute_error"] < 0.02
    assert 0.7 <= figures["a"]["covered"] <= 1
    few = held_out_dice_map(evidence[:7], p[:7], pairs[:7], ("a",), 5, 0)
    assert few == (None, None)
    assert held_out_dice_map(evidence, p, None, ("a",), 5, 0) == (None, None)


def test_correlations_by_hand() -> None:
    told, real = np.array([1.0, 2, 3, 10]), np.array([1.0, 2, 4, 3])
    found = correlations(told, real, np.arange(4), 0)
    assert found["spearman"] == pytest.approx(0.8)
    assert found["pearson"] == pytest.approx(np.corrcoef(told, real)[0, 1])
    flat = correlations(told, real * 0, np.arange(4), 0)
    assert flat["spearman"] is None
    assert flat["spearman_ci95"] is None
