"""Which weak masks are taken, voxel by voxel: worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg_training.selftraining.choosing import (
    doubt_of,
    over,
    taken_cases,
    taken_voxels,
)
from diffseg_training.selftraining.licences import inherited

NOTHING_SAID = np.zeros((3, 2), np.uint8)


def weak():
    """Planes of 2 x 2 voxels: structure 1 in the first, structure 2 in the second."""
    classes = np.zeros((3, 2, 2), np.uint8)
    classes[0, 0, 0], classes[0, 0, 1], classes[1, 1, 1] = 1, 1, 2
    uncertainty = np.full((3, 2, 2), 0.1, np.float32)
    uncertainty[0, 0, 0], uncertainty[0, 0, 1], uncertainty[1, 1, 1] = 0.2, 0.8, 0.5
    probability = np.zeros((2, 3, 2, 2), np.float32)
    probability[0, 0, 0, 0], probability[0, 0, 0, 1] = 0.9, 0.6
    probability[1, 1, 1, 1] = 0.5
    return classes, probability, uncertainty


def test_doubt_is_the_mean_uncertainty_of_what_is_proposed():
    classes, probability, uncertainty = weak()
    found = doubt_of(classes, probability, uncertainty, NOTHING_SAID)
    assert found == pytest.approx((0.2 + 0.8 + 0.5) / 3)


def test_doubt_is_one_less_the_expected_dice_of_what_is_claimed():
    classes, probability, uncertainty = weak()
    classes[1, 1, 1], probability[1] = 0, 0  # structure 2 is not claimed at all
    probability[0, 2, 0, 0] = 0.01  # too little to be a claim
    found = doubt_of(classes, probability, uncertainty, NOTHING_SAID, "expected_dice")
    # Two voxels inside, of 0.9 and 0.6, none outside: n 2, a 1.5, s 3.5, and
    # var A 0.9 * 0.1 + 0.6 * 0.4 = 0.33; Dice 2 a / s - 2 n var A / s**3.
    dice = 2 * 1.5 / 3.5 - 2 * 2 * 0.33 / 3.5**3
    assert found == pytest.approx(1 - dice)


def test_an_empty_mask_has_no_doubt_unless_it_was_said():
    empty = np.zeros((3, 2, 2), np.uint8)
    _, probability, uncertainty = weak()
    assert doubt_of(empty, probability, uncertainty, NOTHING_SAID) is None
    said = np.full((3, 2), ABSENT, np.uint8)
    assert doubt_of(empty, probability, uncertainty, said) == 0
    said[1, 0] = UNKNOWN
    assert doubt_of(empty, probability, uncertainty, said) is None


def test_the_least_doubted_share_is_taken():
    doubts = {"a": 0.3, "b": 0.1, "c": None, "d": 0.2, "e": 0.4, "said": 0.0}
    assert taken_cases(doubts, 0.5) == ("said", "b", "d")
    assert taken_cases(doubts, 0.51) == ("said", "b", "d", "a")
    assert taken_cases(doubts, 1.0) == ("said", "b", "d", "a", "e")
    assert taken_cases({"c": None}, 1.0) == ()
    assert taken_cases({"z": 0.2, "y": 0.2}, 0.5) == ("y",)


def test_a_share_is_not_rounded_up_by_its_own_rounding():
    doubts = {f"{i}": 0.1 + i / 1000 for i in range(100)}
    assert len(taken_cases(doubts, 0.07)) == 7  # 0.07 * 100 is a little above 7


def test_a_threshold_takes_the_place_of_the_share():
    doubts = {"a": 0.3, "b": 0.1, "c": None, "d": 0.2}
    assert taken_cases(doubts, 0.1, worst=0.2) == ("b", "d")
    assert taken_cases(doubts, 1.0, worst=0.05) == ()


def test_doubted_voxels_carry_no_loss():
    classes, _, uncertainty = weak()
    found, counts = taken_voxels(classes, uncertainty, NOTHING_SAID, 0.5)
    assert (found == classes).all()
    assert counts.sum() == counts.size - 1
    assert not counts[0, 0, 1]
    assert counts[1, 1, 1]  # the limit itself still counts
    assert taken_voxels(classes, uncertainty, NOTHING_SAID, 1.0)[1].all()


def test_a_slice_that_is_said_to_be_empty_is_background_for_sure():
    classes, _, uncertainty = weak()
    uncertainty[0] = 1.0
    said = NOTHING_SAID.copy()
    said[0] = ABSENT
    found, counts = taken_voxels(classes, uncertainty, said, 0.5)
    assert not found[0].any()
    assert counts[0].all()
    assert found[1, 1, 1] == 2


def test_a_structure_that_is_said_to_be_absent_is_no_target_there():
    classes, _, uncertainty = weak()
    said = NOTHING_SAID.copy()
    said[0, 0] = ABSENT  # of structure 2 nothing is said there
    found, counts = taken_voxels(classes, uncertainty, said, 1.0)
    assert not found[0].any()
    assert counts[0].tolist() == [[False, False], [True, True]]
    assert counts[1:].all()


def test_a_slice_whose_structure_was_missed_teaches_nothing():
    classes, _, uncertainty = weak()
    said = NOTHING_SAID.copy()
    said[0, 0] = said[2, 1] = PRESENT  # proposed in plane 0, missed in plane 2
    _, counts = taken_voxels(classes, uncertainty, said, 1.0)
    assert counts[:2].all()
    assert not counts[2].any()


def test_what_a_person_saw_replaces_the_weak_mask():
    mine, known = np.full((1, 2, 2), 3, np.uint8), np.ones((1, 2, 2), np.bool_)
    known[0, 0, 1] = False  # drawn, but of a structure that the model does not know
    seen = np.array([[[True, True], [False, False]]])
    counts = np.array([[[True, True], [True, False]]])
    mask, found, left = over(
        (np.ones((1, 2, 2), np.uint8), counts), (mine, known), seen
    )
    assert mask.tolist() == [[[3, 3], [1, 1]]]
    assert found.tolist() == [[[True, False], [True, False]]]
    assert left == 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (("CC BY 4.0", "CC BY-NC-SA 4.0"), "CC BY-NC-SA 4.0"),
        (("CC BY-NC-SA 4.0", "CC BY-SA 4.0", "CC0 1.0"), "CC BY-NC-SA 4.0"),
        (("CC BY-SA 4.0", "CC BY-NC 4.0"), "CC BY-SA 4.0; also CC BY-NC 4.0"),
        (("CC0 1.0", "research only"), "research only"),
        (("CC BY 4.0", "research only"), "CC BY 4.0; also research only"),
        (("CC0 1.0", "CC0 1.0"), "CC0 1.0"),
        (("CC BY 4.0", "CC BY 3.0"), "CC BY 4.0"),
    ],
)
def test_the_most_restrictive_licence_holds(given, wanted):
    assert inherited(*given) == wanted
