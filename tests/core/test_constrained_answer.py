"""What is told of a mask drawn anew: previews, calibration, the model's own level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffseg.diffusion import schedule_of
from diffseg.diffusion.fingerprint import mask_log_snr
from diffseg.domain import Preview, Request, Resampling, Strokes
from diffseg.domain.resampling import LEVEL
from diffseg.segmenters import Host
from diffseg.segmenters.ensemdiff import EnsemDiff
from diffseg.segmenters.resampling import level_of

HOT = {"kind": "temperature", "temperatures": [4.0], "members": 4, "steps": 2}


def segmenter_of(toys: Any, dims: int = 3, **changes: Any) -> EnsemDiff:
    card = toys.card(dims, sampling={"timesteps": 40}).model_copy(update=changes)
    return EnsemDiff(card, toys.network(dims), Host("cpu", 1))


def asked(toys: Any, **changes: Any) -> Request:
    dense = np.zeros(toys.shape, np.uint8)
    dense[4, 3:6, 4], dense[4, 6, 6:9] = 255, 2
    mask = np.zeros(toys.shape, np.uint8)
    mask[2:7, 3:8, 3:9] = 3
    given = {"strokes": Strokes.of(dense), "initial_mask": mask, "noise_level": 0.5}
    return Request(toys.volume(), **given | changes)


def test_without_a_way_it_is_a_regression() -> None:
    options = Resampling()
    assert (options.way, options.regresses, options.weighs) == (
        "regression",
        True,
        False,
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_previews_show_what_may_change_and_what_was_drawn(
    toys: Any, dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffseg.segmenters.gathering.Pace.due", True)
    request = asked(toys)
    seen, proposal = toys.watched(segmenter_of(toys, dims).iter_propose(request))
    previews = [one for one in seen if isinstance(one, Preview)]
    assert [one.done for one in previews] == [1, 2, 3, 4]
    last = previews[-1]
    assert last.region.ranges == proposal.regions[0].box
    assert np.array_equal(last.mask, proposal.mask[last.region.slices])
    dense = request.strokes.dense()[last.region.slices]
    for one in previews:
        assert (one.mask[dense == 255] == 0).all()
        assert (one.mask[dense == 2] == 7).all()
        assert not one.uncertainty[dense > 0].any()


def test_a_calibration_corrects_all_but_the_strokes(toys: Any) -> None:
    request = asked(toys)
    plain = segmenter_of(toys).propose(request)
    hot = segmenter_of(toys, calibration=HOT).propose(request)
    kept = request.strokes.dense() > 0
    assert np.array_equal(hot.probability[:, kept], plain.probability[:, kept])
    assert not hot.uncertainty[kept].any()
    assert hot.uncertainty[~kept].mean() > plain.uncertainty[~kept].mean() + 0.01
    assert np.array_equal(hot.mask, plain.mask)
    assert plain.provenance.model["calibration"] is None
    assert hot.provenance.model["calibration"]["temperatures"] == [4.0]
    assert not hot.warnings
    few = segmenter_of(toys, calibration=HOT).propose(asked(toys, members=2))
    assert any("was calibrated with members 4" in one for one in few.warnings)


@pytest.mark.parametrize("log_snr", [-1.0, 0.5])
def test_the_level_is_the_fingerprints_where_the_card_has_it(
    toys: Any, log_snr: float
) -> None:
    assert level_of(segmenter_of(toys).card) == LEVEL
    segmenter = segmenter_of(toys, metrics={"refine_log_snr": log_snr})
    level, sampling = level_of(segmenter.card), segmenter.card.sampling
    there = mask_log_snr(schedule_of(sampling), sampling.mask_range)
    at = schedule_of(sampling).at(level)
    assert abs(float(there[at]) - log_snr) == float(abs(there - log_snr).min())
    own = segmenter.propose(asked(toys, noise_level=None))
    said = segmenter.propose(asked(toys, noise_level=level))
    other = segmenter.propose(asked(toys, noise_level=LEVEL))
    assert np.array_equal(own.probability, said.probability)
    assert not np.array_equal(own.probability, other.probability)
