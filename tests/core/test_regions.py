"""A region, for a model of whole slices: shown the slices, cut to the region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from diffseg.domain import ModelCard, Preview, Proposal, Region, Request
from diffseg.progress import Progress
from diffseg.segmenters import Host, Slab, iter_propose_with
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.feedforward import Flips, Noises
from diffseg.segmenters.preparation import frame_of, part_of, planes_of
from diffseg.segmenters.probing import probe
from diffseg.segmenters.regions import whole
from diffseg.segmenters.segdiff import SegDiff
from diffseg.segmenters.source import Drawn, Step, drawn_of
from diffseg.volume import Volume

HOST = Host("cpu", 1)
SIZE = (16, 8)


def sized(toys: Any, consensus: str = "mean", **preparation: Any) -> ModelCard:
    """A card of three classes that brings every slice to one size."""
    sampling = {"prediction": "classes", "consensus": consensus, "steps": 1}
    card: ModelCard = toys.card(2, sampling=sampling, size=SIZE, **preparation)
    return card


def ensemble(toys: Any, card: ModelCard, **options: Any) -> Ensemble:
    network = toys.network(2, image_channels=2 * card.preparation.context + 1)
    return Ensemble(network, card, "cpu", **options)


def asked(
    toys: Any, card: ModelCard, request: Request, source: Any = None
) -> tuple[list[Progress], Proposal]:
    """What is seen of a proposal, and the proposal."""
    source = ensemble(toys, card) if source is None else source
    told: tuple[list[Progress], Proposal] = toys.watched(
        iter_propose_with(card, source, request, HOST)
    )
    return told


def same_within(part: Proposal, complete: Proposal, region: Region) -> None:
    """Within the region as without one, and nothing beyond it."""
    here, beyond = region.slices, np.ones(part.mask.shape, bool)
    beyond[here] = False
    assert len(np.unique(complete.mask[here])) > 1  # else nothing was compared
    np.testing.assert_array_equal(part.mask[here], complete.mask[here])
    np.testing.assert_allclose(
        part.probability[(slice(None), *here)],
        complete.probability[(slice(None), *here)],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        part.uncertainty[here], complete.uncertainty[here], atol=1e-5
    )
    assert complete.mask[beyond].any()
    assert not part.mask[beyond].any()
    assert not part.uncertainty[beyond].any()
    assert not part.probability[:, beyond].any()


@pytest.mark.parametrize("consensus", ["mean", "staple"])
@pytest.mark.parametrize(
    ("code", "region"),
    [
        ("RAS", Region((3, 5), (2, 9), (1, 7))),
        ("ASL", Region((1, 8), (2, 6), (3, 9))),  # planes lie along another axis
        ("LPI", Region((6, 7), (0, 10), (4, 12))),  # planes count backwards
    ],
)
def test_a_region_of_a_volume_is_answered_for_as_in_the_whole_volume(
    toys: Any, code: str, region: Region, consensus: str
) -> None:
    card, volume = sized(toys, consensus), toys.volume(code)
    assert card.preparation.context == 1
    assert card.sampling.slice_correlation
    region.checked(volume.shape)
    _, complete = asked(toys, card, Request(volume, members=5))
    seen, part = asked(toys, card, Request(volume, region=region, members=5))
    same_within(part, complete, region)
    assert not part.warnings
    assert part.regions[0].box == region.ranges
    boxes = [one.region for one in seen if isinstance(one, Preview)]
    assert boxes
    for box in boxes:
        assert box.checked(volume.shape)
        for (a, b), (start, stop) in zip(box.ranges, region.ranges, strict=True):
            assert start <= a < b <= stop


@pytest.mark.parametrize("consensus", ["mean", "staple"])
def test_a_region_of_a_picture_is_answered_for_as_in_the_whole_picture(
    toys: Any, consensus: str
) -> None:
    card = sized(toys, consensus, orientation=None, context=0, flips=((), (2,)))
    values = np.random.default_rng(1).normal(size=(1, 20, 30))
    picture = Volume.from_array(values, name="picture")
    region = Region((0, 1), (4, 15), (10, 28))
    _, complete = asked(toys, card, Request(picture))
    seen, part = asked(toys, card, Request(picture, region=region))
    same_within(part, complete, region)
    assert not part.warnings
    assert {one.region for one in seen if isinstance(one, Preview)} == {region}


def test_no_more_planes_are_drawn_than_the_region_has(toys: Any) -> None:
    card = sized(toys)
    source = ensemble(toys, card)
    network, drawn = source._network, 0
    denoise = network.denoise

    def counted(noisy: Any, timesteps: Any, features: Any) -> Any:
        nonlocal drawn
        drawn += len(noisy)
        return denoise(noisy, timesteps, features)

    network.denoise = counted  # type: ignore[method-assign]
    region = Region((3, 5), (2, 9), (1, 7))
    request = Request(toys.volume(), region=region, members=4)
    seen, _ = asked(toys, card, request, source)
    assert drawn == 2 * 4
    last = [one for one in seen if one.stage == "sample"][-1]
    assert (last.done, last.total) == (2 * 4, 2 * 4)


def test_a_model_without_a_size_sees_the_region_alone(toys: Any) -> None:
    card = sized(toys).model_copy(update={"preparation": toys.card(2).preparation})
    shapes = []

    def source(image: Any, *, members: int, steps: int, seed: int) -> Iterator[Drawn]:
        shapes.append(image.shape)
        yield from [np.full((3, *image.shape[1:]), 1 / 3, np.float32)] * members

    region = Region((3, 5), (2, 9), (1, 7))
    asked(toys, card, Request(toys.volume(), region=region), source)
    assert shapes == [(1, 2, 7, 6)]


def test_of_a_method_that_draws_all_planes_the_others_are_left_out(toys: Any) -> None:
    card, volume = sized(toys), toys.volume()
    every = ensemble(toys, card, block_voxels=4 * SIZE[0] * SIZE[1])

    def simple(image: Any, *, members: int, steps: int, seed: int) -> Iterator[Drawn]:
        return every(image, members=members, steps=steps, seed=seed)

    region = Region((3, 5), (2, 9), (1, 7))
    request = Request(volume, region=region, steps=2)
    _, complete = asked(toys, card, Request(volume, steps=2))
    _, part = asked(toys, card, request, simple)
    same_within(part, complete, region)


def test_what_is_left_out_are_planes_and_never_signs_of_life() -> None:
    closed = []

    def source(image: Any, *, members: int, steps: int, seed: int) -> Iterator[Drawn]:
        try:
            yield Step(0, 2, (0,), planes=range(3))
            yield Slab(0, np.zeros((2, 3, 4, 4), np.float32))
            yield Slab(3, np.ones((2, 3, 4, 4), np.float32))
            yield np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1)
        finally:
            closed.append(True)

    image = np.zeros((1, 6, 4, 4), np.float32)
    drawn = drawn_of(source, image, range(4, 6), members=1, steps=2, seed=0)
    assert next(drawn) is None
    assert next(drawn) is None
    slab = next(drawn)
    assert isinstance(slab, Slab)
    assert (slab.start, slab.stop) == (4, 6)
    whole_one = next(drawn)
    assert isinstance(whole_one, np.ndarray)
    assert whole_one.ravel().tolist() == [4, 5]
    drawn.close()  # type: ignore[attr-defined]
    assert closed == [True]


@pytest.mark.parametrize("kind", [Flips, Noises])
def test_feedforward_models_too_draw_some_planes_as_among_all(
    toys: Any, kind: Any
) -> None:
    card = sized(toys)
    made = kind(toys.network(2), card, "cpu")
    image = toys.scan()[None]
    drawn = []
    for planes in (range(9), range(4, 6)):
        pieces = made(image, members=4, steps=3, seed=2, planes=planes)
        slabs = [one for one in pieces if isinstance(one, Slab)]
        assert {(one.start, one.stop) for one in slabs} == {(planes.start, planes.stop)}
        drawn.append(np.stack([one.probability for one in slabs]))
    np.testing.assert_allclose(drawn[0][:, :, 4:6], drawn[1], atol=1e-5)
    assert drawn[0].std() > 0.01


@pytest.mark.parametrize("code", ["RAS", "LPI", "ASR"])
def test_planes_of_a_box_are_the_inverse_of_a_part_of_the_frame(
    toys: Any, code: str
) -> None:
    grid = toys.volume(code).grid
    frame = frame_of(grid, whole(grid.shape), sized(toys).preparation)
    for planes in (range(9), range(2, 5), range(8, 9)):
        part = part_of(frame, planes.start, planes.stop)
        assert planes_of(frame, part.region) == planes


def test_an_estimate_counts_whole_slices_of_the_regions_planes(toys: Any) -> None:
    card, volume = sized(toys), toys.volume()
    segmenter = SegDiff(card, toys.network(2), HOST)
    large, small = Region((3, 5), (0, 10), (0, 12)), Region((3, 5), (2, 4), (1, 3))
    first, second, third = (
        probe(segmenter, Request(volume, region=region)).memory_bytes
        for region in (large, small, None)
    )
    assert first == second < third
