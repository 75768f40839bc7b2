"""The gate as a pure function: what it keeps, what it refuses, and what it says."""

from __future__ import annotations

import math

import pytest

from diffseg_training.finetuning.verdict import FEWEST, CaseDice, judge


def cases(values, groups=None, name="front"):
    groups = groups or [f"p{i}" for i in range(len(values))]
    return [
        CaseDice(f"c{i}", group, {name: value}, frozenset({name}))
        for i, (value, group) in enumerate(zip(values, groups, strict=True))
    ]


def test_a_gain_is_kept_and_told():
    verdict = judge(cases([0.7, 0.8]), cases([0.8, 0.9]), 0.01)
    assert verdict.kept
    assert verdict.classes[0].difference == pytest.approx(0.1)
    assert "front 0.750 to 0.850" in verdict.sentence
    assert "too few patients" in verdict.sentence
    assert "\n" not in verdict.sentence


@pytest.mark.parametrize(("loss", "kept"), [(0.0, True), (0.01, True), (0.011, False)])
def test_few_patients_are_judged_by_the_mean(loss, kept):
    verdict = judge(cases([0.8]), cases([0.8 - loss]), 0.01, 0.5)
    assert verdict.kept is kept
    assert verdict.classes[0].low is None


@pytest.mark.parametrize(
    ("gain", "allowed", "kept"),
    [(0.005, 0.0, True), (0.004, 0.0, False), (0.004, 0.001, True)],
)
def test_what_one_class_loses_another_has_to_gain(gain, allowed, kept):
    before = [CaseDice("c", "p", {"front": 0.5, "back": 0.8})]
    after = [CaseDice("c", "p", {"front": 0.5 + gain, "back": 0.795})]
    verdict = judge(before, after, 0.01, allowed)
    assert verdict.kept is kept
    assert verdict.overall == pytest.approx((gain - 0.005) / 2)
    assert not any(one.worse for one in verdict.classes)
    if not kept:
        said = "the mean of all classes falls by 0.0005 Dice, more than 0, on"
        assert said in verdict.sentence


def test_one_class_that_is_worse_refuses_whatever_another_gains():
    def both(front, back):
        return [CaseDice("c", "p", {"front": front, "back": back})]

    verdict = judge(both(0.5, 0.8), both(0.9, 0.7), 0.01)
    assert not verdict.kept
    assert [one.worse for one in verdict.classes] == [False, True]
    assert "on back," in verdict.sentence


def test_many_patients_are_judged_by_the_lower_end_of_the_interval():
    before = [0.8] * FEWEST
    unsure = [0.80, 0.88, 0.70, 0.86, 0.72, 0.84]  # mean 0.8, and widely spread
    assert judge(cases(before), cases(before), 0.01).kept
    verdict = judge(cases(before), cases(unsure), 0.01)
    assert verdict.by_interval
    assert not verdict.kept
    assert verdict.classes[0].difference == pytest.approx(0.0)
    low = verdict.classes[0].low
    assert low == pytest.approx(-0.0616, abs=1e-3)  # t(5) at 0.95 is 2.015
    few = judge(cases(before[:5]), cases(unsure[:5]), 0.01, 0.01)
    assert few.kept  # too few to say


def test_cases_of_one_patient_count_once():
    groups = ["a", "a", "a", "b"]
    before, after = [0.8] * 4, [0.7, 0.7, 0.7, 0.9]
    verdict = judge(cases(before, groups), cases(after, groups), 0.01)
    assert verdict.kept  # -0.1 and +0.1, though three cases of four lose
    assert verdict.patients == 2
    assert verdict.classes[0].worst == pytest.approx(-0.1)


def test_what_is_no_number_is_refused():
    assert not judge(cases([0.8]), cases([math.nan]), 0.01).kept


def test_a_class_in_no_reference_is_told():
    before = [CaseDice("c", "p", {"front": 1.0})]
    after = [CaseDice("c", "p", {"front": 0.0})]
    verdict = judge(before, after, 0.01)
    assert not verdict.kept
    assert "in no reference" in verdict.sentence


def test_other_cases_cannot_be_compared():
    with pytest.raises(ValueError, match="same cases"):
        judge(cases([0.8]), cases([0.8, 0.9]), 0.01)
    with pytest.raises(ValueError, match="same cases"):
        judge([], [], 0.01)
