"""Denoising under a constraint: each way as a function over tensors."""

from __future__ import annotations

import pytest
import torch

from diffseg.diffusion import generator, noise_schedule
from diffseg.diffusion.constrained import (
    held,
    log_likelihood,
    moved_down,
    pulled,
    regressed,
    replaced,
    share_at,
    survivors,
    truncated,
)
from diffseg.diffusion.fingerprint import mask_log_snr


def _known(shape: tuple[int, ...] = (4, 5)) -> torch.Tensor:
    known = torch.zeros(shape, dtype=torch.bool)
    known[1, 2] = known[3, 0] = True
    return known


def _one_hot(classes: int = 3) -> torch.Tensor:
    truth = torch.zeros(classes, 4, 5)
    truth[2] = 1
    return truth


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "cosine"])
def test_a_truncated_schedule_begins_lower_and_means_the_same(name: str) -> None:
    schedule = noise_schedule(name, 100)
    part = truncated(schedule, 0.3)
    assert part.timesteps == 30
    assert torch.equal(part.alpha_bar, schedule.alpha_bar[:30])
    assert torch.equal(truncated(schedule, 1.0).alpha_bar, schedule.alpha_bar)
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match="must lie in"):
            truncated(schedule, share)


@pytest.mark.parametrize("wide", [(0.0, 1.0), (-1.0, 1.0)])
def test_a_level_of_the_fingerprint_is_found_in_any_range(
    wide: tuple[float, float],
) -> None:
    schedule = noise_schedule("cosine", 200)
    levels = mask_log_snr(schedule, wide)
    assert share_at(schedule, float(levels[59]), wide) == pytest.approx(60 / 200)
    assert share_at(schedule, 1e9, wide) == pytest.approx(1 / 200)


def test_replacement_puts_noised_truth_where_it_is_known() -> None:
    schedule, known = noise_schedule("linear", 50), _known()
    x, noise = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    truth, t = _one_hot() * 2 - 1, torch.tensor([40, 40])
    answer = replaced(x, truth, known, noise, t, schedule)
    assert torch.equal(answer[..., ~known], x[..., ~known])
    bar = float(schedule.alpha_bar[40])
    wanted = bar**0.5 * truth + (1 - bar) ** 0.5 * noise
    assert torch.allclose(answer[..., known], wanted[..., known], atol=1e-6)


def test_what_is_held_is_exact() -> None:
    shares = torch.full((2, 3, 4, 5), 1 / 3)
    answer = held(shares, _one_hot(), _known())
    assert (answer[:, 2][:, _known()] == 1).all()
    assert (answer[:, :2][:, :, _known()] == 0).all()
    assert torch.equal(answer[..., ~_known()], shares[..., ~_known()])


def test_a_pull_moves_log_odds_and_nothing_far_away() -> None:
    shares = torch.tensor([0.7, 0.3]).reshape(1, 2, 1, 1).repeat(1, 1, 4, 5)
    pull = torch.zeros(2, 4, 5)
    pull[1, 1, 2] = 0.5
    answer = pulled(shares, pull, 3.0)
    odds = (answer[0, 1] / answer[0, 0]).log() - (shares[0, 1] / shares[0, 0]).log()
    assert float(odds[1, 2]) == pytest.approx(1.5, abs=1e-5)
    odds[1, 2] = 0
    assert (odds == 0).all()
    assert torch.allclose(answer.sum(1), torch.ones(1, 4, 5))
    sure = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).repeat(1, 1, 4, 5)
    pull[1, 1, 2] = 1
    assert float(pulled(sure, pull, 6.0)[0, 1, 1, 2]) > 0.5  # certainty yields, too


def test_the_likelihood_is_of_known_voxels_only() -> None:
    shares = torch.rand(2, 3, 4, 5)
    shares[0, 2][_known()], shares[1, 2][_known()] = 0.9, 0.0
    likely = log_likelihood(shares, _one_hot(), _known())
    assert float(likely[0]) == pytest.approx(-0.10536, abs=1e-4)
    assert float(likely[1]) < -9
    nothing = torch.zeros(4, 5, dtype=torch.bool)
    assert torch.equal(log_likelihood(shares, _one_hot(), nothing), torch.zeros(2))


def test_a_move_is_against_the_gradient_and_bounded() -> None:
    schedule, t = noise_schedule("linear", 50), torch.tensor([30, 30])
    x, gradient = torch.randn(2, 1, 4, 5), torch.randn(2, 1, 4, 5)
    moved = moved_down(x, gradient, t, 2.0, schedule) - x
    sigma = (1 - float(schedule.alpha_bar[30])) ** 0.5
    largest = moved.abs().amax((1, 2, 3))
    assert torch.allclose(largest, torch.full((2,), 2 * sigma), atol=1e-5)
    assert (moved * gradient <= 1e-6).all()
    still = moved_down(x, torch.zeros_like(x), t, 2.0, schedule)
    assert torch.equal(still, x)


def test_unlikely_members_do_not_survive() -> None:
    weights = torch.tensor([0.0, -50.0, 0.0, -50.0])
    chosen = survivors(weights, 4, generator(0))
    assert chosen == [0, 0, 2, 2]
    again = survivors(weights, 4, generator(0))
    assert again == chosen
    even = survivors(torch.zeros(6), 6, generator(3))
    assert even == list(range(6))
    some = {tuple(survivors(torch.zeros(8), 3, generator(s))) for s in range(9)}
    assert len(some) > 1


HOW = {"gain": 4.0, "shrink": 0.03, "rounds": 3}


def _edge(at: int, sure: float = 0.9) -> torch.Tensor:
    """Shares (1, 2, 5, 4, 12) of a class that begins at a column."""
    inside = torch.full((5, 4, 12), 1 - sure)
    inside[..., at:] = sure
    return torch.stack([1 - inside, inside])[None]


def test_a_regression_moves_an_edge_in_the_slices_beside_a_known_one() -> None:
    truth, known = _edge(8, 1.0)[0], torch.zeros(5, 4, 12, dtype=torch.bool)
    known[2] = True
    moved = regressed(_edge(6), truth, known, (1.5, 1.5, 1.5), **HOW)
    for plane in (1, 2, 3):
        assert torch.equal(moved[0, :, plane].argmax(0), truth[:, plane].argmax(0))
    assert torch.allclose(moved.sum(1), torch.ones(1, 5, 4, 12))


def test_a_regression_moves_nothing_where_nothing_is_wrong_or_known() -> None:
    shares, known = _edge(6), torch.zeros(5, 4, 12, dtype=torch.bool)
    same = regressed(shares, _edge(8, 1.0)[0], known, (1.5, 1.5, 1.5), **HOW)
    assert torch.allclose(same, shares, atol=1e-6)
    known[2] = True
    right = regressed(shares, _edge(6, 1.0)[0], known, (1.5, 1.5, 1.5), **HOW)
    assert torch.equal(right.argmax(1), shares.argmax(1))


def test_a_regression_is_not_felt_far_away() -> None:
    shares, known = _edge(6), torch.zeros(5, 4, 12, dtype=torch.bool)
    known[0] = True
    moved = regressed(shares, _edge(8, 1.0)[0], known, (0.8, 0.8, 0.8), **HOW)
    assert torch.allclose(moved[0, :, 4], shares[0, :, 4], atol=1e-3)
