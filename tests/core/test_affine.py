from __future__ import annotations

import pickle

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from diffseg.errors import UserError
from diffseg.volume import Affine

spacings = st.tuples(*[st.floats(0.1, 10.0)] * 3)
origins = st.tuples(*[st.floats(-300.0, 300.0)] * 3)
angles = st.tuples(*[st.floats(-180.0, 180.0)] * 3)


def _rotation(degrees: tuple[float, ...]) -> NDArray[np.float64]:
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


@settings(max_examples=20, deadline=None)
@given(spacing=spacings, origin=origins, degrees=angles)
def test_parts_come_back(spacing, origin, degrees) -> None:
    direction = _rotation(degrees)
    affine = Affine.from_parts(spacing, origin, direction)
    np.testing.assert_allclose(affine.spacing, spacing, rtol=1e-9)
    np.testing.assert_allclose(affine.origin, origin)
    np.testing.assert_allclose(affine.direction, direction, atol=1e-9)
    assert affine.is_orthogonal
    assert affine.orientation == "".join(nib.aff2axcodes(affine.matrix))


@settings(max_examples=20, deadline=None)
@given(spacing=spacings, origin=origins, degrees=angles)
def test_inverse_and_composition(spacing, origin, degrees) -> None:
    affine = Affine.from_parts(spacing, origin, _rotation(degrees))
    points = np.array([[0.0, 0, 0], [1, 2, 3], [-4, 5, 60]])
    world = affine @ points
    np.testing.assert_allclose(world, nib.affines.apply_affine(affine.matrix, points))
    np.testing.assert_allclose(affine.inverse() @ world, points, atol=1e-7)
    assert (affine @ affine.inverse()).is_close(Affine.identity(), atol=1e-7)
    by_matrix = affine @ affine.inverse().matrix
    assert isinstance(by_matrix, Affine)
    assert affine.inverse() @ world[1] == pytest.approx([1, 2, 3], abs=1e-7)


@pytest.mark.parametrize("degrees", [0.0, 7.0, 20.0, 44.0])
@pytest.mark.parametrize("turn", [np.eye(3), np.eye(3)[[2, 0, 1]]])
def test_obliqueness_is_the_angle_off_the_world_axes(degrees, turn) -> None:
    direction = _rotation((0.0, degrees, 0.0)) @ turn
    affine = Affine.from_parts((1, 2, 3), (0, 0, 0), direction)
    assert affine.obliqueness_deg == pytest.approx(degrees, abs=1e-5)


def test_lps_is_turned_to_ras() -> None:
    affine = Affine.from_lps(np.eye(4))
    assert affine.orientation == "LPS"
    np.testing.assert_array_equal(affine.matrix, np.diag([-1, -1, 1, 1]))


@pytest.mark.parametrize(
    ("matrix", "word"),
    [
        (np.diag([1.0, 0, 1, 1]), "spacing 0"),
        (np.array([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "plana"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.eye(3), "4x4"),
        (np.ones((4, 4)), "last row"),
    ],
)
def test_bad_matrices_are_refused(matrix, word) -> None:
    with pytest.raises(UserError, match=word):
        Affine(matrix)


@pytest.mark.parametrize("spacing", [(0, 1, 1), (-1, 1, 1), (np.inf, 1, 1), (1, 1)])
def test_bad_spacing_is_refused(spacing) -> None:
    with pytest.raises(UserError, match="spacing"):
        Affine.from_parts(spacing)


def test_it_is_a_value_that_stands_still() -> None:
    affine = Affine.from_parts((1, 2, 3))
    assert pickle.loads(pickle.dumps(affine)) == affine
    assert hash(affine) == hash(Affine.from_parts((1, 2, 3)))
    assert affine != Affine.identity()
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 5


def test_tiny_voxels_are_not_singular() -> None:
    assert Affine.from_parts((1e-4, 1e-4, 1e-4)).spacing == pytest.approx([1e-4] * 3)
