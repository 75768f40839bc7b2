"""Pseudo masks: none but classes that are there, and a band that nobody learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffseg.errors import UserError
from diffseg.segmenters.text.pseudo_masks import IGNORE, pseudo_masks, with_background

MAPS = torch.rand(3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
PRESENT = torch.tensor([[1, 1, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)


def test_background_is_what_is_left_by_the_highest_class_that_is_there() -> None:
    found = with_background(MAPS, PRESENT)
    assert found.shape == (3, 4, 4, 5)
    torch.testing.assert_close(found[0, 0], 1 - MAPS[0].amax(0))
    torch.testing.assert_close(found[1, 0], 1 - MAPS[1, 1])
    assert not found[1, [1, 3]].any()
    assert bool((found[2, 0] == 1).all())


@pytest.mark.parametrize("band", [None, (0.3, 0.8), (0.6, 0.7), (0.5, 0.5)])
def test_masks_pixel_by_pixel(band: tuple[float, float] | None) -> None:
    found = pseudo_masks(MAPS, PRESENT, band)
    low, high = band or (0.5, 0.5)
    for (image, y, x), value in np.ndenumerate(found.numpy()):
        there = [
            (float(MAPS[image, k, y, x]), k + 1) for k in range(3) if PRESENT[image, k]
        ]
        best, index = max(there, default=(0.0, 0))
        wanted = 0 if best <= low else index if best > high else IGNORE
        assert value == wanted


def test_without_a_band_it_is_the_highest_of_all_channels() -> None:
    torch.testing.assert_close(
        pseudo_masks(MAPS, PRESENT), pseudo_masks(MAPS, PRESENT, (0.5, 0.5))
    )
    half = torch.full((1, 2, 1, 1), 0.5)
    both = torch.ones(1, 2, dtype=torch.bool)
    assert pseudo_masks(half, both).item() == 0
    assert pseudo_masks(half, both, (0.5, 0.5)).item() == 0
    assert pseudo_masks(half + 0.1, both).item() == 1


def test_maps_of_any_number_of_dimensions() -> None:
    flat = pseudo_masks(MAPS.flatten(2), PRESENT)
    torch.testing.assert_close(flat, pseudo_masks(MAPS, PRESENT).flatten(1))


def test_an_image_that_shows_nothing_is_background_whatever_the_band() -> None:
    assert not pseudo_masks(MAPS[2:], PRESENT[2:], (0.0, 1.0)).any()
    high = torch.ones(1, 1, 2, 2)
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    assert not pseudo_masks(high, nothing, (0.0, 0.5)).any()


@pytest.mark.parametrize("band", [(0.6, 0.4), (-0.1, 0.4), (0.1, 1.2)])
def test_a_band_upside_down_is_refused(band: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="give two numbers"):
        pseudo_masks(MAPS, PRESENT, band)
