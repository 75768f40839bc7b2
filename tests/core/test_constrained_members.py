"""Resampling around strokes: every way, every prediction, in 2 and 3 dimensions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffseg.domain import Request, Resampling, Strokes
from diffseg.domain.resampling import WAYS
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.segmenters import Host
from diffseg.segmenters import resampling as module
from diffseg.segmenters.ensemdiff import EnsemDiff
from diffseg.segmenters.feedforward import FeedForward
from diffseg.segmenters.resampling_place import patch_of
from diffseg.segmenters.source import Slab

HOST = Host("cpu", 1)
LINEAR = {"schedule": "linear", "timesteps": 40, "mask_range": (0.0, 1.0)}
KINDS: dict[str, dict[str, Any]] = {
    "classes": {"schedule": "cosine", "timesteps": 40},
    "x0": {**LINEAR, "schedule": "scaled_linear", "sampler": "dpm_solver_pp"},
    "eps": {**LINEAR, "sampler": "ddpm", "variance": "fixed_large", "clip": False},
    "v": {**LINEAR, "schedule": "linear_zero_snr", "sampler": "ddim"},
}


@pytest.fixture
def model(toys: Any) -> Any:
    def made(kind: str = "classes", dims: int = 3, **preparation: Any) -> Any:
        sampling = {**KINDS[kind], "prediction": kind, "members": 3, "steps": 2}
        card = toys.card(dims, sampling=sampling, **preparation)
        channels = 3 if dims == 2 else 1
        if kind == "classes":
            network = toys.network(dims)
        else:
            network = toys.two_maps(dims=dims, mask_channels=2, image_channels=channels)
        return EnsemDiff(card, network, HOST)

    return made


def asked(toys: Any, way: Any = "projection", **changes: Any) -> Request:
    """Strokes that contradict the mask they were drawn into."""
    volume = toys.volume()
    mask = np.zeros(volume.shape, np.uint8)
    mask[2:7, 3:8, 3:9] = 3
    dense = np.zeros(volume.shape, np.uint8)
    dense[4, 3:6, 4], dense[4, 6, 6:9], dense[5, 1, 1:4] = 255, 2, 1
    options = changes.pop("options", {})
    given: dict[str, Any] = {
        "strokes": Strokes.of(dense), "initial_mask": mask, "noise_level": 0.5,
        "keep_members": True, "seed": 3, "members": 3,
        "resampling": Resampling(way=way, **options),
    }  # fmt: skip
    return Request(volume, **given | changes)


def strokes_of(request: Request) -> Strokes:
    assert request.strokes is not None
    return request.strokes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_kept_voxels_are_exact_in_every_member(
    toys: Any, model: Any, dims: int, kind: str, way: str
) -> None:
    segmenter, request = model(kind, dims), asked(toys, way)
    proposal = segmenter.propose(request)
    kept = strokes_of(request)
    for mask in (proposal.mask, *proposal.members):
        values = np.array([0, 3, 7], np.uint8)[kept.classes]
        assert np.array_equal(mask.ravel()[kept.voxels], values)
    shares = proposal.probability.reshape(2, -1)[:, kept.voxels]
    assert set(np.unique(shares)) <= {0.0, 1.0}
    assert not proposal.uncertainty.ravel()[kept.voxels].any()


@pytest.mark.parametrize("way", WAYS)
def test_members_agree_before_anything_is_written_into_them(
    toys: Any, model: Any, way: str
) -> None:
    """The drawing itself holds them, under every flip of the image."""
    for dims in (2, 3):
        segmenter, request = model("classes", dims), asked(toys, way)
        plan = module._plan(segmenter.card, request)
        image = toys.scan()[None]
        source = module._source(segmenter, plan, image)
        planes = plan.patch.planes
        drawn = source(image, members=6, steps=2, seed=0, planes=planes)
        slabs = [one for one in drawn if isinstance(one, Slab)]
        kept = strokes_of(request).dense()[planes.start : planes.stop]
        assert len(slabs) == 6
        for slab in slabs:
            assert slab.planes == planes
            answer = slab.probability.argmax(0)
            assert np.array_equal(
                answer[kept > 0], np.where(kept == 255, 0, kept)[kept > 0]
            )


@pytest.mark.parametrize("way", WAYS)
def test_the_seed_changes_what_is_not_kept_and_nothing_else_does(
    toys: Any, model: Any, way: str
) -> None:
    segmenter = model("classes", 3)
    first = segmenter.propose(asked(toys, way))
    again = segmenter.propose(asked(toys, way))
    other = segmenter.propose(asked(toys, way, seed=4))
    assert first.probability.tobytes() == again.probability.tobytes()
    assert not np.array_equal(first.probability, other.probability)


def test_a_member_does_not_depend_on_how_many_are_drawn(toys: Any, model: Any) -> None:
    segmenter = model("classes", 3)
    few = segmenter.propose(asked(toys, "replacement", members=2)).members
    many = segmenter.propose(asked(toys, "replacement", members=4)).members
    assert np.array_equal(few, many[:2])


class Copies(nn.Module):
    """Believes the noisy mask: its estimate is that, as far as it can be seen."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims, self.multiple, self.mask_channels = dims, 1, 2
        self.learned_variance = False
        self.weight = nn.Parameter(torch.ones(()))
        self.calls = 0

    def encode(self, image: Tensor) -> Tensor:
        return image

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        self.calls += 1
        return noisy * self.weight


