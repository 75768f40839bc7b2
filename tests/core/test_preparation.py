from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from diffseg.domain import Intensity, Preparation, Region
from diffseg.errors import UserError
from diffseg.segmenters.intensity import finite, normalise
from diffseg.segmenters.preparation import frame_of, prepare, resample, restore
from diffseg.volume import Affine, Grid

CODES = tuple(
    "".join(pair[flip] for pair, flip in zip(order, flips, strict=True))
    for order in permutations(("RL", "AP", "SI"))
    for flips in product((0, 1), repeat=3)
)
INTENSITY = Intensity()


def _grid(shape: tuple[int, int, int], spacing: tuple[float, ...] = (1, 1, 1)) -> Grid:
    return Grid(shape, Affine.from_parts(spacing, origin=(5.0, -3.0, 2.0)))


def _one_hot(classes: np.ndarray, k: int) -> np.ndarray:
    return np.moveaxis(np.eye(k, dtype=np.float32)[classes], -1, 0)


def _smooth(shape: tuple[int, int, int], seed: int, sigma: float = 4) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    field = ndimage.gaussian_filter(noise, sigma)
    field -= field.min()
    return (field / field.max()).astype(np.float32)


def test_48_orientations_are_48() -> None:
    assert len(set(CODES)) == 48


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    code=st.sampled_from(CODES),
    data=st.data(),
)
def test_restore_after_prepare_is_the_identity_on_the_grid(
    seed: int, shape: tuple[int, int, int], code: str, data: st.DataObject
) -> None:
    starts = [data.draw(st.integers(0, n - 1)) for n in shape]
    ranges = [
        (a, data.draw(st.integers(a + 1, n)))
        for a, n in zip(starts, shape, strict=True)
    ]
    region = Region(*ranges)
    classes = np.random.default_rng(seed).integers(0, 3, shape)
    frame = frame_of(_grid(shape), region, Preparation(orientation=code))
    # A network that answers with what it sees: classes go in, classes come out.
    window = Intensity(kind="window", low=0, high=2)
    image = prepare(classes[None], frame, window).image
    assert image.flags.c_contiguous
    probability = _one_hot(np.rint(image[0] + 1).astype(int), 3)
    back = restore(probability, frame)
    assert np.array_equal(back, _one_hot(classes[region.slices], 3))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    spacing=st.tuples(*[st.floats(0.6, 1.7)] * 3),
    code=st.sampled_from(CODES),
)
def test_a_smooth_field_survives_resampling(
    seed: int, spacing: tuple[float, float, float], code: str
) -> None:
    shape = (24, 26, 22)
    field = _smooth(shape, seed)
    region = Region((0, 24), (0, 26), (0, 22))
    preparation = Preparation(orientation=code, spacing_mm=(1.0, 1.0, 1.0))
    frame = frame_of(_grid(shape, spacing), region, preparation)
    window = Intensity(kind="window", low=0, high=1)
    there = (prepare(field[None], frame, window).image[0] + 1) / 2
    back = restore(np.stack([1 - there, there]), frame)
    assert back.shape == (2, *shape)
    np.testing.assert_allclose(back.sum(axis=0), 1, atol=1e-5)
    inside = (slice(3, -3),) * 3
    np.testing.assert_allclose(back[1][inside], field[inside], atol=0.06)


def test_resampling_keeps_the_centroid() -> None:
    zz, yy, xx = np.ogrid[:30, :30, :30]
    blob = np.exp(-((zz - 12) ** 2 + (yy - 17) ** 2 + (xx - 14) ** 2) / 18.0)
    grid = _grid((30, 30, 30), (0.7, 1.0, 1.6))
    frame = frame_of(
        grid, Region((0, 30), (0, 30), (0, 30)), Preparation(spacing_mm=(1, 1, 1))
    )
    coarse = resample(blob.astype(np.float32), frame.shape, frame.step)
    here = np.array(ndimage.center_of_mass(coarse))
    mapped = [
        (n - 1) / 2 + step * (c - (m - 1) / 2)
        for c, n, m, step in zip(
            here, (30, 30, 30), frame.shape, frame.step, strict=True
        )
    ]
    np.testing.assert_allclose(mapped, (12, 17, 14), atol=0.05)


def test_one_percent_of_spacing_is_no_resampling() -> None:
    region = Region((0, 20), (0, 20), (0, 20))
    wanted = Preparation(spacing_mm=(1, 1, 1))
    assert not frame_of(_grid((20,) * 3, (1.009, 1, 0.991)), region, wanted).resampled
    frame = frame_of(_grid((20,) * 3, (1.05, 1, 1)), region, wanted)
    assert frame.shape == (20, 20, 21)
    assert frame.step[:2] == (1, 1)


