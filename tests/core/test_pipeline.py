from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from diffseg.domain import (
    ImageLabels,
    Label,
    LabelTable,
    Localisation,
    ModelCard,
    Preparation,
    Proposal,
    Region,
    Request,
    Sampling,
    TemplateBox,
)
from diffseg.ensemble import EnsembleSummary, consensus
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress, run
from diffseg.segmenters import Host, iter_propose_with
from diffseg.segmenters.composing import Answer, compose
from diffseg.segmenters.pipeline import seed_of
from diffseg.segmenters.regions import Place
from diffseg.volume import Affine, Grid, Volume

CODES = tuple(
    "".join(pair[flip] for pair, flip in zip(order, flips, strict=True))
    for order in permutations(("RL", "AP", "SI"))
    for flips in product((0, 1), repeat=3)
)
HOST = Host("cpu", 1, load_seconds=2.0)
TABLE = LabelTable(labels=(Label(name="body", value=3), Label(name="core", value=7)))


def _card(**changes: object) -> ModelCard:
    card = ModelCard(
        id="toy",
        version="1",
        title="A toy",
        method="fake",
        network={},
        labels=TABLE,
        preparation=Preparation(orientation="RAS"),
        sampling=Sampling(members=3, steps=2),
        modality="MR",
        licence="CC0",
        sha256="0",
        data="none",
        intended_use="tests",
        limits=("all",),
    )
    return card.model_copy(update=changes)


