from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffseg.errors import UserError
from diffseg.volume import Affine, Grid, Reorientation

CODES = [
    "".join(letters)
    for order in permutations(["LR", "PA", "IS"])
    for letters in product(*order)
]
flags = st.booleans()
turns = st.builds(
    Reorientation,
    st.permutations([0, 1, 2]).map(tuple),
    st.tuples(flags, flags, flags),
)


@settings(max_examples=60, deadline=None)
@given(turn=turns, lead=st.sampled_from([(), (2,), (3, 2)]))
def test_undo_is_the_exact_inverse(turn, lead) -> None:
    array = np.arange(np.prod((*lead, 2, 3, 4))).reshape(*lead, 2, 3, 4)
    turned = turn.apply(array)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turn.undo(turned), array)
    np.testing.assert_array_equal(turn.apply(turn.undo(turned)), turned)
    assert turn.identity == (turned.shape == array.shape and (turned == array).all())


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("start", ["RAS", "LPS", "PIR"])
def test_reoriented_as_nibabel_does(start, code) -> None:
    oblique = nib.affines.from_matvec(np.diag([1.0, 2, 3]), [4, 5, 6])
    base = nib.orientations.inv_ornt_aff(
        nib.orientations.axcodes2ornt(start), (4, 3, 2)
    )
    grid = Grid((2, 3, 4), Affine(oblique @ base))
    array = np.arange(24).reshape(2, 3, 4)
    image = nib.Nifti1Image(array.T.astype(np.int16), grid.affine.matrix)
    here = nib.io_orientation(image.affine)
    there = nib.orientations.axcodes2ornt(code)
    expected = image.as_reoriented(nib.orientations.ornt_transform(here, there))

    turned, turn = grid.reoriented(code)
    assert turned.affine.orientation == code
    np.testing.assert_allclose(turned.affine.matrix, expected.affine)
    np.testing.assert_array_equal(turn.apply(array).T, np.asarray(expected.dataobj))
    assert turned.shape == turn.apply(array).shape
    assert turn.identity == (grid.affine.orientation == code)


def test_there_are_48_orientations() -> None:
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("code", ["RAX", "RA", "RLS", "RASS", ""])
def test_unknown_orientation_is_refused(code) -> None:
    with pytest.raises(UserError, match="orientation"):
        Grid((1, 2, 3), Affine.identity()).reoriented(code)


def test_cropped_voxels_stay_where_they_are() -> None:
    grid = Grid((5, 6, 7), Affine.from_parts((1, 2, 3), (10, 20, 30)))
    part = grid.cropped(((1, 4), (2, 6), (3, 5)))
    assert part.shape == (3, 4, 2)
    whole_point = grid.affine @ np.array([3.0, 2.0, 1.0])
    np.testing.assert_allclose(part.affine @ np.zeros(3), whole_point)
    assert grid.cropped(((-1, 6), (0, 6), (0, 7))).affine.origin == (10, 20, 27)


def test_measures() -> None:
    grid = Grid((5, 6, 7), Affine.from_parts((1, 2, 3)))
    assert grid.spacing_zyx == (3, 2, 1)
    assert grid.voxel_ml == pytest.approx(0.006)
    assert Grid((5, 6, 7), grid.affine, has_spacing=False).voxel_ml is None


def test_same_as() -> None:
    grid = Grid((5, 6, 7), Affine.from_parts((1, 2, 3)))
    near = Grid((5, 6, 7), Affine.from_parts((1.0001, 2, 3)))
    far = Grid((5, 6, 7), Affine.from_parts((1.1, 2, 3)))
    assert grid.same_as(near)
    assert not grid.same_as(far)
    assert not grid.same_as(Grid((5, 6, 8), grid.affine))
    assert grid.same_as(Grid((5, 6, 7), Affine.identity(), has_spacing=False))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(UserError, match="shape"):
        Grid((0, 1, 1), Affine.identity())
    with pytest.raises(ValueError, match="permutation"):
        Reorientation((0, 0, 1))
    with pytest.raises(ValueError, match="shape"):
        Reorientation().apply(np.zeros((2, 2)))


def test_an_axis_of_length_one_never_runs_backwards():
    array = np.arange(6.0).reshape(1, 2, 3)
    turn = Reorientation(flips=(True, False, False))
    for turned in (turn.apply(array), turn.undo(array)):
        assert min(turned.strides) > 0
        np.testing.assert_array_equal(turned, array)
