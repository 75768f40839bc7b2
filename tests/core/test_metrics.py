"""Metrics against numbers worked out by hand and against exact definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from diffseg.metrics import (
    CalibrationCounts,
    Confusion,
    ErrorRanking,
    bootstrap_interval,
    confusion,
    dice,
    differences,
    foreground_box,
    hd95_mm,
    interval_coverage,
    iou,
    mean_defined,
    nsd,
    paired_interval,
    surface_distances,
)

quick = settings(max_examples=20, deadline=None)
volumes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)


def masks(draw, shape):
    return draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2)))


@st.composite
def mask_pairs(draw):
    shape = draw(volumes)
    return masks(draw, shape), masks(draw, shape)


def block(shape, *ranges, value=1):
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(*one) for one in ranges)] = value
    return mask


# --- overlap -----------------------------------------------------------------


def test_overlap_by_hand():
    mask = np.array([[[1, 1, 1, 0, 2]]], np.uint8)
    reference = np.array([[[0, 1, 1, 1, 1]]], np.uint8)
    counted = confusion(mask, reference, 1)
    assert counted == Confusion(2, 1, 2)
    assert dice(mask, reference, 1) == pytest.approx(4 / 7)
    assert iou(mask, reference, 1) == pytest.approx(2 / 5)
    assert dice(mask, reference, 2) == 0.0  # only in the mask
    assert counted + Confusion(1, 0, 0) == Confusion(3, 1, 2)


def test_empty_masks():
    empty, full = np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint8)
    assert (dice(empty, empty), iou(empty, empty)) == (1.0, 1.0)
    assert (dice(empty, full), iou(empty, full)) == (0.0, 0.0)
    assert (dice(full, empty), iou(full, empty)) == (0.0, 0.0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes differ"):
        dice(np.zeros((1, 2, 3), int), np.zeros((1, 3, 2), int))


@quick
@given(mask_pairs())
def test_overlap_is_symmetric_and_bounded(pair):
    mask, reference = pair
    for value in (1, 2):
        overlap = dice(mask, reference, value)
        assert overlap == dice(reference, mask, value)
        assert iou(mask, reference, value) <= overlap <= 1
        assert dice(mask, mask, value) == 1


# --- surfaces ----------------------------------------------------------------


def test_hd95_of_two_shifted_planes():
    shape = (9, 6, 6)
    near = block(shape, (2, 3), (0, 6), (0, 6))
    far = block(shape, (6, 7), (0, 6), (0, 6))
    assert hd95_mm(near, far, (2.5, 1, 1)) == pytest.approx(10.0)
    assert hd95_mm(near, far, (1.0, 1, 1)) == pytest.approx(4.0)
    assert nsd(near, far, (0.5, 1, 1)) == 1.0  # exactly at 2 mm
    assert nsd(near, far, (0.6, 1, 1)) == 0.0


def test_hd95_is_over_the_union_of_both_directions():
    # 20 voxels against the same 20 and two more, 30 and 31 mm further.
    mask = block((1, 1, 60), (0, 1), (0, 1), (0, 20))
    reference = mask.copy()
    reference[0, 0, 49:51] = 1
    # In one plane of one row every voxel of a run but none inside is a surface:
    # rows are outside on both sides, so all 20 + 22 count, two of them far.
    distances = surface_distances(mask, reference, (1, 1, 1))
    assert sorted(distances.both)[-3:] == [0, 30, 31]
    assert distances.both.size == 42
    assert distances.hd95_mm == 0  # the larger of the two directions' own is not
    assert np.percentile(distances.to_mask, 95) > 28
    assert distances.nsd(2) == pytest.approx(40 / 42)


def test_one_plane_has_a_rim_and_no_faces():
    disc = block((1, 7, 7), (0, 1), (1, 6), (1, 6))
    distances = surface_distances(disc, disc, (5, 1, 1))
    assert distances.to_mask.size == 16  # the rim of 5 x 5, not all 25


def test_thick_block_has_only_its_faces():
    cube = block((7, 7, 7), (1, 6), (1, 6), (1, 6))
    assert surface_distances(cube, cube, (1, 1, 1)).to_mask.size == 125 - 27


@pytest.mark.parametrize("measure", [hd95_mm, nsd])
def test_surfaces_undefined(measure):
    empty, full = np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint8)
    assert measure(empty, empty, (1, 1, 1)) is None
    assert measure(empty, full, (1, 1, 1)) is None
    assert measure(full, empty, (1, 1, 1)) is None
    assert measure(full, full, None) is None
    assert measure(full, full, (1, 1, 1)) is not None


def brute_surface(mask):
    padded = np.pad(mask, 1)
    points = []
    axes = range(3) if mask.shape[0] > 1 else (1, 2)
    for point in np.argwhere(mask):
        for axis in axes:
            for step in (-1, 1):
                neighbour = point + 1
                neighbour[axis] += step
                if not padded[tuple(neighbour)]:
                    points.append(tuple(point))
    return np.array(sorted(set(points)))


@quick
@given(mask_pairs(), st.tuples(*[st.floats(0.3, 4)] * 3))
def test_surface_distances_match_brute_force(pair, spacing):
    mask, reference = (one == 1 for one in pair)
    distances = surface_distances(*pair, spacing, 1)
    if not mask.any() or not reference.any():
        assert distances is None
        return
    between = cdist(brute_surface(mask) * spacing, brute_surface(reference) * spacing)
    np.testing.assert_allclose(np.sort(distances.to_reference), np.sort(between.min(1)))
    np.testing.assert_allclose(np.sort(distances.to_mask), np.sort(between.min(0)))


# --- calibration -------------------------------------------------------------


def two_classes(foreground):
    foreground = np.asarray(foreground, np.float32).reshape(1, 1, -1)
    return np.stack([1 - foreground, foreground])


def test_ece_by_hand():
    probability = two_classes([0.9375, 0.9375, 0.75, 0.0])
    reference = np.array([[[1, 0, 1, 0]]])
    counts = CalibrationCounts().add(probability, reference)
    # Bin 9: confidences 0.9375, 0.9375, 1.0 with two right; bin 7: 0.75, right.
    assert counts.ece == pytest.approx((abs(2 - 2.875) + abs(1 - 0.75)) / 4)
    rows = counts.reliability
    assert len(rows) == 10
    assert rows[9] == pytest.approx([2.875 / 3, 2 / 3, 3])
    assert rows[7] == pytest.approx([0.75, 1.0, 1])
    assert rows[0] == [None, None, 0]


def test_ece_pools_voxels_and_not_cases():
    one = CalibrationCounts().add(two_classes([0.75]), np.array([[[0]]]))
    three = CalibrationCounts().add(two_classes([0.75] * 3), np.array([[[1, 1, 1]]]))
    assert one.ece == pytest.approx(0.75)
    assert (one + three).ece == pytest.approx(0.0)


def test_ece_before_the_first_voxel():
    assert CalibrationCounts().ece is None


@pytest.mark.parametrize("bad", [np.nan, 1.5])
def test_ece_refuses_what_is_no_probability(bad):
    probability = two_classes([0.5, 0.5])
    probability[1, 0, 0, 1] = bad
    with pytest.raises(ValueError, match="NaN or outside"):
        CalibrationCounts().add(probability, np.zeros((1, 1, 2), int))


@quick
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 40))
def test_calibration_counts_merge(seed, n_first, n_second):
    rng = np.random.default_rng(seed)
    n = n_first + n_second
    probability = rng.dirichlet(np.ones(3), (1, 1, n)).transpose(3, 0, 1, 2)
    reference = rng.integers(0, 3, (1, 1, n))
    whole = CalibrationCounts().add(probability, reference)
    first = CalibrationCounts().add(
        probability[..., :n_first], reference[..., :n_first]
    )
    second = CalibrationCounts().add(
        probability[..., n_first:], reference[..., n_first:]
    )
    assert (first + second).ece == pytest.approx(whole.ece)
    assert 0 <= whole.ece <= 1
    assert sum(row[2] for row in whole.reliability) == n


def test_foreground_box():
    reference = block((20, 20, 20), (8, 10), (8, 10), (1, 3))
    prediction = block((20, 20, 20), (9, 12), (7, 8), (2, 4), value=2)
    box = foreground_box(reference, prediction)
    assert box == (slice(3, 17), slice(2, 15), slice(0, 9))
    empty = np.zeros_like(reference)
    assert foreground_box(empty, empty) is None
    assert foreground_box(reference, empty, margin=0) == (
        slice(8, 10),
        slice(8, 10),
        slice(1, 3),
    )


# --- ranking -----------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-8])
def test_auroc_matches_ranks(scale):
    rng = np.random.default_rng(3)
    error = rng.random(5000) < 0.05
    noise = rng.lognormal(sigma=1.5, size=5000) * np.where(error, 3, 1)
    uncertainty = np.clip(noise * scale / 100, 0, 1)
    exact = mannwhitneyu(uncertainty[error], uncertainty[~error]).statistic
    exact /= error.sum() * (~error).sum()
    assert 0.6 < exact < 0.9
    assert ErrorRanking().add(uncertainty, error).auroc == pytest.approx(
        exact, abs=1e-3
    )


def test_auroc_with_ties_by_hand():
    uncertainty = np.array([0.0, 0.0, 0.5, 0.5, 1.0])
    error = np.array([False, True, False, True, True])
    # Pairs (wrong, right): 0-0 tie, 0-.5 lost, .5-0 won, .5-.5 tie, two won.
    assert ErrorRanking().add(uncertainty, error).auroc == pytest.approx(4 / 6)


def test_auroc_undefined_and_merged():
    right = ErrorRanking().add(np.array([0.1, 0.2]), np.array([False, False]))
    wrong = ErrorRanking().add(np.array([0.3]), np.array([True]))
    assert right.auroc is None
    assert wrong.auroc is None
    assert (right + wrong).auroc == 1.0


def test_auroc_refuses_nan():
    with pytest.raises(ValueError, match="NaN"):
        ErrorRanking().add(np.array([np.nan]), np.array([True]))


# --- intervals ---------------------------------------------------------------


def test_bootstrap_of_equal_groups_is_the_value():
    assert bootstrap_interval([0.5] * 6, "aabbcc") == (0.5, 0.5)


def test_bootstrap_resamples_groups_and_not_cases():
    values = [0.0] * 50 + [1.0] * 50
    by_case = bootstrap_interval(values, range(100))
    by_group = bootstrap_interval(values, [0] * 50 + [1] * 50)
    assert by_group == (0.0, 1.0)
    assert 0.35 < by_case[0] < 0.45 < 0.55 < by_case[1] < 0.65


def test_bootstrap_near_the_normal_interval():
    values = np.random.default_rng(0).normal(size=400).tolist()
    low, high = bootstrap_interval(values, range(400), n=4000)
    half = 1.96 * np.std(values) / 20
    assert low == pytest.approx(np.mean(values) - half, abs=0.01)
    assert high == pytest.approx(np.mean(values) + half, abs=0.01)
    assert bootstrap_interval(values, range(400), n=4000) == (low, high)


def test_none_is_left_out():
    assert mean_defined([None, 1.0, 3.0]) == 2.0
    assert mean_defined([None]) is None
    assert bootstrap_interval([1.0, None, 2.0], "abc") == bootstrap_interval(
        [1.0, 2.0], "ac"
    )
    assert bootstrap_interval([1.0, None], "ab") is None
    assert differences([1.0, None, 3.0], [0.5, 1.0, None]) == [0.5, None, None]
    with pytest.raises(ValueError, match="2 groups for 1 case"):
        bootstrap_interval([1.0], "ab")


def test_paired_interval_is_narrow_where_cases_move_together():
    rng = np.random.default_rng(1)
    a = rng.random(40)
    b = a - 0.01 - 0.001 * rng.random(40)
    low, high = paired_interval(a.tolist(), b.tolist(), range(40))
    assert 0.0100 < low < high < 0.0110


def test_interval_coverage():
    covered = interval_coverage(
        [1.0, 2.0, 3.0, None, 5.0], [0.5, 2.0, 3.1, 1, None], [1.5, 2.0, 4.0, 2, 6]
    )
    assert covered == pytest.approx(2 / 3)
    assert interval_coverage([None], [0.0], [1.0]) is None
