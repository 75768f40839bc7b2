"""Binary calibration, risk against coverage, and raters: by hand and by libraries."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffseg.metrics import (
    CalibrationCounts,
    ErrorRanking,
    disagreement,
    energy_distance,
    iou,
)
from diffseg.metrics.ranking import uncertainty_of

# --- calibration, binary -----------------------------------------------------


def test_binary_ece_by_hand():
    probability = np.array([[[0.05, 0.05, 0.25, 0.96, 1.0]]])
    inside = np.array([[[False, True, False, True, True]]])
    counts = CalibrationCounts().add_structure(probability, inside)
    # Bin 0: 0.05 twice, one inside; bin 2: 0.25, outside; bin 9: both inside.
    gaps = abs(1 - 0.1) + abs(0 - 0.25) + abs(2 - 1.96)
    assert counts.ece == pytest.approx(gaps / 5)
    assert counts.reliability[9] == pytest.approx([0.98, 1.0, 2])
    assert sum(row[2] for row in counts.reliability) == 5  # 1.0 is not dropped


def test_both_variants_differ_where_a_model_says_little():
    # Half a chance of foreground, of which there is none: as the top label
    # background at 0.6 that is always right, as a probability 0.4 that never is.
    foreground = np.full((1, 1, 1, 8), 0.4)
    both = np.concatenate([1 - foreground, foreground])
    nothing = np.zeros((1, 1, 8), int)
    assert CalibrationCounts().add(both, nothing).ece == pytest.approx(0.4)
    binary = CalibrationCounts().add_structure(foreground[0], nothing > 0)
    assert binary.ece == pytest.approx(0.4)
    # With a fifth of it foreground, the first is right more often than it says,
    # and the second says more than there is: by the same, in two classes.
    some = nothing.copy()
    some[..., 0] = 1
    assert CalibrationCounts().add(both, some).ece == pytest.approx(7 / 8 - 0.6)
    # Two voxels at 0.4 and 0.6 of one class each: folded, the errors cancel.
    pair = np.array([0.4, 0.6]).reshape(1, 1, 1, 2)
    both = np.concatenate([1 - pair, pair])
    truth = np.array([[[1, 1]]])
    top = CalibrationCounts().add(both, truth).ece
    binary = CalibrationCounts().add_structure(pair[0], truth == 1).ece
    assert top == pytest.approx(abs(1 - 1.2) / 2)
    assert binary == pytest.approx((0.6 + 0.4) / 2)


def test_binary_reliability_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(4)
    probability = rng.random((3, 20, 30))
    inside = rng.random(probability.shape) < probability**2
    rows = CalibrationCounts().add_structure(probability, inside).reliability
    share, said = sklearn.calibration_curve(
        inside.ravel(), probability.ravel(), n_bins=10
    )
    np.testing.assert_allclose([row[1] for row in rows], share)
    np.testing.assert_allclose([row[0] for row in rows], said)


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1])
def test_binary_ece_refuses_what_is_no_probability(bad):
    with pytest.raises(ValueError, match="NaN or outside"):
        CalibrationCounts().add_structure(
            np.array([[[bad]]]), np.zeros((1, 1, 1), bool)
        )


# --- risk and coverage -------------------------------------------------------


def brute_aurc(uncertainty, error):
    """Mean over k of the share of errors among the k most certain, without ties."""
    wrong = np.cumsum(error[np.argsort(uncertainty)])
    return float(np.mean(wrong / np.arange(1, len(error) + 1)))


def test_aurc_by_hand():
    uncertainty = np.array([0.1, 0.2, 0.3, 0.4])
    error = np.array([False, True, False, True])
    risk = ErrorRanking().add(uncertainty, error).risk
    assert risk.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert risk.ideal == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert risk.excess == pytest.approx(1 / 8)
    assert risk.error_rate == 0.5
    assert risk.excess_share == pytest.approx((1 / 8) / (0.5 - 5 / 24))
    np.testing.assert_allclose(
        risk.at(np.array([0.25, 0.5, 0.75, 1.0])), [0, 1 / 2, 1 / 3, 1 / 2]
    )


def test_ties_are_kept_in_random_order():
    # Of two voxels alike, one wrong: first with a chance of half, then for sure.
    risk = ErrorRanking().add(np.full(2, 0.3), np.array([True, False])).risk
    assert risk.aurc == pytest.approx((0.5 + 0.5) / 2)
    assert risk.aurc == pytest.approx(risk.error_rate)  # no use, no order
    assert risk.excess_share == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 60))
def test_aurc_is_that_of_the_sorted_voxels(seed, n):
    rng = np.random.default_rng(seed)
    uncertainty = rng.choice(np.linspace(0.01, 1, 100), n, replace=False)
    error = rng.random(n) < 0.3
    found = ErrorRanking().add(uncertainty, error)
    assert found.risk.aurc == pytest.approx(brute_aurc(uncertainty, error))
    assert found.risk.ideal == pytest.approx(brute_aurc(error * 1.0, error))
    assert found.risk.ideal <= found.risk.aurc + 1e-12


def test_auroc_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(6)
    uncertainty = rng.choice(np.linspace(0.01, 1, 100), 60, replace=False)
    error = rng.random(60) < 0.3
    found = ErrorRanking().add(uncertainty, error).auroc
    assert found == pytest.approx(sklearn.roc_auc_score(error, uncertainty))


def test_risk_of_nothing_and_of_no_error():
    assert ErrorRanking().risk is None
    right = ErrorRanking().add(np.array([0.1, 0.2]), np.zeros(2, bool)).risk
    assert (right.aurc, right.excess, right.excess_share) == (0, 0, None)


def test_a_coarse_ranking_keeps_every_voxel():
    rng = np.random.default_rng(0)
    error = rng.random(4000) < 0.2
    fine = ErrorRanking().add(np.clip(rng.random(4000) ** 3 + error * 0.1, 0, 1), error)
    coarse = fine.coarse(1024)
    assert coarse.wrong.sum() == error.sum()
    assert coarse.auroc == pytest.approx(fine.auroc, abs=0.005)
    assert coarse.risk.aurc == pytest.approx(fine.risk.aurc, abs=0.002)


def test_a_coarse_ranking_tells_doubts_apart_that_are_all_large():
    rng = np.random.default_rng(0)
    error = rng.random(20_000) < 0.3
    doubt = np.clip(0.97 + 0.01 * rng.standard_normal(20_000) + 0.01 * error, 0, 1)
    fine = ErrorRanking().add(doubt, error)
    assert fine.auroc > 0.7
    assert fine.coarse(512).auroc == pytest.approx(fine.auroc, abs=0.01)


@pytest.mark.parametrize("bins", [2, 512, 2048, 2**16])
def test_bins_lie_in_order_within_the_range(bins):
    middles = uncertainty_of(np.arange(bins), bins)
    assert (np.diff(middles) > 0).all()
    assert 0 < middles[0] < middles[-1] < 1


# --- raters ------------------------------------------------------------------


def masks(*rows):
    return np.array(rows, np.uint8).reshape(len(rows), 1, 1, -1)


def test_energy_distance_by_hand():
    members = masks([1, 1, 0, 0], [1, 0, 0, 0])
    raters = masks([1, 1, 0, 0], [0, 1, 1, 0])
    found = energy_distance(members, raters)
    # 1 - IoU. Members with raters: 0, 2/3; 1/2, 1.
    assert found.between == pytest.approx((0 + 2 / 3 + 1 / 2 + 1) / 4)
    assert found.members == pytest.approx((0 + 1 / 2 + 1 / 2 + 0) / 4)
    assert found.raters == pytest.approx((0 + 2 / 3 + 2 / 3 + 0) / 4)
    squared = 2 * (13 / 6) / 4 - 1 / 4 - 1 / 3
    assert found.squared == pytest.approx(squared)


def test_one_member_has_no_diversity():
    raters = masks([1, 1, 0, 0], [0, 1, 1, 0])
    found = energy_distance(raters[:1], raters)
    assert found.members == 0
    assert found.squared == pytest.approx(2 * (1 / 3) - 1 / 3)


def test_empty_masks_are_at_no_distance():
    empty, full = masks([0, 0]), masks([1, 1])
    assert energy_distance(empty, empty).squared == 0
    assert energy_distance(full, empty).between == 1
    assert energy_distance(full, full, value=2).squared == 0  # of another structure


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), m=st.integers(1, 4), r=st.integers(2, 3))
def test_energy_distance_is_that_of_all_pairs(seed, m, r):
    rng = np.random.default_rng(seed)
    members, raters = (rng.integers(0, 3, (k, 2, 3, 4)) for k in (m, r))

    def mean(ones, others):
        return np.mean([1 - iou(a, b, 2) for a, b in product(ones, others)])

    found = energy_distance(members, raters, 2)
    assert found.between == pytest.approx(mean(members, raters))
    assert found.members == pytest.approx(mean(members, members))
    assert found.raters == pytest.approx(mean(raters, raters))
    assert found.squared >= -1e-12  # 1 - IoU is of negative type
    assert energy_distance(raters, raters[::-1], 2).squared == pytest.approx(0)


def test_raters_disagree_where_any_two_do():
    raters = masks([0, 1, 2, 0], [0, 1, 1, 0], [0, 1, 2, 1])
    assert disagreement(raters).ravel().tolist() == [False, False, True, True]
    with pytest.raises(ValueError, match="members"):
        energy_distance(raters, masks([0, 1]))
