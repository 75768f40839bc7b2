"""Intervals, tests and averages against hand-made numbers and against SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffseg.metrics import (
    CalibrationCounts,
    Confusion,
    ErrorRanking,
    aurc_of,
    auroc_of,
    averages,
    ece_of,
    excess_of,
    mean_of,
    paired_means,
    permutation_p,
    ratio,
    spread_of,
    wilcoxon_p,
)

# --- averages ----------------------------------------------------------------

IMAGES = [
    Confusion(8, 2, 2),  # Dice 0.8, IoU 2/3, patient p
    Confusion(0, 0, 0),  # both empty: 1, p
    Confusion(0, 4, 0),  # found where there is none: 0, q
    Confusion(30, 10, 20),  # Dice 2/3, IoU 0.5, p
]
PATIENTS = ["p", "p", "q", "p"]


def test_averages_of_dice_by_hand():
    found = averages(IMAGES, PATIENTS)
    assert found["image_mean"].value == pytest.approx((0.8 + 1 + 0 + 2 / 3) / 4)
    assert found["positive_mean"].value == pytest.approx((0.8 + 2 / 3) / 2)
    assert found["pooled"].value == pytest.approx(76 / (76 + 16 + 22))
    patient_p = (0.8 + 1 + 2 / 3) / 3
    assert found["patient_mean"].value == pytest.approx((patient_p + 0) / 2)


def test_averages_of_iou_by_hand():
    found = averages(IMAGES, PATIENTS, "iou")
    assert found["image_mean"].value == pytest.approx((2 / 3 + 1 + 0 + 0.5) / 4)
    assert found["positive_mean"].value == pytest.approx((2 / 3 + 0.5) / 2)
    assert found["pooled"].value == pytest.approx(38 / (38 + 16 + 22))
    assert found["pooled"].value == pytest.approx(sum_of(IMAGES).iou)
    patient_p = (2 / 3 + 1 + 0.5) / 3
    assert found["patient_mean"].value == pytest.approx(patient_p / 2)


def sum_of(counts):
    return sum(counts, Confusion(0, 0, 0))


def test_averages_where_nothing_is_anywhere():
    found = averages([Confusion(0, 0, 0)] * 2, "ab")
    assert found["image_mean"].value == 1
    assert found["positive_mean"].value is None
    assert found["pooled"].value is None


def test_the_interval_of_a_patient_mean_draws_patients():
    # Patients of Dice 1 (three images) and 0 (one): half of the draws mix them.
    counts = [Confusion(1, 0, 0)] * 3 + [Confusion(0, 1, 1)]
    found = averages(counts, "aaab")
    assert found["patient_mean"].interval("aaab") == (0, 1)
    assert found["patient_mean"].value == 0.5
    assert found["image_mean"].value == 0.75


# --- statistics --------------------------------------------------------------


def test_an_interval_is_that_of_the_resampled_number():
    rng = np.random.default_rng(2)
    values, groups = rng.random(9).tolist(), list("aabbccdde")
    # The same by hand: mean of the cases of the groups that were drawn.
    drawn = np.random.default_rng(0).integers(0, 5, (1000, 5))
    cases = {i: [v for v, g in zip(values, groups, strict=True) if g == name]
             for i, name in enumerate("abcde")}  # fmt: skip
    means = [np.mean(np.concatenate([cases[i] for i in row])) for row in drawn]
    expected = tuple(np.percentile(means, (2.5, 97.5)))
    assert mean_of(values).interval(groups) == pytest.approx(expected)


def test_groups_that_say_nothing_are_not_drawn():
    assert mean_of([1.0, None, 2.0]).interval("abc") == mean_of([1.0, 2.0]).interval(
        "ac"
    )
    assert mean_of([1.0, None]).interval("ab") is None
    assert mean_of([None]).value is None
    assert ratio(np.array([3.0, 1.0]), np.array([4.0, 0.0])).value == 1.0
    with pytest.raises(ValueError, match="2 groups for 1 cases"):
        mean_of([1.0]).interval("ab")


def test_spread_over_seeds_by_hand():
    values = np.array([[0.9, 0.8, 1.0], [0.5, 0.5, 0.5]])
    # Means over cases under each seed: 0.7, 0.65, 0.75.
    assert spread_of(values).value == pytest.approx(0.05)
    # Drawn twice, one case has a spread of 0.1, the other of none.
    low, high = spread_of(values).interval("ab")
    assert (low, high) == pytest.approx((0, 0.1))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 6))
def test_pooled_statistics_are_those_of_all_voxels(seed, n):
    rng = np.random.default_rng(seed)
    parts = [calibration(rng) for _ in range(n)]
    assert ece_of(parts).value == pytest.approx(sum(parts, CalibrationCounts()).ece)
    rankings = [ranking(rng) for _ in range(n)]
    whole = sum(rankings, ErrorRanking())
    assert auroc_of(rankings).value == pytest.approx(whole.auroc)
    assert aurc_of(rankings).value == pytest.approx(whole.risk.aurc)
    assert excess_of(rankings).value == pytest.approx(whole.risk.excess)


def calibration(rng):
    foreground = rng.random((1, 2, 3, 4))
    both = np.concatenate([1 - foreground, foreground])
    return CalibrationCounts().add(both, rng.integers(0, 2, (2, 3, 4)))


def ranking(rng):
    error = rng.random(24) < 0.3
    error[:2] = True, False
    return ErrorRanking().add(rng.random(24), error)


# --- paired tests ------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 9, 13])
def test_exact_permutation_is_scipys(n):
    rng = np.random.default_rng(n)
    a, b = rng.random(n), rng.random(n) - 0.15
    ours, theirs = paired_means(a.tolist(), b.tolist())
    exact = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert permutation_p(ours, theirs, range(n)) == pytest.approx(exact.pvalue)


def test_random_permutation_is_near_the_exact_one():
    rng = np.random.default_rng(5)
    gains = rng.normal(0.5, 1, 14)
    ours, theirs = paired_means(gains.tolist(), [0.0] * 14)
    exact = stats.permutation_test(
        (gains,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    found = permutation_p(ours, theirs, range(14))
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact / 9999))
    assert found == permutation_p(ours, theirs, range(14))
    assert found != permutation_p(ours, theirs, range(14), seed=1)


def test_permutation_exchanges_whole_patients():
    # Fifty images of two patients are two things that can be exchanged, not fifty.
    ours, theirs = paired_means([1.0] * 50, [0.0] * 50)
    assert permutation_p(ours, theirs, "a" * 25 + "b" * 25) == 0.5
    assert permutation_p(ours, theirs, range(50)) == pytest.approx(1e-4)
    assert permutation_p(ours, theirs, "a" * 50) is None


def test_permutation_of_a_calibration_error():
    # Of each patient one model is right, and as sure as the other, which is wrong:
    # exchanged in one of two patients, both have the same error.
    sure = np.array([[[[0.0]]], [[[1.0]]]])
    right = CalibrationCounts().add(sure, np.array([[[1]]]))
    wrong = CalibrationCounts().add(sure, np.array([[[0]]]))
    found = permutation_p(ece_of([right] * 2), ece_of([wrong] * 2), "ab")
    assert found == 0.5
    assert permutation_p(ece_of([right] * 2), ece_of([right] * 2), "ab") == 1


def test_wilcoxon_is_scipys_over_patients():
    rng = np.random.default_rng(8)
    a, b = rng.random(24), rng.random(24) - 0.1
    patients = np.repeat(np.arange(12), 2)
    means = (a - b).reshape(12, 2).mean(axis=1)
    found = wilcoxon_p(a.tolist(), b.tolist(), patients.tolist())
    assert found == pytest.approx(stats.wilcoxon(means).pvalue)
    assert wilcoxon_p([1.0, 2.0], [1.0, 2.0], "ab") == 1
    assert wilcoxon_p([1.0, None, 3.0], [0.5, 1.0, None], "abc") is None