def test_planes_of_a_2d_network_are_not_resampled() -> None:
    region = Region((0, 5), (0, 20), (0, 20))
    wanted = Preparation(dims=2, spacing_mm=(1, 1, 1))
    frame = frame_of(_grid((5, 20, 20), (0.5, 0.5, 6.5)), region, wanted)
    assert frame.shape == (5, 10, 10)


def test_no_spacing_is_taken_as_stored() -> None:
    grid = Grid((4, 5, 6), Affine.identity(), has_spacing=False)
    wanted = Preparation(orientation="SAL", spacing_mm=(3, 3, 3))
    frame = frame_of(grid, Region((0, 4), (0, 5), (0, 6)), wanted)
    assert frame.turn.identity
    assert not frame.resampled
    assert frame.spacing_mm is None


def test_a_spacing_that_cannot_be_is_refused() -> None:
    region = Region((0, 100), (0, 100), (0, 100))
    with pytest.raises(UserError, match="check the image's header"):
        frame_of(
            _grid((100,) * 3, (90, 90, 90)), region, Preparation(spacing_mm=(1,) * 3)
        )


def test_zscore_and_clip() -> None:
    image = np.random.default_rng(0).normal(40, 7, (2, 9, 9, 9)).astype(np.float32)
    image[0, 0, 0, 0] = 1e4
    out = normalise(image, INTENSITY)
    assert out[0].max() == pytest.approx(5.0)
    assert out[1].mean() == pytest.approx(0, abs=1e-5)
    assert out[1].std() == pytest.approx(1, abs=1e-5)
    # Scale and offset of the scanner do not matter.
    np.testing.assert_allclose(normalise(image * 8 - 3, INTENSITY), out, atol=1e-3)


def test_window() -> None:
    image = np.array([[-1000.0, -100, 0, 100, 900]], dtype=np.float32)
    out = normalise(image, Intensity(kind="window", low=-100, high=100))
    np.testing.assert_allclose(out, [[-1, -1, 0, 1, 1]])
    with pytest.raises(UserError, match="window"):
        normalise(image, Intensity(kind="window"))


def test_tissue_looks_the_same_at_any_gain() -> None:
    source = np.random.default_rng(0)
    image = source.uniform(0, 4, (1, 1, 40, 40)).astype(np.float32)
    image[..., 8:32, 8:32] = source.uniform(90, 110, (24, 24))
    image[..., 15:20, 15:20] = 160
    image[..., 8:10, 8:32] = 900  # fat near the coil
    wanted = normalise(image, Intensity(kind="tissue"))
    assert wanted[..., 30, 20:30].mean() == pytest.approx(0, abs=0.1)
    assert wanted[..., :6, :].mean() == pytest.approx(-1, abs=0.05)
    assert wanted[..., 17, 17] == pytest.approx(0.6, abs=0.1)
    assert wanted.max() == 2  # the fat, clipped
    louder = normalise(image * 7, Intensity(kind="tissue"))
    np.testing.assert_allclose(louder, wanted, atol=1e-5)


@pytest.mark.parametrize("value", [0, 5])
def test_tissue_of_an_image_without_air_or_with_nothing(value: float) -> None:
    flat = np.full((1, 1, 8, 8), value, np.float32)
    assert (normalise(flat, Intensity(kind="tissue")) == -1).all()
    flat[..., 0, 0] = value + 1  # and where all but a voxel are alike
    found = normalise(flat, Intensity(kind="tissue"))
    assert np.isfinite(found).all()
    flat[..., 0, 0] = value - 1
    assert np.isfinite(normalise(flat, Intensity(kind="tissue"))).all()


def test_nan_and_infinite_voxels_become_the_median_and_are_told() -> None:
    image = np.arange(27, dtype=np.float64).reshape(1, 3, 3, 3)
    image[0, 0, 0, :] = np.nan, np.inf, 1e300
    region = Region((0, 3), (0, 3), (0, 3))
    prepared = prepare(
        image, frame_of(_grid((3, 3, 3)), region, Preparation()), INTENSITY
    )
    assert np.isfinite(prepared.image).all()
    assert any("3 voxels (11 %)" in line for line in prepared.warnings)
    image[0, 0, 0, 2] = np.nan
    filled, count = finite(image.astype(np.float32))
    assert count == 3
    assert filled[0, 0, 0, 0] == 14.5
    with pytest.raises(UserError, match="every voxel is NaN"):
        finite(np.full((1, 2, 2, 2), np.nan, dtype=np.float32))


