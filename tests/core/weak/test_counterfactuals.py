"""The two baselines by changed images, against chains worked by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from diffseg.diffusion import noise_schedule
from diffseg.diffusion.counterfactuals import (
    anomaly_map,
    ddim_step,
    encoded,
    levels_down,
    perturbed_condition_map,
)

SCHEDULE = noise_schedule("linear")


def image(channels: int = 2) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, channels, 3, 4, dtype=torch.float64)


def test_levels_go_down_evenly_to_the_clean_image() -> None:
    assert levels_down(399, 4) == (399, 299, 199, 99, -1)
    assert levels_down(3, 4) == (3, 2, 1, 0, -1)
    with pytest.raises(ValueError, match="steps is 5"):
        levels_down(3, 5)


def test_a_step_is_equation_12_without_noise() -> None:
    x, x0 = image(), 0.5 * image()
    a, b = (SCHEDULE.alpha_bar[t] for t in (400, 200))
    eps = (x - a.sqrt() * x0) / (1 - a).sqrt()
    wanted = b.sqrt() * x0 + (1 - b).sqrt() * eps
    torch.testing.assert_close(ddim_step(x, x0, 400, 200, SCHEDULE), wanted)
    torch.testing.assert_close(ddim_step(x, x0, 400, -1, SCHEDULE), x0)


def test_the_map_adds_up_how_the_chains_part_at_every_step() -> None:
    x, noise, levels, share = image(), image().flip(0), levels_down(299, 3), 0.95
    shift = torch.zeros_like(x)
    shift[:, :, 1, 2] = 0.01

    def denoise(noisy: Tensor, t: Tensor) -> Tensor:
        return 0.9 * noisy

    def perturbed(noisy: Tensor, t: Tensor) -> Tensor:
        return 0.9 * noisy - shift

    found = perturbed_condition_map(
        denoise, perturbed, x, noise, SCHEDULE, levels, share=share
    )
    bar = SCHEDULE.alpha_bar
    one = bar[299].sqrt() * x + (1 - bar[299]).sqrt() * noise
    other, total = one, torch.zeros_like(x)
    for t, below in ((299, 199), (199, 99), (99, None)):
        both = []
        for chain, x0 in ((one, 0.9 * one), (other, 0.9 * other - shift)):
            eps = (chain - bar[t].sqrt() * x0) / (1 - bar[t]).sqrt()
            down = x0
            if below is not None:
                down = bar[below].sqrt() * x0 + (1 - bar[below]).sqrt() * eps
            both.append(down)
        one, other = both
        total += (one - other) / 0.05
    torch.testing.assert_close(found, total.sum(1))
    assert float(found[:, 1, 2].min()) > 0  # with its sign
    rest = torch.ones(3, 4, dtype=torch.bool)
    rest[1, 2] = False
    assert not found[:, rest].any()


def test_the_same_condition_twice_finds_nothing() -> None:
    found = perturbed_condition_map(
        lambda x, t: 0.5 * x,
        lambda x, t: 0.5 * x,
        image(),
        image(),
        SCHEDULE,
        levels_down(199, 5),
        share=0.5,
    )
    assert not found.any()


def perfect(x: Tensor) -> object:
    """A denoiser that knows the image."""
    return lambda noisy, t: x.expand_as(noisy)


def test_an_image_is_encoded_so_that_the_chain_comes_back() -> None:
    x, levels = image(), levels_down(499, 50)

    def denoise(noisy: Tensor, t: Tensor) -> Tensor:
        # The best estimate of standard normal images.
        a, _ = SCHEDULE.signal_and_noise(t, noisy)
        return a * noisy

    noisy = encoded(denoise, x, SCHEDULE, levels)
    assert float((noisy - x).abs().mean()) > 0.001
    back = noisy
    for level, below in pairwise(levels):
        t = torch.full((2,), level)
        back = ddim_step(back, denoise(back, t), level, below, SCHEDULE)
    assert float((back - x).abs().max()) < 0.1 * float(x.abs().max())


def test_without_guidance_a_perfect_denoiser_finds_no_anomaly() -> None:
    x = image()
    for noise in (None, image().flip(0)):
        found = anomaly_map(
            perfect(x),  # type: ignore[arg-type]
            lambda noisy, t: noisy.sum((1, 2, 3)),
            x,
            SCHEDULE,
            levels_down(299, 3),
            scale=0.0,
            noise=noise,
        )
        torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-9, rtol=0)


def test_guidance_is_wollebs_change_of_the_noise() -> None:
    x, noise, scale, level = image(), image().flip(0), 3.0, 199
    weight = torch.zeros_like(x)
    weight[:, 0, 2, 1] = 2.0
    found = anomaly_map(
        perfect(x),  # type: ignore[arg-type]
        lambda noisy, t: (weight * noisy).sum((1, 2, 3)),
        x,
        SCHEDULE,
        (level, -1),
        scale=scale,
        noise=noise,
    )
    # x0 from eps - sigma s g is x + sigma^2 s g / a.
    bar = SCHEDULE.alpha_bar[level]
    wanted = float((1 - bar) * scale * 2.0 / bar.sqrt())
    torch.testing.assert_close(found[:, 2, 1], torch.full((2,), wanted).double())
    assert int((found > 1e-9).sum()) == 2