def copying(toys: Any, dims: int = 3, **sampling: Any) -> Any:
    given = {**LINEAR, "prediction": "x0", "sampler": "ddim", **sampling}
    card = toys.card(dims, sampling=given, context=0)
    return EnsemDiff(card, Copies(dims), HOST)


def test_the_noise_level_says_how_much_of_the_mask_is_left(toys: Any) -> None:
    segmenter, changed = copying(toys), []
    for level in (0.025, 0.5, 1.0):
        request = asked(toys, "replacement", noise_level=level, steps=1)
        free = strokes_of(request).dense() == 0
        answer = segmenter.propose(request).mask
        changed.append(int((answer != request.initial_mask)[free].sum()))
    assert changed[0] < changed[1] < changed[2]
    assert changed[0] == 0


def test_from_noise_alone_the_mask_does_not_matter(toys: Any, model: Any) -> None:
    segmenter = model("v", 3)  # its schedule ends at zero SNR
    first = segmenter.propose(asked(toys, "replacement", noise_level=1.0))
    request = asked(toys, "replacement", noise_level=1.0)
    empty = replace(request, initial_mask=np.zeros_like(request.initial_mask))
    none = replace(request, initial_mask=None, noise_level=None)
    assert np.array_equal(first.probability, segmenter.propose(empty).probability)
    assert np.array_equal(first.probability, segmenter.propose(none).probability)


def test_what_is_near_a_stroke_follows_across_slices(toys: Any) -> None:
    """A projection spreads; replacement of known voxels does not, by itself."""
    segmenter, found = copying(toys), {}
    options = {"reach_mm": 1.5, "contrast": 9.0, "strength": 9.0}
    for way in ("replacement", "projection"):
        request = asked(toys, way, noise_level=0.025, steps=1, options=options)
        found[way] = segmenter.propose(request).mask
        mask = request.initial_mask
    assert mask is not None
    assert (mask[3:6, 4, 4] == 3).all()
    assert found["replacement"][3:6, 4, 4].tolist() == [3, 0, 3]
    assert found["projection"][3:6, 4, 4].tolist() == [0, 0, 0]
    assert found["projection"][6, 3, 8] == 3  # far from what was erased


class Torn(Copies):
    """Each member is all `a` or all `b`, as its noise has it."""

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        axes = tuple(range(2, noisy.ndim))
        first = (noisy.mean(axes, keepdim=True)[:, :1] > 0).float()
        return torch.cat([first, 1 - first], 1).expand_as(noisy)


def test_members_that_contradict_a_stroke_disappear(toys: Any) -> None:
    card = toys.card(
        3, sampling={**LINEAR, "prediction": "x0", "sampler": "ddim"}, context=0
    )
    segmenter = EnsemDiff(card, Torn(3), HOST)
    dense = np.zeros(toys.shape, np.uint8)
    dense[4, 4, 4] = 2
    kinds = {}
    for particles in (1, 6):
        # Without sharpness the strokes count for nothing.
        options = {"particles": particles, "sharpness": 20.0 * (particles > 1)}
        request = asked(
            toys, "weighting", strokes=Strokes.of(dense), members=6, steps=1,
            initial_mask=None, noise_level=None, options=options,
        )  # fmt: skip
        members = segmenter.propose(request).members
        assert members is not None
        kinds[particles] = set(np.unique(members[:, 0]).tolist())
    assert kinds == {1: {3, 7}, 6: {7}}


@pytest.mark.parametrize("kind", ["classes", "eps"])
def test_guidance_makes_the_strokes_likelier(toys: Any, model: Any, kind: str) -> None:
    segmenter, likely = model(kind, 3), []
    for strength in (0.0, 0.3):
        request = asked(
            toys, "guidance", noise_level=0.5, options={"strength": strength}
        )
        plan = module._plan(segmenter.card, request)
        source = module._source(segmenter, plan, toys.scan()[None])
        for _ in source(toys.scan()[None], members=4, steps=1, seed=0):
            pass
        likely.append(np.mean(list(source.likely.values())))
    assert likely[1] > likely[0]


def test_jumps_take_a_step_again(toys: Any) -> None:
    calls = []
    for jumps in (1, 3):
        segmenter = copying(toys)
        request = asked(toys, "replacement", steps=2, options={"jumps": jumps})
        segmenter.propose(request)
        calls.append(segmenter.network.calls)
    assert calls[1] == 3 * calls[0]


