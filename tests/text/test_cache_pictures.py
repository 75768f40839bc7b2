"""Small pictures of what is behind a key."""

from __future__ import annotations

import numpy as np
import pytest

from diffseg.segmenters.text.cache import CachedImage
from diffseg.segmenters.text.cache_pictures import pictured, thumbnail


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((3, 96, 48), (48, 24, 3)),
        ((1, 30, 20), (30, 20)),
        ((2, 10, 480), (1, 48)),
    ],
)
def test_the_longer_side_is_small(
    shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    found = thumbnail(np.zeros(shape, np.float32))
    assert found.shape == wanted
    assert found.dtype == np.uint8


def test_it_shows_what_is_there() -> None:
    plane = np.zeros((3, 96, 96), np.float32)
    plane[0, :48], plane[1, 48:], plane[2] = 1.0, 2.0, np.nan
    found = thumbnail(plane)
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[-1, -1].tolist() == [0, 255, 0]
    mean = thumbnail(np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32))
    assert (mean == 128).all()


def test_one_image_is_kept_once() -> None:
    planes = [np.full((1, 4, 4), level, np.float32) for level in (0.0, 1.0, 0.0)]
    images = tuple(CachedImage(f"i{n}", source=f"{n}.png") for n in range(3))
    named, pictures = pictured(images, planes)
    assert len(pictures) == 2
    assert named[0].thumbnail == named[2].thumbnail != named[1].thumbnail
    assert [one.source for one in named] == ["0.png", "1.png", "2.png"]
    assert pictures[named[1].thumbnail].tolist() == [[255] * 4] * 4