class FakeDraw:
    """Bright voxels are body, the brightest core; members differ by the seed."""

    def __init__(self) -> None:
        self.calls: list[dict[str, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        self.closed = 0

    def __call__(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[NDArray[np.float32]]:
        self.calls.append({"members": members, "steps": steps, "seed": seed})
        self.shapes.append(image.shape)
        try:
            for member in range(members):
                noise = np.random.default_rng([seed, member]).normal(
                    0, 0.4, image.shape[1:]
                )
                seen = image[0] + noise
                logits = np.stack([0 * seen, 4 * (seen - 0.5), 8 * (seen - 1.5)])
                odds = np.exp(logits - logits.max(axis=0))
                yield (odds / odds.sum(axis=0)).astype(np.float32)
        finally:
            self.closed += 1


def _scan(seed: int = 0, shape: tuple[int, int, int] = (12, 14, 10)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scan = rng.normal(10, 1, shape).astype(np.float32)
    scan[3:9, 4:10, 2:7] += 6
    scan[5:7, 6:8, 3:5] += 12
    return scan


def _volume(scan: np.ndarray | None = None) -> Volume:
    return Volume.from_array(_scan() if scan is None else scan, np.eye(4), name="case")


def _propose(
    request: Request, card: ModelCard | None = None, draw: FakeDraw | None = None
) -> Proposal:
    draw = FakeDraw() if draw is None else draw
    return run(iter_propose_with(card or _card(), draw, request, HOST))


def test_the_whole_image_is_answered_on_its_own_grid() -> None:
    volume = _volume()
    draw = FakeDraw()
    made = _propose(Request(volume, seed=5), draw=draw)
    assert made.mask.shape == volume.shape
    assert made.mask.dtype == np.uint8
    assert set(np.unique(made.mask)) == {0, 3, 7}
    assert made.probability.shape == (2, *volume.shape)
    assert made.probability.dtype == made.uncertainty.dtype == np.float32
    assert 0 <= made.uncertainty.min() < made.uncertainty.max() <= 1
    assert draw.calls == [
        {"members": 3, "steps": 2, "seed": seed_of(5, _place("image"))}
    ]
    provenance = made.provenance
    assert (provenance.members, provenance.steps, provenance.seed) == (3, 2, 5)
    assert provenance.model["id"] == "toy"
    assert set(provenance.seconds) == {"load", "prepare", "sample", "write"}
    assert provenance.seconds["load"] >= 2
    assert provenance.seconds["write"] == 0
    (region,) = made.regions
    assert (region.name, region.found_by) == ("image", "whole image")
    body, core = made.structures
    assert body.voxels == np.count_nonzero(made.mask == 3)
    assert core.voxels == np.count_nonzero(made.mask == 7)
    assert body.volume_ml == pytest.approx(body.voxels / 1000)
    assert region.volume_ml == {"body": body.volume_ml, "core": core.volume_ml}
    assert body.expected_dice is not None
    assert 0.5 < body.expected_dice < 1
    assert made.mutual_information_mean is not None
    assert made.members is None
    assert made.warnings == ()


def _place(name: str, region: Region | None = None) -> Place:
    return Place(name, region or Region((0, 1), (0, 1), (0, 1)), "request")


def test_the_request_overrides_the_cards_members_and_steps() -> None:
    draw = FakeDraw()
    made = _propose(Request(_volume(), members=1, steps=4), draw=draw)
    assert (draw.calls[0]["members"], draw.calls[0]["steps"]) == (1, 4)
    assert made.mutual_information_mean is None
    assert made.structures[0].expected_dice is None


def test_a_region_is_all_that_is_looked_at() -> None:
    draw = FakeDraw()
    region = Region((2, 10), (3, 11), (1, 8))
    made = _propose(Request(_volume(), region=region, keep_members=True), draw=draw)
    outside = np.ones(made.mask.shape, dtype=bool)
    outside[region.slices] = False
    assert not made.mask[outside].any()
    assert not made.uncertainty[outside].any()
    assert not made.probability[:, outside].any()
    assert made.mask[region.slices].any()
    assert draw.shapes == [(1, 8, 8, 7)]
    assert made.regions[0].box == region.ranges
    assert made.regions[0].found_by == "request"
    assert made.members is not None
    assert made.members.shape == (3, *made.mask.shape)
    assert set(np.unique(made.members)) == {0, 3, 7}
    assert not made.members[:, outside].any()


@pytest.mark.parametrize("with_region", [False, True])
def test_48_orientations_give_one_mask_voxel_for_voxel(with_region: bool) -> None:
    grid = Grid((12, 14, 10), Affine.from_parts((1.1, 0.9, 1.3), (3, -2, 8)))
    scan = _scan()
    card = _card(preparation=Preparation(orientation="LPS", spacing_mm=(1, 1, 1)))
    inside = np.zeros(grid.shape, dtype=np.uint8)
    inside[2:10, 3:11, 1:8] = 1
    masks, uncertainties = [], []
    for code in CODES:
        turned, turn = grid.reoriented(code)
        volume = Volume.from_array(turn.apply(scan), turned.affine, name="case")
        region = None
        if with_region:
            where = np.nonzero(turn.apply(inside))
            ranges = [(int(axis.min()), int(axis.max()) + 1) for axis in where]
            region = Region(*ranges)
        made = _propose(Request(volume, region=region, members=2), card)
        masks.append(turn.undo(made.mask))
        uncertainties.append(turn.undo(made.uncertainty))
    assert {3, 7} <= set(np.unique(masks[0]))
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
    assert all(np.array_equal(other, uncertainties[0]) for other in uncertainties)


@settings(max_examples=10, deadline=None)
@given(seeds=st.lists(st.integers(0, 99), min_size=2, max_size=3))
def test_a_batch_of_requests_equals_one_by_one(seeds: list[int]) -> None:
    requests = [Request(_volume(_scan(seed)), seed=seed) for seed in seeds]
    works = [iter_propose_with(_card(), FakeDraw(), one, HOST) for one in requests]
    # In turns, a piece of each, as an engine that serves several would.
    together: dict[int, Proposal] = {}
    while len(together) < len(works):
        for index, work in enumerate(works):
            if index not in together:
                try:
                    next(work)
                except StopIteration as stop:
                    together[index] = stop.value
    for index, request in enumerate(requests):
        alone = _propose(request)
        assert np.array_equal(alone.mask, together[index].mask)
        assert np.array_equal(alone.probability, together[index].probability)
        assert alone.structures == together[index].structures


def _answer(name: str, region: Region, seed: int, members: int = 3) -> Answer:
    rng = np.random.default_rng(seed)
    odds = rng.gamma(0.3, size=(members, 3, *region.shape)) + 1e-6
    summary: EnsembleSummary = consensus(odds / odds.sum(axis=1, keepdims=True))
    return Answer(_place(name, region), summary)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(3)), seed=st.integers(0, 999))
def test_the_order_of_regions_does_not_matter(order: list[int], seed: int) -> None:
    grid = Grid((8, 9, 10), Affine.identity())
    answers = [
        _answer("a", Region((0, 5), (0, 6), (0, 5)), seed),
        _answer("b", Region((2, 8), (1, 9), (3, 9)), seed + 1),
        _answer("c", Region((1, 4), (2, 5), (4, 8)), seed + 2),
    ]
    first = compose(answers, grid)
    other = compose([answers[index] for index in order], grid)
    for name in ("classes", "probability", "uncertainty", "member_classes"):
        assert np.array_equal(getattr(first, name), getattr(other, name))
    assert first.mutual_information_mean == other.mutual_information_mean
    assert first.union == Region((0, 8), (0, 9), (0, 9))


def test_overlap_goes_to_the_region_that_sees_more_foreground() -> None:
    grid = Grid((1, 1, 3), Affine.identity())

    def sees(name: str, region: Region, values: list[float]) -> Answer:
        p = np.array(values, dtype=np.float32).reshape(1, 1, -1)
        member = np.stack([1 - p, p, 0 * p])
        return Answer(_place(name, region), consensus([member, member]))

    left = sees("left", Region((0, 1), (0, 1), (0, 2)), [0.9, 0.2])
    right = sees("right", Region((0, 1), (0, 1), (1, 3)), [0.8, 0.1])
    made = compose([left, right], grid)
    np.testing.assert_allclose(made.probability[0, 0, 0], [0.9, 0.8, 0.1], atol=1e-6)
    assert made.classes.ravel().tolist() == [1, 1, 0]
    assert made.member_classes[:, 0, 0].tolist() == [[1, 1, 0]] * 2


def test_volumes_of_two_regions_add_up_member_by_member() -> None:
    grid = Grid((4, 4, 9), Affine.identity())
    answers = [
        _answer("a", Region((0, 4), (0, 4), (0, 4)), 1),
        _answer("b", Region((0, 4), (0, 4), (5, 9)), 2),
    ]
    made = compose(answers, grid)
    (body, _) = made.structures(TABLE, 1.0)
    each = sum(
        (a.summary.member_classes == 1).reshape(3, -1).sum(axis=1) for a in answers
    )
    assert body.volume_ml_p05 == pytest.approx(np.quantile(each, 0.05))
    assert body.volume_ml_p95 == pytest.approx(np.quantile(each, 0.95))


def test_absent_labels_are_forbidden_and_present_ones_are_missed() -> None:
    labels = ImageLabels.parse("core=absent,body")
    made = _propose(Request(_volume(), labels=labels))
    assert not made.probability[1].any()
    assert set(np.unique(made.mask)) == {0, 3}
    assert made.warnings == ()
    both = ImageLabels.parse("core=absent,body=absent")
    nothing = _propose(Request(_volume(), labels=both))
    assert not nothing.mask.any()
    assert not nothing.uncertainty.any()


def test_present_labels_that_are_not_found_are_told() -> None:
    class SeesNoCore(FakeDraw):
        def __call__(self, image, **asked):  # type: ignore[no-untyped-def]
            for member in super().__call__(image, **asked):
                member[0] += member[2]
                member[2] = 0
                yield member

    present = Request(_volume(), labels=ImageLabels.parse("core,body"))
    (line,) = _propose(present, draw=SeesNoCore()).warnings
    assert line == "core is said to be present, but no voxel of it was found"
    assert _propose(present).warnings == ()
    unknown = Request(_volume(), labels=ImageLabels.parse("core=unknown"))
    assert _propose(unknown, draw=SeesNoCore()).warnings == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "the liver"}, "does not use text"),
        ({"steps": 1001}, "give 1 to 1000"),
        ({"strokes": np.zeros((12, 14, 10), np.uint8)}, "does not use strokes"),
        ({"labels": ImageLabels.parse("spleen")}, "'spleen' is not one the model"),
        ({"volume": Volume.from_array(np.zeros((2, 3, 4, 5)))}, "2 channels"),
        ({"volume": Volume.from_array(np.full((3, 4, 5), np.nan))}, "every voxel is"),
    ],
)
def test_what_the_model_cannot_answer_is_refused(
    changes: dict[str, object], message: str
) -> None:
    request = replace(Request(_volume()), **changes)
    draw = FakeDraw()
    with pytest.raises(UserError, match=message) as caught:
        _propose(request, draw=draw)
    assert "\n" not in str(caught.value)
    assert not draw.calls


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (_volume(np.full((6, 7, 8), 3.0)), "every voxel is 3"),
        (_volume(_scan()[:1]), "one slice thick"),
        (Volume.from_array(_scan()), "has no spacing"),
        (_volume(_scan()).with_warnings("the reader chose frame 0"), "frame 0"),
    ],
)
def test_images_of_doubt_are_answered_with_a_warning(
    volume: Volume, message: str
) -> None:
    card = _card(preparation=Preparation(orientation="RAS", spacing_mm=(1, 1, 1)))
    made = _propose(Request(volume), card)
    assert made.mask.shape == volume.shape
    assert any(message in line for line in made.warnings)
    assert all("\n" not in line for line in made.warnings)


