"""An estimate is positive, and grows with what is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffseg.domain import (
    Request,
)
from diffseg.errors import UserError
from diffseg.segmenters import Host, describe, resolve_device, why_cpu
from diffseg.segmenters.ensemdiff import EnsemDiff
from diffseg.segmenters.feedforward import FeedForward
from diffseg.segmenters.piece import Piece
from diffseg.segmenters.probing import probe
from diffseg.volume import Volume

PIECE = Piece(1e-6, 1e-6, 100.0, 500.0, 300.0)


def large(planes: int) -> Volume:
    scan = np.random.default_rng(0).normal(size=(planes, 40, 40)).astype(np.float32)
    return Volume.from_array(scan, np.eye(4))


@pytest.mark.parametrize("method", [EnsemDiff, FeedForward])
@pytest.mark.parametrize("dims", [2, 3])
def test_an_estimate_is_positive(toys: Any, dims: int, method: type[EnsemDiff]) -> None:
    segmenter = method(toys.card(dims), toys.network(dims), Host("cpu", 1))
    made = probe(segmenter, Request(toys.volume(), members=3))
    assert made.seconds > 0
    assert made.memory_bytes > 0
    assert (made.members, made.steps) == (3, 2)
    assert made.warnings == ()


@pytest.mark.parametrize("dims", [2, 3])
def test_it_grows_with_members_steps_and_the_image(
    toys: Any, dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The network's times are given, so that no clock decides.
    monkeypatch.setattr(Piece, "probed", classmethod(lambda *given: PIECE))
    monkeypatch.setattr("diffseg.segmenters.probing.timed", lambda work: 0.0)
    segmenter = EnsemDiff(
        toys.card(dims, tile=(16,) * dims), toys.network(dims), Host("cpu", 1)
    )

    def seconds(planes: int = 20, members: int = 6, steps: int = 1) -> float:
        request = Request(large(planes), members=members, steps=steps)
        return probe(segmenter, request).seconds

    base = seconds()
    for more in (seconds(members=12), seconds(steps=2)):
        assert 1.3 * base < more < 2 * base
    grown = seconds(members=24) - seconds(members=12)
    assert grown == pytest.approx(2 * (seconds(members=12) - base), rel=1e-3)
    assert seconds(planes=80) > 2 * base


def test_a_feedforward_model_asks_for_no_more_than_its_flips(
    toys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Piece, "probed", classmethod(lambda *given: PIECE))
    monkeypatch.setattr("diffseg.segmenters.probing.timed", lambda work: 0.0)
    segmenter = FeedForward(toys.card(3), toys.network(3), Host("cpu", 1))
    few, many = (probe(segmenter, Request(toys.volume(), members=m)) for m in (2, 64))
    assert few.seconds == pytest.approx(many.seconds)


def test_memory_that_will_not_suffice_is_told(
    toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffseg.segmenters.probing.free_memory", lambda device: 1000)
    segmenter = EnsemDiff(toys.card(3), toys.network(3), Host("cpu", 1))
    (line,) = probe(segmenter, Request(toys.volume())).warnings
    assert "GiB of memory are needed" in line


def test_what_the_model_cannot_answer_is_refused(toys: Any) -> None:
    segmenter = EnsemDiff(toys.card(3), toys.network(3), Host("cpu", 1))
    with pytest.raises(UserError, match="does not use text"):
        probe(segmenter, Request(toys.volume(), text="the liver"))


def test_the_machine_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    name, free = describe("cpu")
    assert "CPU core" in name
    assert free > 2**20
    monkeypatch.setenv("DIFFSEG_DEVICE", "cpu")
    assert why_cpu() == "DIFFSEG_DEVICE is set to cpu"
    monkeypatch.delenv("DIFFSEG_DEVICE")
    assert (why_cpu() is None) == (resolve_device("auto") != "cpu")
