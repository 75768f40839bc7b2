"""Calibration: known answers, closed forms, and what must never change."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import softmax

from diffseg.ensemble import consensus
from diffseg.ensemble.calibration import (
    Calibration,
    calibrated,
    calibration_of,
    recalibrated,
)
from diffseg.ensemble.calibration_choice import Plan, calibrate
from diffseg.ensemble.calibration_evidence import (
    BOX_SHARE,
    MOST_IN_BOX,
    MOST_OUTSIDE,
    Evidence,
    evidence_of,
    folds_of,
    weights_of,
)
from diffseg.ensemble.calibration_fit import (
    fit_isotonic,
    fit_temperature,
    isotonic,
    knots_of,
)
from diffseg.ensemble.calibration_score import cross_fitted, judge
from diffseg.errors import UserError
from diffseg.metrics import CalibrationCounts

RNG = np.random.default_rng


def hot(*temperatures: float) -> Calibration:
    return Calibration(
        kind="temperature", temperatures=temperatures, members=8, steps=1
    )


def drawn(
    seed: int, truth: float | np.ndarray = 1.0, n: int = 20_000, group: str = ""
) -> Evidence:
    """Voxels whose class follows softmax(z), told with softmax(z * truth)."""
    rng = RNG(seed)
    scores = rng.normal(size=(3, n)) * 2
    real = softmax(scores, axis=0).cumsum(axis=0)
    told = softmax(scores * np.reshape(truth, (-1, 1)), axis=0)
    return Evidence(
        case=f"case {seed}",
        group=group or f"patient {seed}",
        probability=told.astype(np.float32),
        reference=(rng.random(n) > real[:2]).sum(axis=0).astype(np.uint8),
        counts=np.ones(n),
        inside=rng.random(n) < 0.5,
    )


def plan(**changes: Any) -> Plan:
    given = {"names": ("a", "b"), "members": 8, "steps": 1, "about": {"split": "val"}}
    return Plan(**given | changes)


# --- what it does to probabilities --------------------------------------------


def test_one_temperature_is_the_softmax_of_log_probabilities_over_it() -> None:
    p = softmax(RNG(0).normal(size=(4, 50)), axis=0)
    expected = softmax(np.log(p) / 2.5, axis=0)
    np.testing.assert_allclose(calibrated(p, hot(2.5)), expected, atol=1e-6)
    assert (calibrated(p, hot(2.5)).argmax(axis=0) == p.argmax(axis=0)).all()


def test_temperatures_of_classes_are_each_their_own() -> None:
    p = softmax(RNG(0).normal(size=(3, 50)), axis=0)
    each = np.array([[1.0], [2.0], [0.5]])
    expected = softmax(np.log(p) / each, axis=0)
    np.testing.assert_allclose(calibrated(p, hot(1.0, 2.0, 0.5)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "known",
    [
        hot(3.0),
        hot(0.05, 20.0, 1.0),
        Calibration(
            kind="isotonic",
            knots=(((0, 0), (0.2, 0.6), (1, 1)), ((0, 0), (0.5, 0.9), (1, 1))),
            members=8,
            steps=1,
        ),
    ],
)
def test_certain_voxels_stay_certain_and_all_sum_to_one(known: Calibration) -> None:
    p = np.zeros((3, 5, 2, 2), np.float32)
    p[0], p[:, 0] = 1, 0
    p[1, 0] = 1  # certain to be of the first structure
    p[:, 1] = np.array([0.3, 0.7, 0.0])[:, None, None]  # the second one is absent
    p[:, 2] = 1 / 3
    found = calibrated(p, known)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(found[:, 0], p[:, 0])
    np.testing.assert_array_equal(found[:, 3:], p[:, 3:])
    assert (found[2, 1] == 0).all()


def test_isotonic_tables_are_interpolated_and_background_is_the_rest() -> None:
    known = Calibration(
        kind="isotonic", knots=(((0, 0), (0.5, 0.25), (1, 1)),), members=8, steps=1
    )
    p = np.array([[0.75, 0.5, 0.25], [0.25, 0.5, 0.75]])
    found = calibrated(p, known)
    np.testing.assert_allclose(found[1], [0.125, 0.25, 0.625])
    np.testing.assert_allclose(found[0], 1 - found[1])


def test_a_summary_keeps_its_members_and_changes_its_uncertainty() -> None:
    members = softmax(RNG(0).normal(size=(5, 3, 4, 4, 4)) * 2, axis=1)
    summary = consensus(members)
    assert recalibrated(summary, None) is summary
    flat = recalibrated(summary, hot(2.0))
    np.testing.assert_array_equal(flat.classes, summary.classes)
    np.testing.assert_array_equal(flat.classes, flat.probability.argmax(axis=0))
    assert (flat.uncertainty >= summary.uncertainty - 1e-6).all()
    assert flat.uncertainty.mean() > summary.uncertainty.mean() + 0.01
    assert flat.mutual_information is summary.mutual_information
    assert flat.member_classes is summary.member_classes


# --- the card -------------------------------------------------------------------


def test_a_card_holds_it_as_json() -> None:
    known = calibrate([drawn(i, 2.0, 2000) for i in range(3)], plan()).calibration
    stored = json.loads(json.dumps(known.model_dump(mode="json")))
    assert calibration_of(stored, 3, "m") == known
    assert calibration_of(None, 3, "m") is None
    assert "knots" not in known.brief()
    assert known.brief()["words"] == known.words


@pytest.mark.parametrize(
    "change",
    [
        {"temperatures": []},
        {"temperatures": [0.0]},
        {"temperatures": [float("nan")]},
        {"kind": "isotonic"},
        {"kind": "isotonic", "knots": [[[0, 0], [0.5, 0.6]]]},
        {"kind": "isotonic", "knots": [[[0, 0], [0.5, 0.6], [0.6, 0.5], [1, 1]]]},
        {"kind": "isotonic", "knots": [[[0, 0], [0.5, 0.5], [0.5, 0.6], [1, 1]]]},
        {"stranger": 1},
        {"temperatures": [1.0, 2.0]},  # of two classes, and there are three
    ],
)
def test_a_card_s_nonsense_is_refused_in_one_line(change: dict[str, Any]) -> None:
    stored = {"kind": "temperature", "temperatures": [2.0], "members": 8, "steps": 1}
    assert calibration_of(stored, 3, "m") is not None
    with pytest.raises(UserError, match="calibrate it again") as caught:
        calibration_of(stored | change, 3, "m")
    assert "\n" not in str(caught.value)


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        hot(1.0).kind = "isotonic"  # type: ignore[misc]


# --- fits -----------------------------------------------------------------------


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(truth: float) -> None:
    evidence = [drawn(seed, truth) for seed in range(2)]
    (found,) = fit_temperature(evidence)
    # Told as softmax(z * t): undone at temperature t.
    assert found == pytest.approx(truth, rel=0.03)


def test_known_temperatures_of_classes_are_found() -> None:
    """What is told is flattened by class; the fit finds back what was drawn from."""
    truth = np.array([1.0, 2.0, 0.6])
    evidence = []
    for seed in range(2):
        plain = drawn(seed)
        base = plain.probability.astype(np.float64)
        # q_k ~ p_k ** T_k, so that q_k ** (1 / T_k) ~ p_k where q sums to 1 alike:
        # only approximately, hence the loose bounds.
        told = softmax(np.log(base) * truth[:, None], axis=0).astype(np.float32)
        evidence.append(replace(plain, probability=told))
    one, each = fit_temperature(evidence), fit_temperature(evidence, each_class=True)
    losses = [
        judge(evidence, [calibrated(e.probability, hot(*found)) for e in evidence]).loss
        for found in ((1.0,), one, each)
    ]
    assert losses[2] < losses[1] - 0.01 < losses[0]
    assert each[1] > each[0] > each[2]


def test_the_temperature_is_where_the_weighted_likelihood_is_least() -> None:
    evidence = [drawn(seed, 2.0, 3000) for seed in range(2)]
    (best,) = fit_temperature(evidence)

    def loss(one: float) -> float:
        turned = [calibrated(e.probability, hot(one)) for e in evidence]
        return judge(evidence, turned).loss

    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02))


def brute_force(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Max-min formula of isotonic regression (Barlow et al., 1972)."""

    def mean(i: int, j: int) -> float:
        return float(np.average(y[i : j + 1], weights=w[i : j + 1]))

    n = len(y)
    return np.array(
        [
            max(min(mean(j, k) for k in range(i, n)) for j in range(i + 1))
            for i in range(n)
        ]
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.booleans(), st.integers(1, 5)),
        min_size=1,
        max_size=25,
    )
)
def test_isotonic_is_what_brute_force_finds(rows: list[tuple[int, bool, int]]) -> None:
    p, hit, w = (np.array(one, float) for one in zip(*rows, strict=True))
    points = np.unique(p)
    mass = np.array([w[p == x].sum() for x in points])
    mean = np.array([(w * hit)[p == x].sum() for x in points]) / mass
    x, y, weight = isotonic(p, hit, w)
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert weight.sum() == pytest.approx(w.sum())
    expected = brute_force(mean, mass)
    for value in np.unique(expected.round(9)):
        same = np.abs(y - value) < 1e-8
        points_of = np.abs(expected - value) < 1e-8
        assert weight[same].sum() == pytest.approx(mass[points_of].sum())
        middle = np.average(points[points_of], weights=mass[points_of])
        assert np.average(x[same], weights=weight[same]) == pytest.approx(middle)
    np.testing.assert_allclose((weight * y).sum(), (w * hit).sum())


