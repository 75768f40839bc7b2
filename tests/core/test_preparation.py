from __future__ import annotations

from itertools import permutations, product

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
