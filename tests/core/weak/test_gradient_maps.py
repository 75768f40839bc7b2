"""The mean gradient map against finite differences of the score."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffseg.diffusion import noise_schedule
from diffseg.diffusion.gradient_maps import image_gradient, mean_gradient_map

SCHEDULE = noise_schedule("linear")


def score(x: Tensor, t: Tensor) -> Tensor:
    """A smooth log-probability: not linear, and another at every noise level."""
    weight = torch.linspace(-1, 1, x[0].numel(), dtype=x.dtype).view_as(x[0])
    inner = (x * weight).flatten(1).sum(1) + 0.3 * (x**2).flatten(1).sum(1)
    return torch.nn.functional.logsigmoid(inner * (1 + t.to(x.dtype) / 500))


def example() -> tuple[Tensor, list[Tensor]]:
    source = torch.Generator().manual_seed(0)
    shape = (2, 2, 3, 4)
    image = 0.3 * torch.randn(shape, generator=source, dtype=torch.float64)
    noise = [
        torch.randn(shape, generator=source, dtype=torch.float64) for _ in range(6)
    ]
    return image, noise


def finite_differences(x: Tensor, t: Tensor, step: float = 1e-6) -> Tensor:
    found = torch.zeros_like(x)
    for index in range(x[0].numel()):
        for image in range(len(x)):
            up, down = x.clone(), x.clone()
            up[image].view(-1)[index] += step
            down[image].view(-1)[index] -= step
            change = score(up, t)[image] - score(down, t)[image]
            found[image].view(-1)[index] = change / (2 * step)
    return found


def test_the_gradient_is_that_of_finite_differences() -> None:
    image, _ = example()
    t = torch.tensor([50, 400])
    wanted = finite_differences(image, t)
    torch.testing.assert_close(image_gradient(score, image, t), wanted)


@pytest.mark.parametrize("sign", ["absolute", "positive"])
@pytest.mark.parametrize("equal", [False, True])
def test_the_mean_map_is_the_mean_over_levels_and_draws(sign: str, equal: bool) -> None:
    image, noise = example()
    levels, draws = (100, 300, 500), 2
    total = torch.zeros_like(image[:, 0])
    for place, level in enumerate(levels):
        bar = SCHEDULE.alpha_bar[level]
        for draw in range(draws):
            x = bar.sqrt() * image + (1 - bar).sqrt() * noise[place * draws + draw]
            g = finite_differences(x, torch.full((2,), level))
            size = (g.abs() if sign == "absolute" else g.clamp(min=0)).sum(1)
            if equal:
                size = size / size.mean(dim=(1, 2), keepdim=True)
            total += size / 6
    found = mean_gradient_map(
        score,
        image,
        SCHEDULE,
        levels,
        noise.__getitem__,
        draws=draws,
        sign=sign,  # type: ignore[arg-type]
        equal=equal,
    )
    torch.testing.assert_close(found, total, rtol=1e-5, atol=1e-7)


def test_images_of_a_batch_do_not_meet() -> None:
    image, noise = example()
    both = mean_gradient_map(score, image, SCHEDULE, (200,), noise.__getitem__)
    for i in range(2):
        alone = mean_gradient_map(
            score,
            image[i : i + 1],
            SCHEDULE,
            (200,),
            lambda d, i=i: noise[d][i : i + 1],
        )
        torch.testing.assert_close(alone[0], both[i])


def test_it_works_where_gradients_are_off_and_leaves_the_image_alone() -> None:
    image, _ = example()
    with torch.inference_mode():
        inside = image.clone()
        found = image_gradient(score, inside, torch.tensor([1, 2]))
    assert found.abs().sum() > 0
    assert not image.requires_grad