def test_knots_are_few_rise_and_undo_a_known_distortion() -> None:
    rng = RNG(0)
    real = rng.random(200_000)
    told = real**2
    table = knots_of(told, rng.random(real.size) < real, np.ones(real.size))
    assert len(table) <= 33
    assert (table[0], table[-1]) == ((0.0, 0.0), (1.0, 1.0))
    x, y = np.array(table).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) >= 0).all()
    assert y[1] > 0
    assert y[-2] < 1
    grid = np.linspace(0.05, 0.95, 50)
    np.testing.assert_allclose(np.interp(grid, x, y), np.sqrt(grid), atol=0.03)


def test_isotonic_of_evidence_lowers_its_loss() -> None:
    evidence = [drawn(seed, 3.0) for seed in range(2)]
    known = Calibration(
        kind="isotonic", knots=fit_isotonic(evidence), members=1, steps=1
    )
    before = judge(evidence, [one.probability for one in evidence]).loss
    turned = [calibrated(one.probability, known) for one in evidence]
    assert judge(evidence, turned).loss < before - 0.1


# --- voxels, weights, folds -------------------------------------------------------


def scene() -> tuple[np.ndarray, np.ndarray]:
    probability = np.zeros((2, 24, 24, 24), np.float32)
    probability[0, 10:13, 10:13, 10:13] = 0.8
    reference = np.zeros((24, 24, 24), np.uint8)
    reference[10:12, 10:13, 10:13] = 1
    return probability, reference


