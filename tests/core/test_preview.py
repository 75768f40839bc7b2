"""Slices appear as they finish, whatever the blocks, and closing stops at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from diffseg.domain import (
    Preview,
    Proposal,
    Request,
)
from diffseg.progress import Progress
from diffseg.segmenters import Host, Slab, iter_propose_with
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.feedforward import Flips
from diffseg.segmenters.gathering import Pace
from diffseg.segmenters.members import blocks
from diffseg.segmenters.noise import StackNoise


def proposed(
    toys: Any, dims: int, block_voxels: int = 10**6, code: str = "RAS"
) -> tuple[list[Progress], Proposal]:
    model = toys.card(dims)
    source = Ensemble(toys.network(dims), model, "cpu", block_voxels=block_voxels)
    request = Request(toys.volume(code), seed=1)
    return toys.watched(iter_propose_with(model, source, request, Host("cpu", 1)))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_last_previews_are_the_proposal(toys: Any, dims: int) -> None:
    for code in ("RAS", "PSL"):
        seen, made = proposed(toys, dims, 500, code)
        mask = np.full(made.mask.shape, 99, np.uint8)
        uncertainty = np.zeros(made.mask.shape, np.uint8)
        previews = [one for one in seen if isinstance(one, Preview)]
        for one in previews:
            mask[one.region.slices] = one.mask
            uncertainty[one.region.slices] = one.uncertainty
        np.testing.assert_array_equal(mask, made.mask)
        np.testing.assert_array_equal(uncertainty, np.rint(made.uncertainty * 255))
        if dims == 2:
            assert len({one.region.ranges for one in previews}) == 5
        last = [one for one in seen if one.stage == "sample"][-1]
        assert last.done == last.total > 0


def test_a_longer_chain_finishes_fewer_slices_together() -> None:
    shape = (23, 64, 64)
    assert blocks(shape, 2) == [range(23)]
    chain = blocks(shape, 2, steps=25)
    assert [len(one) for one in chain] == [7, 7, 7, 2]
    assert [plane for one in chain for plane in one] == list(range(23))
    assert blocks(shape, 3, steps=25) == [range(23)]


def test_blocks_of_slices_change_nothing(toys: Any) -> None:
    _, whole = proposed(toys, 2)
    for voxels in (1, 250, 500):
        _, cut = proposed(toys, 2, voxels)
        np.testing.assert_allclose(cut.probability, whole.probability, atol=1e-4)
        np.testing.assert_allclose(cut.uncertainty, whole.uncertainty, atol=1e-4)
        assert cut.mutual_information_mean == pytest.approx(
            whole.mutual_information_mean, abs=1e-4
        )


def test_the_same_request_gives_the_same_bytes(toys: Any) -> None:
    first, again = (proposed(toys, 2, 250)[1] for _ in range(2))
    assert first.probability.tobytes() == again.probability.tobytes()


def test_blocks_of_slices_suit_a_feedforward_model(toys: Any) -> None:
    model, answers = toys.card(2), []
    for voxels in (250, 10**6):
        source = Flips(toys.network(2), model, "cpu", block_voxels=voxels)
        request = Request(toys.volume(), members=5)
        work = iter_propose_with(model, source, request, Host("cpu", 1))
        answers.append(toys.watched(work)[1].probability)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


def test_the_noise_of_a_stack_is_the_same_however_it_is_cut() -> None:
    whole = StackNoise(1, (2, 40, 40), 0.9)([0, 3], 1, range(30))
    cut = StackNoise(1, (2, 40, 40), 0.9)
    runs = [cut([0, 3], 1, range(a, min(a + 7, 30))) for a in range(0, 30, 7)]
    assert torch.equal(torch.cat(runs, dim=2), whole)
    assert torch.equal(cut([0, 3], 1, range(3, 9)), whole[:, :, 3:9])  # drawn again
    assert torch.equal(cut([3], 1, range(8, 2, -1))[0], whole[1, :, 3:9].flip(1))
    neighbours = (whole[:, :, 1:] * whole[:, :, :-1]).mean()
    assert float(neighbours) == pytest.approx(0.9, abs=0.05)
    assert float(whole.var()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("dims", [2, 3])
def test_closing_stops_within_one_evaluation(toys: Any, dims: int) -> None:
    net, calls = toys.network(dims), []
    denoise = net.denoise
    net.denoise = lambda *given: calls.append(1) or denoise(*given)
    model = toys.card(dims, tile=(8, 8, 8) if dims == 3 else (8, 8))
    source = Ensemble(net, model, "cpu", batch_voxels=1)
    work = iter_propose_with(model, source, Request(toys.volume()), Host("cpu", 1))
    before = 0
    for _ in work:
        assert len(calls) <= before + 1
        before = len(calls)
        if before == 5:
            break
    work.close()
    assert len(calls) == 5


def test_previews_keep_their_distance_and_their_price(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(
        "diffseg.segmenters.gathering.time.perf_counter", lambda: now[0]
    )
    pace = Pace()
    assert pace.due
    for cost, pause in ((0.001, 0.4), (1.0, 20.0)):
        pace.took(cost)
        now[0] += pause * 0.9
        assert not pace.due
        now[0] += 40 * pause
        assert pace.due


@pytest.mark.parametrize(
    ("slabs", "message"),
    [
        ([(0, 4), (4, 9)], "out of turn"),  # of one member, then of the next planes
        ([(1, 9)], "out of turn"),
        ([(0, 9), (0, 9), (0, 9)], "more than 2"),
        ([(0, 4), (0, 4)], "planes 0 to 4"),
        ([(0, 9)], "1 members instead of 2"),
    ],
)
def test_slabs_out_of_turn_are_our_fault(
    toys: Any, slabs: list[tuple[int, int]], message: str
) -> None:
    from diffseg.errors import DiffsegError

    def source(image: np.ndarray, **asked: int) -> Iterator[Slab]:
        for start, stop in slabs:
            shape = (3, stop - start, *image.shape[2:])
            yield Slab(start, np.full(shape, 1 / 3, np.float32))

    request = Request(toys.volume(), members=2)
    with pytest.raises(DiffsegError, match=message):
        toys.watched(iter_propose_with(toys.card(2), source, request, Host("cpu", 1)))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_long_chain_tells_its_steps_and_never_goes_back(toys: Any, dims: int) -> None:
    seen, _ = proposed(toys, dims, 250)
    drawing = [one for one in seen if one.stage == "sample"]
    shares = [one.fraction for one in drawing]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert any(one.detail.startswith("step 2 of 2, ") for one in drawing)
    assert any(one.under_way > 0 for one in drawing)