def test_another_modality_is_told() -> None:
    volume = _volume()
    volume = replace(volume, source=replace(volume.source, modality="CT"))
    assert any("is CT" in line for line in _propose(Request(volume)).warnings)


def test_without_spacing_volumes_are_unknown() -> None:
    made = _propose(Request(Volume.from_array(_scan())))
    assert made.structures[0].volume_ml is None
    assert made.regions[0].volume_ml == {"body": None, "core": None}


def test_progress_counts_members_and_closing_cancels() -> None:
    draw = FakeDraw()
    work = iter_propose_with(_card(), draw, Request(_volume()), HOST)
    seen = [next(work) for _ in range(4)]
    assert seen[0].stage == "prepare"
    assert seen[-1] == Progress("sample", 1, 3, "image")
    work.close()
    assert draw.closed == 1


def test_a_method_that_draws_too_few_is_our_fault() -> None:
    class TooFew(FakeDraw):
        def __call__(self, image, **asked):  # type: ignore[no-untyped-def]
            yield from list(super().__call__(image, **asked))[1:]

    class WrongShape(FakeDraw):
        def __call__(self, image, **asked):  # type: ignore[no-untyped-def]
            yield next(super().__call__(image, **asked))[:, :-1]

    for draw, message in ((TooFew(), "2 members instead"), (WrongShape(), "of shape")):
        with pytest.raises(DiffsegError, match=message) as caught:
            _propose(Request(_volume()), draw=draw)
        assert not isinstance(caught.value, UserError)


def _boxed(largest: float) -> ModelCard:
    box = TemplateBox(name="left", low_mm=(-44, -47, -33), high_mm=(-10, 3, 1))
    where = Localisation(boxes=(box,), largest_mm=(largest,) * 3)
    return _card(localisation=where)


def test_a_crop_is_taken_whole_and_a_larger_image_is_not() -> None:
    assert _propose(Request(_volume()), _boxed(14)).regions[0].name == "image"
    with pytest.raises(UserError, match="give the region"):
        _propose(Request(_volume()), _boxed(13))
    with pytest.raises(UserError, match="no spacing"):
        _propose(Request(Volume.from_array(_scan())), _boxed(13))
    region = Region((0, 12), (0, 14), (0, 10))
    made = _propose(Request(_volume(), region=region), _boxed(13))
    assert made.regions[0].found_by == "request"


def test_places_have_seeds_of_their_own() -> None:
    seeds = {seed_of(seed, _place(name)) for seed in (0, 1) for name in ("a", "b")}
    assert len(seeds) == 4
    here = _place("a", Region((0, 9), (0, 9), (0, 9)))
    assert seed_of(0, here) == seed_of(0, _place("a"))