def test_evidence_is_the_box_and_the_rest() -> None:
    probability, reference = scene()
    found = evidence_of("a", "p", probability, reference, RNG(0))
    assert found.inside.sum() == 13**3  # 3 voxels and 5 on each side
    assert found.counts.sum() == 24**3
    assert found.probability.shape == (3, 24**3)
    (weights,) = weights_of([found])
    assert weights.sum() == pytest.approx(1)
    assert weights[found.inside].sum() == pytest.approx(BOX_SHARE)


def test_voxels_that_nobody_reviewed_count_nothing() -> None:
    probability, reference = scene()
    reviewed = np.zeros(reference.shape, bool)
    reviewed[11] = True
    wrong = np.where(reviewed, reference, 2).astype(np.uint8)
    found = evidence_of("a", "p", probability, wrong, RNG(0), reviewed)
    assert found.counts.sum() == 24**2
    assert 2 not in found.reference
    # The box is that of what was reviewed: one plane, 13 x 13.
    assert found.inside.sum() == 13**2
    nothing = evidence_of("b", "q", probability, wrong, RNG(0), reviewed & False)
    assert nothing.reference.size == 0
    assert judge([found, nothing], [found.probability, nothing.probability]).loss > 0


def test_of_many_voxels_some_stand_for_all() -> None:
    probability = np.zeros((1, 60, 60, 60), np.float32)
    probability[0, 5:50, 5:50, 5:50] = 0.5
    reference = (probability[0] > 0).astype(np.uint8)
    found = evidence_of("a", "p", probability, reference, RNG(0))
    assert found.inside.sum() == MOST_IN_BOX
    assert (~found.inside).sum() == MOST_OUTSIDE
    assert found.counts.sum() == pytest.approx(60**3)
    assert found.counts[found.inside].sum() == pytest.approx(55**3)


def test_a_patient_is_held_out_whole() -> None:
    evidence = [drawn(i, n=3, group=f"p{i // 2}") for i in range(8)]
    folds = folds_of(evidence, 3, RNG(0))
    assert sorted(np.concatenate(folds).tolist()) == list(range(8))
    assert len(folds) == 3
    for fold in folds:
        inside = {evidence[i].group for i in fold}
        rest = {e.group for i, e in enumerate(evidence) if i not in fold}
        assert not inside & rest
    with pytest.raises(ValueError, match="two are needed"):
        folds_of(evidence[:2], 3, RNG(0))


def test_no_case_is_calibrated_by_its_own_patient() -> None:
    evidence = [drawn(i, n=5, group=f"p{i % 3}") for i in range(6)]
    seen = []

    def fit(some: Any) -> Calibration:
        seen.append({one.group for one in some})
        return hot(float(len(seen)))

    found = cross_fitted(evidence, fit, 5, RNG(0))
    for one, p in zip(evidence, found, strict=True):
        used = [
            groups
            for t, groups in enumerate(seen, 1)
            if np.allclose(p, calibrated(one.probability, hot(float(t))))
        ]
        assert len(used) == 1
        assert one.group not in used[0]


