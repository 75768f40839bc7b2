"""Strokes as a noun, and on a network's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffseg.domain import Preparation, Region, Request, Resampling, Strokes
from diffseg.domain.strokes import in_classes
from diffseg.engine.parcel import joined_request, split_request
from diffseg.errors import UserError
from diffseg.segmenters.constraint import Constraint, onto_frame, pull_of
from diffseg.segmenters.preparation import frame_of
from diffseg.volume import Affine, Grid

SHAPE = (3, 4, 5)


def _strokes() -> Strokes:
    dense = np.zeros(SHAPE, np.uint8)
    dense[1, 2, 3], dense[0, 1, 1], dense[2, 3, 4] = 1, 255, 2
    return Strokes.of(dense)


def test_strokes_are_sparse_and_come_back() -> None:
    strokes = _strokes()
    assert len(strokes) == 3
    assert strokes.classes.tolist() == [0, 1, 2]
    assert np.array_equal(Strokes.of(strokes.dense()).dense(), strokes.dense())
    assert strokes.box == ((0, 3), (1, 4), (1, 5))
    assert Strokes.of(np.zeros(SHAPE, np.uint8)).box is None


def test_later_strokes_hold() -> None:
    later = np.zeros(SHAPE, np.uint8)
    later[1, 2, 3], later[0, 0, 0] = 255, 1
    both = _strokes().followed_by(Strokes.of(later)).dense()
    assert (both[1, 2, 3], both[0, 0, 0], both[2, 3, 4]) == (255, 1, 2)
    assert np.count_nonzero(both) == 4


def test_a_touched_mask_becomes_strokes_and_goes_back(toys: Any) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, 0, 0], mask[1, 1, 1] = 7, 3
    where = np.zeros(SHAPE, bool)
    where[0, 0, 0] = where[2, 2, 2] = True
    strokes = Strokes.within(mask, where, toys.table)
    assert strokes.classes.tolist() == [2, 0]
    full = np.full(SHAPE, 3, np.uint8)
    onto = strokes.onto(full, toys.table)
    assert (onto[0, 0, 0], onto[2, 2, 2], onto[1, 1, 1]) == (7, 0, 3)
    assert (full == 3).all()
    with pytest.raises(UserError, match="holds 4"):
        in_classes(np.array([0, 4]), toys.table)


@pytest.mark.parametrize("voxels", [[2, 1], [1, 1], [-1, 3], [3, 60]])
def test_impossible_strokes_are_refused(voxels: list[int]) -> None:
    with pytest.raises(UserError, match="must rise within"):
        Strokes(SHAPE, np.array(voxels), np.zeros(2, np.uint8))


def test_a_request_takes_strokes_dense_and_carries_them_sparse(toys: Any) -> None:
    volume = toys.volume()
    dense = np.zeros(volume.shape, np.uint8)
    dense[1, 2, 3] = 255
    given: Any = dense
    request = Request(volume, strokes=given, initial_mask=dense * 0, noise_level=0.5)
    bare, arrays = split_request(request)
    there = joined_request(bare, arrays)
    assert there.strokes is not None
    assert there.initial_mask is not None
    assert np.array_equal(there.strokes.dense(), dense)
    assert there.resampling == Resampling()
    with pytest.raises(UserError, match="strokes lie on"):
        Request(volume, strokes=_strokes())
    with pytest.raises(UserError, match="more than 0, and 1 at most"):
        Request(volume, noise_level=1.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"way": "luck"}, "is not one of replacement, guidance"),
        ({"reach_mm": 0.0}, "more than 0"),
        ({"strength": -1.0}, "0 or more"),
        ({"particles": 0}, "1 or more"),
    ],
)
def test_options_out_of_range_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Resampling(**changes)


def test_thin_strokes_survive_a_coarser_grid() -> None:
    grid = Grid((1, 40, 40), Affine.identity())
    coarse = Preparation(dims=2, orientation=None, spacing_mm=(2.5, 2.5, 1.0))
    frame = frame_of(grid, Region((0, 1), (0, 40), (0, 40)), coarse)
    codes = np.zeros((1, 40, 40), np.uint8)
    codes[0, 3, 10:30] = 2
    lost = sum(int(onto_frame(np.roll(codes, s, 1), frame).any()) for s in range(5))
    assert lost < 5  # of some rows no voxel of the coarse grid is nearest
    for shift in range(5):
        thin = onto_frame(np.roll(codes, shift, 1), frame, thin=True)
        assert (thin == 2).sum() >= 7


def test_a_pull_falls_with_distance_and_with_likeness() -> None:
    kept = np.zeros((1, 9, 21), np.uint8)
    kept[0, 4, 10] = 1
    image = np.zeros((1, 1, 9, 21), np.float32)
    image[..., 12:] = 10.0
    given = {"reach_mm": 2.0, "contrast": 1.0}
    pull = pull_of(kept, image, 3, (5.0, 1.0, 1.0), **given)
    assert pull[1, 0, 4, 10] == 1
    assert pull[1, 0, 4, 8] == pytest.approx(np.exp(-0.5), abs=1e-4)
    assert pull[1, 0, 4, 12] < pull[1, 0, 4, 8] / 2  # looks unlike the stroke
    assert (pull[[0, 2]] == 0).all()
    wider = pull_of(kept, image, 3, (5.0, 0.5, 0.5), **given)
    assert wider[1, 0, 4, 8] > pull[1, 0, 4, 8]
    kept[0, 4, 11] = 255
    both = pull_of(kept, image, 3, None, **given)
    assert both[0, 0, 4, 10] == 0
    assert both[0, 0, 4, 11] == 1
    assert (both.sum(0) <= 1 + 1e-6).all()


@pytest.mark.parametrize("flip", [(), (2,), (0,), (0, 1)])
def test_a_flipped_image_has_its_strokes_flipped(flip: tuple[int, ...]) -> None:
    kept = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    kept[kept == 3] = 255
    pull = np.random.default_rng(1).random((3, *SHAPE)).astype(np.float32)
    planes = list(range(5, 8))
    seen = Constraint(5, kept, pull, kept % 3).seen(
        planes[::-1] if 0 in flip else planes, flip
    )
    turned = np.flip(kept, flip) if flip else kept
    assert np.array_equal(seen.known.numpy(), turned > 0)
    assert np.array_equal(seen.truth[2].numpy() > 0, turned == 2)
    axes = tuple(axis + 1 for axis in flip)
    assert np.array_equal(seen.pull.numpy(), np.flip(pull, axes) if flip else pull)
    assert seen.base is not None
    assert np.array_equal(seen.base.argmax(0).numpy(), turned % 3)
