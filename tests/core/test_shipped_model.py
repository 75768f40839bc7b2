"""The model that ships, on real brains: found, whole, and however they are stored."""

from itertools import permutations, product

import numpy as np
import pytest

from diffseg import Request, Volume, load_segmenter
from diffseg.domain import ImageLabels
from diffseg.models import find_model
from diffseg.segmenters.template import mni152_path

MODEL = "hippocampus-mri"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def segmenter():
    return load_segmenter(MODEL, device="cpu")


@pytest.fixture(scope="module")
def template():
    pytest.importorskip("nilearn", reason="the whole brain comes with nilearn")
    return Volume.read(mni152_path())


@pytest.fixture(scope="module")
def hippocampus(template):
    """One hippocampus of the template: (Z, Y, X) and its affine."""
    i, j, k = np.round(template.grid.affine.inverse() @ np.array([27.0, -22, -16]))
    box = tuple((int(c) - h, int(c) + h) for c, h in ((k, 18), (j, 25), (i, 18)))
    z, y, x = (slice(*one) for one in box)
    return template.data[0, z, y, x], template.grid.cropped(box).affine


def test_both_hippocampi_of_the_template_are_found_whole(segmenter, template):
    proposal = segmenter.propose(Request(template, members=4))
    assert [one.name for one in proposal.regions] == [
        "left hippocampus",
        "right hippocampus",
    ]
    for one in proposal.regions:
        assert 2 <= sum(one.volume_ml.values()) <= 5
        assert min(one.volume_ml.values()) > 0.5
    # The left one lies where x is negative in RAS+ millimetres.
    found = np.argwhere(proposal.mask)[:, ::-1]
    left = (template.grid.affine @ found)[:, 0] < 0
    assert 0.35 < left.mean() < 0.65
    # The anterior part lies before the posterior one, on both sides.
    for side in (left, ~left):
        values = proposal.mask[tuple(found[side][:, ::-1].T)]
        front = (template.grid.affine @ found[side])[:, 1]
        assert front[values == 1].mean() > front[values == 2].mean() + 10


def test_48_orientations_give_one_mask(segmenter, hippocampus):
    voxels, affine = hippocampus
    expected = None
    for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        # File axes are the array's reversed: axis a of the array is column 2 - a.
        stored = voxels.transpose(axes)[tuple(slice(None, None, f) for f in flips)]
        matrix = _matrix(affine.matrix, voxels.shape, axes, flips)
        volume = Volume.from_array(np.ascontiguousarray(stored), matrix)
        mask = segmenter.propose(Request(volume, members=2, steps=1, seed=3)).mask
        back = mask[tuple(slice(None, None, f) for f in flips)]
        back = back.transpose(np.argsort(axes))
        if expected is None:
            expected = back
            assert set(np.unique(back)) == {0, 1, 2}
        np.testing.assert_array_equal(back, expected)


def _matrix(matrix, shape, axes, flips):
    """Affine of an array whose axes were permuted, then flipped."""
    columns = [matrix[:3, 2 - axis].copy() for axis in axes]
    origin = matrix[:3, 3].copy()
    for n, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        if flip < 0:
            origin += columns[n] * (shape[axis] - 1)
            columns[n] = -columns[n]
    result = np.eye(4)
    result[:3, :3] = np.stack(columns[::-1], axis=1)
    result[:3, 3] = origin
    return result


def test_same_request_same_bytes_and_absent_is_absent(segmenter, hippocampus):
    voxels, affine = hippocampus
    volume = Volume.from_array(voxels, affine)
    first, again = (segmenter.propose(Request(volume, members=4)) for _ in range(2))
    for name in ("mask", "probability", "uncertainty"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    labels = ImageLabels.parse("posterior=absent,anterior")
    without = segmenter.propose(Request(volume, members=4, labels=labels))
    assert not (without.mask == 2).any()
    assert not without.probability[1].any()
    assert (without.mask == 1).any()


def test_members_differ_and_say_how_much(segmenter, hippocampus):
    voxels, affine = hippocampus
    volume = Volume.from_array(voxels, affine)
    proposal = segmenter.propose(Request(volume, members=6, keep_members=True))
    assert len({member.tobytes() for member in proposal.members}) == 6
    for one in proposal.structures:
        assert 0.8 < one.expected_dice < 1
        assert one.volume_ml_p05 < one.volume_ml_p95
    assert proposal.mutual_information_mean > 0


def test_unseen_patients_are_segmented_as_the_card_says(segmenter, data_dir):
    """A few cases of val: the mean Dice is near that of the whole split."""
    from diffseg_training.dataset import load_dataset, read_image, read_reference

    dataset = load_dataset(data_dir / "hippocampus")
    scores = []
    for case in dataset.split("val")[:4]:
        volume = read_image(case)
        reference = read_reference(case, volume, dataset.labels)
        mask = segmenter.propose(Request(volume, members=4)).mask
        for value in (1, 2):
            a, b = mask == value, reference == value
            scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert np.mean(scores) > 0.85


def test_card_holds_what_a_user_must_know():
    card = find_model(MODEL).card
    assert card.licence == "CC BY-SA 4.0"
    assert "not" in card.notice.lower()
    assert find_model(MODEL).weights.stat().st_size < 16e6
    assert card.metrics["val"]["dice_macro"] > 0.8
