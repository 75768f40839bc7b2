"""Members to one answer: by hand, and whatever the order of the members."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffseg.domain import Label, LabelTable
from diffseg.ensemble import (
    Accumulator,
    EnsembleSummary,
    agreed,
    consensus,
    contours,
    entropy,
    forbid,
    measure,
    normalised_entropy,
    pairwise_dice,
    staple,
)
from diffseg.errors import DiffsegError
from diffseg.metrics import dice

quick = settings(max_examples=20, deadline=None)
TABLE = LabelTable(
    labels=(Label(name="anterior", value=1), Label(name="posterior", value=7))
)


def random_members(seed, members, n_classes=3, shape=(3, 4, 5), sharpness=0.3):
    rng = np.random.default_rng(seed)
    drawn = rng.dirichlet(np.full(n_classes, sharpness), (members, *shape))
    return np.moveaxis(drawn, -1, 1).astype(np.float32)


def voxel(*probability):
    return np.array(probability, np.float32).reshape(-1, 1, 1, 1)


# --- consensus ---------------------------------------------------------------


def test_consensus_by_hand():
    summary = consensus([voxel(1.0, 0.0), voxel(0.5, 0.5)])
    assert summary.probability.ravel().tolist() == [0.75, 0.25]
    assert summary.classes.item() == 0
    predictive = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert summary.uncertainty.item() == pytest.approx(predictive, abs=1e-6)
    # The members' own entropies are 0 and 1 bit.
    assert summary.mutual_information.item() == pytest.approx(
        predictive - 0.5, abs=1e-6
    )
    assert summary.mutual_information_mean == pytest.approx(predictive - 0.5, abs=1e-6)
    assert summary.member_classes.shape == (2, 1, 1, 1)
    assert summary.member_classes.dtype == summary.classes.dtype == np.uint8
    assert summary.probability.dtype == summary.uncertainty.dtype == np.float32


def test_sure_members_that_disagree_are_all_mutual_information():
    summary = consensus([voxel(1, 0, 0), voxel(0, 1, 0), voxel(0, 0, 1)])
    assert summary.uncertainty.item() == pytest.approx(1)
    assert summary.mutual_information.item() == pytest.approx(1)
    assert summary.member_classes.ravel().tolist() == [0, 1, 2]


def test_members_that_agree_have_no_mutual_information():
    member = random_members(0, 1)[0]
    summary = consensus([member] * 5)
    np.testing.assert_allclose(summary.mutual_information, 0, atol=1e-6)
    np.testing.assert_allclose(summary.probability, member, atol=1e-7)
    np.testing.assert_allclose(summary.uncertainty, normalised_entropy(member))


def test_one_member_has_no_mutual_information():
    summary = consensus(random_members(0, 1))
    assert summary.mutual_information is None
    assert summary.mutual_information_mean is None


@quick
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.randoms())
def test_order_of_members_does_not_matter(seed, members, shuffler):
    drawn = random_members(seed, members)
    order = list(range(members))
    shuffler.shuffle(order)
    one, other = consensus(drawn), consensus(drawn[order])
    for name in ("probability", "classes", "uncertainty", "mutual_information"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.member_classes[order], other.member_classes)


def test_order_does_not_decide_ties():
    # Three equal means, whose floating-point sums depend on the order.
    rows = np.array([[0.1, 0.2, 0.7], [0.2, 0.7, 0.1], [0.7, 0.1, 0.2]])
    for order in itertools.permutations(rows):
        summary = consensus([row.reshape(3, 1, 1, 1) for row in order])
        assert summary.classes.item() == 0
        assert len(np.unique(summary.probability)) == 1


@quick
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 5))
def test_summary_is_within_bounds(seed, members, n_classes):
    summary = consensus(random_members(seed, members, n_classes))
    np.testing.assert_allclose(summary.probability.sum(axis=0), 1, atol=1e-5)
    assert 0 <= summary.uncertainty.min() <= summary.uncertainty.max() <= 1
    np.testing.assert_array_equal(summary.classes, summary.probability.argmax(axis=0))
    if members > 1:
        assert summary.mutual_information.min() >= 0
        assert np.all(summary.mutual_information <= summary.uncertainty + 1e-6)


def test_accumulator_refuses():
    accumulator = Accumulator(2, (1, 1, 1))
    with pytest.raises(ValueError, match="no member"):
        accumulator.summary()
    with pytest.raises(ValueError, match="member is"):
        accumulator.add(voxel(0.2, 0.3, 0.5))
    for bad in (voxel(np.nan, 0.5), voxel(1.5, -0.5)):
        with pytest.raises(DiffsegError, match="NaN or outside"):
            accumulator.add(bad)
    assert accumulator.members == 0
    with pytest.raises(ValueError, match="classes"):
        Accumulator(1, (1, 1, 1))


def test_small_probabilities_still_rank():
    faint = consensus([voxel(1.0, 1e-7)] * 3).uncertainty.item()
    fainter = consensus([voxel(1.0, 1e-9)] * 3).uncertainty.item()
    assert faint > fainter > 0


# --- entropy -----------------------------------------------------------------


def test_entropy_by_hand():
    assert entropy(voxel(0.5, 0.5)).item() == pytest.approx(math.log(2))
    assert entropy(voxel(1.0, 0.0)).item() == 0
    assert normalised_entropy(voxel(0.25, 0.25, 0.25, 0.25)).item() == 1
    assert normalised_entropy(voxel(0.5, 0.5, 0, 0)).item() == pytest.approx(0.5)


def test_forbid_by_hand():
    probability = np.concatenate([voxel(0.2, 0.2, 0.6), voxel(0.0, 0.0, 1.0)], axis=-1)
    allowed = forbid(probability, [2])
    np.testing.assert_allclose(allowed[:, 0, 0, 0], [0.5, 0.5, 0])
    np.testing.assert_allclose(allowed[:, 0, 0, 1], [1, 0, 0])
    assert probability[2, 0, 0, 0] == np.float32(0.6)  # the input is left alone
    for index in (0, 3):
        with pytest.raises(ValueError, match="not a foreground class"):
            forbid(probability, [index])


@quick
@given(st.integers(0, 2**32 - 1), st.sets(st.integers(1, 3), max_size=3))
def test_forbid_leaves_probabilities(seed, classes):
    probability = random_members(seed, 1, n_classes=4, sharpness=0.02)[0]
    allowed = forbid(probability, classes)
    np.testing.assert_allclose(allowed.sum(axis=0), 1, atol=1e-5)
    assert not allowed[sorted(classes)].any()
    assert allowed.min() >= 0


def test_forbid_with_almost_nothing_left():
    allowed = forbid(voxel(1e-42, 1e-41, 1.0), [2])
    np.testing.assert_allclose(allowed.sum(axis=0), 1, atol=1e-6)


# --- contours ----------------------------------------------------------------


def test_contours_by_hand():
    votes = np.array([0, 1, 9, 10, 18, 19, 20])
    masks = (np.arange(20)[:, None] < votes).reshape(20, 1, 1, 7)
    found = contours(masks)
    assert found.outer.ravel().tolist() == [False] + [True] * 6
    assert found.median.ravel().tolist() == [False] * 3 + [True] * 4
    assert found.inner.ravel().tolist() == [False] * 5 + [True] * 2


@quick
@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=30))
)
def test_contours_are_nested(masks):
    found = contours(masks)
    assert not (found.inner & ~found.median).any()
    assert not (found.median & ~found.outer).any()
    share = masks.mean(axis=0)
    assert found.inner[share == 1].all()
    assert not found.outer[share == 0].any()


def test_contours_need_a_member():
    with pytest.raises(ValueError, match="no member"):
        contours(np.zeros((0, 1, 1, 1), bool))


# --- agreement and measurement -----------------------------------------------


@quick
@given(
    hnp.arrays(
        np.uint8, st.tuples(*[st.integers(2, 5)] * 4), elements=st.integers(0, 2)
    )
)
def test_pairwise_dice_is_the_mean_over_pairs(members):
    for value in (1, 2):
        pairs = [
            dice(one, other, value) for one, other in itertools.combinations(members, 2)
        ]
        assert pairwise_dice(members, value) == pytest.approx(np.mean(pairs))


def test_pairwise_dice_with_one_member_and_without_the_structure():
    members = np.zeros((3, 2, 2, 2), np.uint8)
    assert pairwise_dice(members[:1], 1) is None
    assert pairwise_dice(members, 1) == 1.0


def test_pairwise_dice_adds_up_large_masks_in_parts():
    members = np.ones((2, 3, 1024, 1024), np.uint8)
    members[1, 0, 0, 0] = 0
    n = 3 * 2**20
    assert pairwise_dice(members, 1) == 2 * (n - 1) / (2 * n - 1)


def test_measure_by_hand():
    members = np.zeros((5, 1, 1, 10), np.uint8)
    for index, voxels in enumerate((2, 4, 6, 8, 10)):
        members[index, 0, 0, :voxels] = 1
    classes = np.zeros((1, 1, 10), np.uint8)
    classes[..., :6] = 1
    anterior, posterior = measure(members, classes, TABLE, 0.5)
    assert (anterior.name, anterior.label, anterior.voxels) == ("anterior", 1, 6)
    assert anterior.volume_ml == 3.0
    # Ranks 0.2 and 3.8 of (2, 4, 6, 8, 10).
    assert anterior.volume_ml_p05 == pytest.approx(2.4 * 0.5)
    assert anterior.volume_ml_p95 == pytest.approx(9.6 * 0.5)
    assert anterior.expected_dice == pytest.approx(pairwise_dice(members, 1))
    assert (posterior.name, posterior.label, posterior.voxels) == ("posterior", 7, 0)
    assert (posterior.volume_ml, posterior.volume_ml_p05) == (0.0, 0.0)


def test_measure_without_spacing_or_with_one_member():
    members = np.ones((1, 1, 2, 2), np.uint8)
    unscaled = measure(members, members[0], TABLE, None)[0]
    assert unscaled.voxels == 4
    assert unscaled.volume_ml is unscaled.volume_ml_p05 is None
    alone = measure(members, members[0], TABLE, 0.25)[0]
    assert alone.volume_ml == alone.volume_ml_p05 == alone.volume_ml_p95 == 1.0
    assert alone.expected_dice is None


def test_measure_refuses_other_grids():
    with pytest.raises(ValueError, match="consensus"):
        measure(np.ones((1, 1, 2, 2), np.uint8), np.ones((1, 2, 3), np.uint8), TABLE, 1)


# Consensus


def _raters(seed: int, members: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Masks of members that are wrong more and more often: (M, Z, Y, X) bool."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, dtype=bool)
    truth[:, shape[1] // 4 : -shape[1] // 4, shape[2] // 3 :] = True
    wrong = np.linspace(0.02, 0.35, members)
    return np.stack([truth ^ (rng.random(shape) < share) for share in wrong])


@pytest.mark.parametrize(("seed", "members"), [(0, 3), (1, 5), (2, 9)])
def test_staple_is_simpleitks(seed: int, members: int) -> None:
    sitk = pytest.importorskip("SimpleITK")
    masks = _raters(seed, members, (2, 24, 20))
    reference = sitk.STAPLEImageFilter()
    reference.SetForegroundValue(1)
    reference.SetMaximumIterations(1000)
    theirs = sitk.GetArrayFromImage(
        reference.Execute(
            [sitk.GetImageFromArray(one.astype(np.uint8)) for one in masks]
        )
    )
    ours = staple(masks)
    np.testing.assert_allclose(ours.probability, theirs, atol=1e-5)
    np.testing.assert_allclose(ours.sensitivity, reference.GetSensitivity(), atol=1e-5)
    np.testing.assert_allclose(ours.specificity, reference.GetSpecificity(), atol=1e-5)
    assert (np.diff(ours.sensitivity) < 0).mean() > 0.6  # it knows who is wrong
    # Not the majority: the best member is believed where the worst outvote it.
    assert ((ours.probability > 0.5) != (masks.mean(0) > 0.5)).any()


def test_staple_of_members_that_agree_is_what_they_say() -> None:
    nothing = np.zeros((4, 1, 3, 3), dtype=bool)
    assert not staple(nothing).probability.any()
    assert staple(~nothing).probability.all()
    one = np.random.default_rng(0).random((1, 2, 5, 5)) > 0.5
    for masks in (one, np.repeat(one, 3, axis=0)):
        np.testing.assert_allclose(staple(masks).probability, one[0], atol=1e-3)


def _summary(masks: np.ndarray, sure: float = 0.8) -> EnsembleSummary:
    """Members of one foreground class that are `sure` of their masks."""
    members = np.where(masks, sure, 1 - sure).astype(np.float32)
    return consensus(np.stack([1 - members, members], axis=1))


def test_another_consensus_leaves_what_members_say_of_each_other() -> None:
    masks = _raters(3, 5, (3, 16, 18))
    mean = _summary(masks)
    assert agreed(mean, "mean") is mean
    for kind in ("staple", "squared_mean"):
        other = agreed(mean, kind)
        assert other.uncertainty is mean.uncertainty
        assert other.mutual_information is mean.mutual_information
        assert other.member_classes is mean.member_classes
        np.testing.assert_allclose(other.probability.sum(0), 1, atol=1e-6)
        np.testing.assert_array_equal(other.classes == 1, other.probability[1] > 0.5)
    squared = agreed(mean, "squared_mean")
    np.testing.assert_allclose(squared.probability[1], mean.probability[1] ** 2)
    np.testing.assert_array_equal(
        squared.classes == 1, mean.probability[1] > np.sqrt(0.5)
    )


def test_staple_looks_at_each_slice_or_at_the_whole() -> None:
    masks = _raters(4, 5, (3, 16, 18))
    masks[0, 1] = ~masks[0, 1]  # the best member fails in one slice
    mean = _summary(masks)
    for axis in range(3):
        turned = _summary(np.moveaxis(masks, 1, axis + 1))
        sliced = np.moveaxis(agreed(turned, "staple", axis).probability[1], axis, 0)
        for plane in range(3):
            alone = staple(masks[:, plane]).probability
            np.testing.assert_allclose(sliced[plane], alone, atol=1e-6)
    whole = agreed(mean, "staple").probability[1]
    np.testing.assert_allclose(whole, staple(masks).probability, atol=1e-6)
    assert np.abs(whole - sliced).max() > 0.1


def test_staple_of_several_classes_shares_out_what_they_claim() -> None:
    rng = np.random.default_rng(0)
    members = rng.dirichlet(np.ones(4), (5, 2, 12, 12)).transpose(0, 4, 1, 2, 3)
    made = agreed(consensus(members.astype(np.float32)), "staple")
    np.testing.assert_allclose(made.probability.sum(0), 1, atol=1e-6)
    assert made.probability.min() >= 0
    np.testing.assert_array_equal(made.classes, made.probability.argmax(0))