def _warnings(image: np.ndarray, intensity: Intensity = INTENSITY) -> str:
    shape = image.shape
    region = Region((0, shape[0]), (0, shape[1]), (0, shape[2]))
    frame = frame_of(_grid(shape), region, Preparation())
    return " / ".join(prepare(image[None], frame, intensity).warnings)


def test_intensities_to_doubt() -> None:
    ordinary = np.random.default_rng(0).normal(size=(12, 12, 12))
    assert _warnings(ordinary) == ""
    assert "every voxel is 7" in _warnings(np.full((4, 4, 4), 7.0))
    extreme = ordinary.copy()
    extreme[0, 0, :3] = 1e5
    assert "never saw such a range" in _warnings(extreme)
    bone = Intensity(kind="window", low=300, high=1500)
    assert "outside the model's window" in _warnings(ordinary, bone)
    assert _warnings(ordinary * 200 + 800, bone) == ""


# Size


SIZED = Preparation(dims=2, size=(16, 24))


@pytest.mark.parametrize("has_spacing", [True, False])
@pytest.mark.parametrize("shape", [(3, 16, 24), (3, 50, 31), (1, 9, 80)])
def test_every_slice_is_brought_to_the_size_and_back(
    shape: tuple[int, int, int], has_spacing: bool
) -> None:
    grid = Grid(shape, Affine.identity(), has_spacing=has_spacing, has_sides=False)
    frame = frame_of(grid, Region(*((0, n) for n in shape)), SIZED)
    assert frame.shape == (shape[0], 16, 24)
    assert frame.step[0] == 1
    assert frame.resampled == (shape[1:] != (16, 24))
    smooth = _smooth(shape, 0, 6)
    prepared = prepare(smooth[None], frame, Intensity(kind="range"))
    assert prepared.image.shape == (1, *frame.shape)
    odds = np.stack([1 - prepared.image[0], prepared.image[0]])
    back = restore(odds, frame)
    assert back.shape == (2, *shape)
    np.testing.assert_allclose(back.sum(0), 1, atol=1e-5)
    inside = (slice(None), slice(2, -2), slice(3, -3))
    first, second = smooth[inside], back[1][inside]
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.98


def test_a_size_makes_objects_neither_larger_nor_moves_them() -> None:
    """A square of an eighth of the picture stays an eighth of it, in its middle."""
    shape = (1, 64, 64)
    square = np.zeros(shape, np.float32)
    square[0, 16:48, 24:40] = 1
    preparation = Preparation(dims=2, size=(32, 32))
    grid = Grid(shape, Affine.identity(), has_spacing=False, has_sides=False)
    frame = frame_of(grid, Region(*((0, n) for n in shape)), preparation)
    small = prepare(square[None], frame, Intensity(kind="range")).image[0]
    assert (small > 0.5).mean() == pytest.approx(0.125, abs=0.01)
    centre = ndimage.center_of_mass(small)
    np.testing.assert_allclose(centre, (0, 15.5, 15.5), atol=0.05)
    back = restore(np.stack([1 - small, small]), frame)[1]
    assert ((back > 0.5) == (square > 0.5)).mean() > 0.97


def test_a_size_is_anti_aliased() -> None:
    lines = np.zeros((1, 64, 96), np.float32)
    lines[:, ::2] = 1
    frame = frame_of(
        _grid(lines.shape), Region((0, 1), (0, 64), (0, 96)), SIZED
    )  # four lines become one
    small = prepare(lines[None], frame, Intensity(kind="range", low=0, high=1)).image
    assert np.abs(small - 0.5).max() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"dims": 3}, "2 dims"), ({"spacing_mm": (1, 1, 1)}, "exclude"),
     ({"size": (0, 4)}, "2 dims")],
)  # fmt: skip
def test_a_size_that_makes_no_sense_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Preparation(**{"dims": 2, "size": (8, 8), **changes})


# Intensities of published networks


def test_a_range_is_given_or_the_images_own() -> None:
    image = np.array([0, 51, 255], np.float32).reshape(1, 1, 1, 3)
    eight_bit = Intensity(kind="range", low=0, high=255)
    np.testing.assert_allclose(normalise(image, eight_bit).ravel(), [0, 0.2, 1])
    signed = eight_bit.model_copy(update={"to": (-1.0, 1.0)})
    np.testing.assert_allclose(normalise(image, signed).ravel(), [-1, -0.6, 1])
    np.testing.assert_allclose(normalise(2 * image, eight_bit).ravel(), [0, 0.4, 1])
    both = np.concatenate([image, 10 + 3 * image])
    own = normalise(both, Intensity(kind="range"))
    np.testing.assert_allclose(own[0], own[1], atol=1e-6)
    np.testing.assert_allclose(own[0].ravel(), [0, 0.2, 1], atol=1e-6)