@pytest.mark.parametrize("code", ["LPS", "SRA"])
def test_the_way_an_image_is_stored_changes_nothing(
    toys: Any, model: Any, code: str
) -> None:
    segmenter, request = model("classes", 3), asked(toys)
    grid, turn = request.volume.grid.reoriented(code)
    base = request.initial_mask
    assert base is not None
    turned = replace(
        request,
        volume=toys.volume(code),
        strokes=Strokes.of(turn.apply(strokes_of(request).dense())),
        initial_mask=turn.apply(base),
    )
    assert turned.volume.grid.shape == grid.shape
    straight, other = segmenter.propose(request), segmenter.propose(turned)
    assert np.array_equal(turn.apply(straight.mask), other.mask)


def test_only_a_patch_of_a_large_volume_changes(toys: Any, model: Any) -> None:
    segmenter = model("classes", 3, tile=(4, 4, 6))
    request = asked(toys, options={"margin_mm": 1.0})
    region = patch_of(segmenter.card, request).place.region
    assert region.ranges == ((3, 7), (0, 8), (0, 10))
    proposal = segmenter.propose(request)
    beyond = np.ones(toys.shape, bool)
    beyond[region.slices] = False
    base = request.initial_mask
    assert base is not None
    assert base[beyond].any()
    for mask in (proposal.mask, *proposal.members):
        assert np.array_equal(mask[beyond], base[beyond])
    assert not np.array_equal(proposal.mask, base)
    found = {one.name: one.voxels for one in proposal.structures}
    assert found == {
        "a": int((proposal.mask == 3).sum()), "b": int((proposal.mask == 7).sum())
    }  # fmt: skip


def test_slices_beside_the_strokes_are_drawn_too(toys: Any, model: Any) -> None:
    segmenter = model("classes", 2)
    near = segmenter.propose(asked(toys, options={"planes": 0}))
    far = segmenter.propose(asked(toys, options={"planes": 2}))
    assert near.regions[0].box[0] == (4, 6)
    assert far.regions[0].box[0] == (2, 8)
    base = asked(toys).initial_mask
    assert base is not None
    assert np.array_equal(near.mask[:4], base[:4])
    assert not np.array_equal(far.mask[2:4], base[2:4])


def test_it_can_be_cancelled_between_evaluations(toys: Any) -> None:
    segmenter = copying(toys)
    work = segmenter.iter_propose(asked(toys, steps=8))
    seen = [next(work) for _ in range(6)]
    calls = segmenter.network.calls
    work.close()
    assert [one.stage for one in seen][-1] == "sample"
    assert 0 < calls < 8
    assert segmenter.network.calls == calls


def test_exhausted_memory_is_survived_and_told(toys: Any) -> None:
    class Large(Copies):
        def denoise(self, noisy: Tensor, timesteps: Tensor, features: Any) -> Tensor:
            if len(noisy) > 1:
                raise MemoryError("not enough memory")
            return super().denoise(noisy, timesteps, features)

    card = copying(toys).card
    answer = EnsemDiff(card, Large(3), HOST).propose(asked(toys, members=4))
    plenty = copying(toys).propose(asked(toys, members=4))
    assert any("memory exhausted" in one for one in answer.warnings)
    assert np.allclose(answer.probability, plenty.probability, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strokes": np.zeros((9, 10, 12), np.uint8)}, "there are no strokes"),
        ({"strokes": np.full((9, 10, 12), 3, np.uint8)}, "are of class 3"),
        ({"initial_mask": None}, "no initial_mask"),
        ({"initial_mask": np.full((9, 10, 12), 5, np.uint8)}, "holds 5"),
        ({"initial_mask": np.zeros((2, 2, 2), np.uint8)}, "initial mask has"),
        ({"text": "more"}, "does not use text"),
    ],
)
def test_what_cannot_be_resampled_is_refused(
    toys: Any, model: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        model().propose(replace(asked(toys), **changes))
    assert "\n" not in str(caught.value)


def test_strokes_outside_the_region_and_of_absent_classes(
    toys: Any, model: Any
) -> None:
    from diffseg.domain import ImageLabels, Region

    region = Region((0, 5), (0, 10), (0, 12))
    with pytest.raises(UserError, match="not within the region"):
        model().propose(replace(asked(toys), region=region))
    labels = ImageLabels.parse("b=absent")
    with pytest.raises(UserError, match="b is said to be absent"):
        model().propose(replace(asked(toys), labels=labels))


@pytest.mark.parametrize("given", ["zeros", "noise"])
def test_a_model_that_denoises_nothing_refuses(toys: Any, given: str) -> None:
    card = toys.card(3, sampling={"input": given})
    segmenter = FeedForward(card, toys.network(3), HOST)
    with pytest.raises(UserError, match="does not use strokes"):
        run(segmenter.iter_propose(asked(toys)))
