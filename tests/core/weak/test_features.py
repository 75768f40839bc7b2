"""Features of pixels, against maps brought to full size and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion import noise_schedule
from diffseg.domain.slice_labels import ABSENT, PRESENT
from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.noisy_classifier import NoisyClassifier
from diffseg.segmenters.weak.features import (
    ClassifierMaps,
    CleanMaps,
    DiffusionMaps,
    MapSource,
    gathered,
    mean_maps,
)

SIZE = (12, 20)


def naive(maps: Sequence[Tensor]) -> Tensor:
    """Every channel of one slice at full size (D, Y, X)."""
    whole = [functional.interpolate(m[None], SIZE, mode="bilinear")[0] for m in maps]
    return torch.cat(whole)


def test_gathered_features_are_those_of_the_whole_map() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(5, 3, 5), torch.randn(2, 6, 10), torch.randn(3, *SIZE)]
    rows, columns = torch.meshgrid(torch.arange(12), torch.arange(20), indexing="ij")
    points = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    found = gathered(maps, points, SIZE)
    torch.testing.assert_close(found, naive(maps).flatten(1).T, rtol=1e-4, atol=1e-5)
    some = points[[3, 77, 239]]
    torch.testing.assert_close(gathered(maps, some, SIZE), found[[3, 77, 239]])


@dataclass
class Levels:
    """Maps that say at which level and by which noise they were asked for."""

    noisy: bool = True
    widths: tuple[int, ...] = (1, 1)
    asked: list[int] = field(default_factory=list)

    def __call__(
        self, image: Tensor, states: Tensor, timestep: int, noise: Tensor
    ) -> list[Tensor]:
        self.asked.append(timestep)
        return [image[:, :1] * timestep, noise[:, :1, ::2, ::2]]


def test_maps_are_averaged_over_noise_levels() -> None:
    image, states = torch.ones(2, 1, 4, 4), torch.ones(2, 1, dtype=torch.long)
    fields = [torch.full((2, 1, 4, 4), float(i)) for i in range(3)]
    source = Levels()
    one, other = mean_maps(source, image, states, (10, 40, 100), fields.__getitem__)
    torch.testing.assert_close(one, torch.full((2, 1, 4, 4), 50.0))
    torch.testing.assert_close(other, torch.full((2, 1, 2, 2), 1.0))
    assert source.asked == [10, 40, 100]


def test_a_source_that_sees_no_noise_is_asked_once() -> None:
    source = Levels(noisy=False)
    image, states = torch.ones(1, 1, 4, 4), torch.ones(1, 1, dtype=torch.long)
    one, _ = mean_maps(
        source, image, states, (10, 40), lambda _: torch.zeros(1, 1, 4, 4)
    )
    assert source.asked == [10]
    torch.testing.assert_close(one, torch.full((1, 1, 4, 4), 10.0))


def sources() -> list[MapSource]:
    torch.manual_seed(0)
    small = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": ()}
    unet = ClassUNet(image_channels=2, heads=1, **small).eval()
    classifier = NoisyClassifier(
        image_channels=2, size=16, head_channels=16, **small
    ).eval()
    torch.nn.init.normal_(unet.output_blocks[0][0].out_layers[3].weight)
    schedule = noise_schedule("linear")
    return [
        DiffusionMaps(unet, schedule, (0, 2)),
        ClassifierMaps(classifier, schedule, (1, 3)),
        CleanMaps(lambda x: [x, x[:, :, ::2, ::2]], (2, 2)),
    ]


@pytest.mark.parametrize("which", range(3))
def test_every_source_gives_maps_of_its_widths(which: int) -> None:
    source = sources()[which]
    image = torch.randn(2, 2, 16, 16)
    states = torch.tensor([[PRESENT], [ABSENT]])
    with torch.no_grad():
        maps = mean_maps(source, image, states, (50, 150), lambda _: image * 0 + 0.1)
        alone = mean_maps(
            source, image[1:], states[1:], (50, 150), lambda _: image[1:] * 0 + 0.1
        )
    assert tuple(one.shape[1] for one in maps) == source.widths
    for both, one in zip(maps, alone, strict=True):
        # A batch is summed in another order: float32, over hundreds of terms.
        torch.testing.assert_close(both[1:], one, rtol=1e-3, atol=1e-4)


def test_the_label_of_a_slice_conditions_its_diffusion_features() -> None:
    source, image = sources()[0], torch.randn(1, 2, 16, 16)
    with torch.no_grad():
        given = [
            source(image, torch.tensor([[state]]), 50, image)[0]
            for state in (PRESENT, ABSENT)
        ]
    assert not torch.equal(*given)