@pytest.mark.parametrize("to", [(0.0, 1.0), (-1.0, 1.0)])
def test_a_constant_image_has_a_range_too(to: tuple[float, float]) -> None:
    flat = np.full((2, 1, 3, 3), 7, np.float32)
    own = normalise(flat, Intensity(kind="range", to=to))
    np.testing.assert_array_equal(own, to[0])
    given = normalise(flat, Intensity(kind="range", low=0, high=14, to=to))
    np.testing.assert_allclose(given, (to[0] + to[1]) / 2)


def test_a_fixed_mean_and_deviation_for_each_channel() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)
    intensity = Intensity(kind="standard", mean=(0, 4, 8), deviation=(1, 2, 4))
    made = normalise(image, intensity)
    np.testing.assert_allclose(made[1].ravel(), [0, 0.5, 1, 1.5])
    np.testing.assert_allclose(made[2].ravel(), [0, 0.25, 0.5, 0.75])
    with pytest.raises(UserError, match="means of 3 channels, its image has 1"):
        normalise(image[:1], intensity)


@pytest.mark.parametrize(
    "intensity",
    [{"kind": "range", "low": 0}, {"kind": "standard"},
     {"kind": "standard", "mean": (1,), "deviation": (0,)}],
)  # fmt: skip
def test_an_intensity_that_is_not_whole_is_refused(
    intensity: dict[str, object],
) -> None:
    with pytest.raises(ValueError, match="intensity"):
        Intensity(**intensity)


def test_an_image_of_another_range_is_doubted() -> None:
    frame = frame_of(_grid((1, 8, 8)), Region((0, 1), (0, 8), (0, 8)), Preparation())
    ramp = np.linspace(0, 1, 64).reshape(1, 1, 8, 8)
    eight_bit = Intensity(kind="range", low=0, high=255)
    assert prepare(255 * ramp, frame, eight_bit).warnings == ()
    for factor in (1, 65535):
        (line,) = prepare(factor * ramp, frame, eight_bit).warnings
        assert "expects 0 to 255" in line


# Grey and colour


COLOUR = Preparation(channels=("red", "green", "blue"))


def _prepared(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    grid = _grid(image.shape[1:])
    frame = frame_of(grid, Region(*((0, n) for n in image.shape[1:])), preparation)
    return prepare(image, frame, Intensity(kind="range", low=0, high=255)).image


def test_a_grey_picture_stands_for_red_green_and_blue() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (1, 2, 5, 6), dtype=np.uint8)
    made = _prepared(grey, COLOUR)
    assert made.shape == (3, 2, 5, 6)
    for channel in made:
        np.testing.assert_array_equal(channel, _prepared(grey, Preparation())[0])


def test_luminance_is_taken_only_where_the_card_says_so() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (3, 1, 5, 6), dtype=np.uint8)
    made = _prepared(colour, Preparation(channels=("luminance",)))
    expected = np.tensordot([0.299, 0.587, 0.114], colour / 255, axes=1)
    np.testing.assert_allclose(made[0], expected, atol=1e-5)
    grey = colour[:1]
    np.testing.assert_array_equal(
        _prepared(grey, Preparation(channels=("luminance",))),
        _prepared(grey, Preparation()),
    )
    with pytest.raises(UserError, match=r"3 channels.*wants 1") as caught:
        _prepared(colour, Preparation())
    assert "luminance" in str(caught.value)
    with pytest.raises(UserError, match="join files"):
        _prepared(colour[:2], COLOUR)


def test_what_is_done_to_the_channels_is_told(toys: Any) -> None:
    from diffseg.domain import Request
    from diffseg.segmenters.checks import check_request

    grey, colour = toys.volume(), toys.volume(channels=3)
    card = toys.card(3, channels=("red", "green", "blue"))
    (line,) = check_request(card, Request(grey))
    assert line == "case is grey: its one channel stands for red, green and blue"
    assert check_request(card, Request(colour)) == ()
    (line,) = check_request(toys.card(3, channels=("luminance",)), Request(colour))
    assert "luminance" in line
    with pytest.raises(UserError, match="model toy wants 1") as caught:
        check_request(toys.card(3), Request(colour))
    assert "\n" not in str(caught.value)