# --- scores ----------------------------------------------------------------------


def test_scores_by_hand() -> None:
    p = np.array([[0.9, 0.2], [0.1, 0.8]], np.float32)
    one = Evidence(
        "a", "p", p, np.array([0, 0], np.uint8), np.array([3.0, 1.0]),
        np.array([True, False]),
    )  # fmt: skip
    found = judge([one], [p])
    nats = -np.log([0.9, 0.2])
    assert found.image.nll == pytest.approx((3 * nats[0] + nats[1]) / 4)
    assert found.image.brier == pytest.approx((3 * 0.02 + 1.28) / 4)
    assert found.image.top_label.ece == pytest.approx((3 * 0.1 + 0.8) / 4)
    assert found.image.binary[0].ece == pytest.approx((3 * 0.1 + 0.8) / 4)
    assert found.box is not None
    assert found.box.nll == pytest.approx(nats[0])
    assert found.loss == pytest.approx(0.9 * nats[0] + 0.1 * nats[1])
    assert found.dice[0, 0] == 0


def test_errors_of_calibration_are_those_of_an_evaluation() -> None:
    one = drawn(0)
    found = judge([one], [one.probability])
    reference = one.reference.reshape(1, 1, -1)
    full = one.probability.reshape(3, 1, 1, -1)
    nothing = CalibrationCounts()
    top = nothing.add(full, reference)
    assert found.image.top_label.ece == pytest.approx(top.ece)
    assert found.image.top_label.reliability == top.reliability
    binary = nothing.add_structure(full[1], reference == 1)
    assert found.image.binary[0].ece == pytest.approx(binary.ece)


# --- choosing, refusing ------------------------------------------------------------


def test_too_sure_a_model_is_calibrated_and_judged_on_others() -> None:
    evidence = [drawn(seed, 3.0, 4000) for seed in range(4)]
    found = calibrate(evidence, plan())
    # One temperature is all that is wrong, and changes no mask.
    assert found.figures["method"] == "temperature"
    assert found.calibration.temperatures[0] == pytest.approx(3, rel=0.1)
    told = found.calibration.fitted
    for key in ("ece_pooled", "ece_box", "nll_box", "brier_box"):
        before, after = told[key]
        assert after < before, key
    assert told["ece_box"][1] < 0.02 < told["ece_box"][0]
    assert told["groups"] == 4
    assert told["split"] == "val"
    low, high = found.figures["loss_change_ci95"]
    assert low < high < 0
    assert found.calibration.predicted_dice is None
    json.dumps(found.figures, allow_nan=False)


@pytest.mark.parametrize("method", ["temperature", "temperatures", "isotonic"])
def test_each_method_can_be_asked_for(method: str) -> None:
    evidence = [drawn(seed, 3.0, 3000) for seed in range(3)]
    found = calibrate(evidence, plan(method=method))
    assert found.figures["method"] == method
    assert list(found.figures["methods"]) == [method]
    kind = "isotonic" if method == "isotonic" else "temperature"
    assert found.calibration.kind == kind


def test_what_is_no_better_on_others_is_refused() -> None:
    # Each patient says the opposite of the other: what one teaches harms the other.
    evidence = [drawn(0, 3.0, 4000), drawn(1, 1 / 3, 4000)]
    with pytest.raises(UserError, match="calibration refused") as caught:
        calibrate(evidence, plan())
    assert "\n" not in str(caught.value)


def test_cases_of_which_nothing_was_reviewed_change_nothing() -> None:
    evidence = [drawn(seed, 3.0, 1000) for seed in range(3)]
    nothing = [drawn(seed, 1.0, 0) for seed in range(3, 9)]
    agreement = np.full((9, 2), 0.9)
    found = calibrate([*nothing, *evidence], plan(), agreement)
    assert found.calibration == calibrate(evidence, plan(), agreement[:3]).calibration
    with pytest.raises(UserError, match="0 patients"):
        calibrate(nothing, plan())


def test_one_patient_is_too_few() -> None:
    evidence = [drawn(seed, 3.0, 100, group="p") for seed in range(3)]
    with pytest.raises(UserError, match="two or more"):
        calibrate(evidence, plan())
    with pytest.raises(UserError, match="is not one of auto, temperature"):
        calibrate(evidence, plan(method="platt"))


def test_the_same_seed_gives_the_same() -> None:
    evidence = [drawn(seed, 2.0, 1000) for seed in range(7)]
    first, again = (calibrate(evidence, plan(seed=3)) for _ in range(2))
    assert first.calibration == again.calibration
    assert first.figures == again.figures
