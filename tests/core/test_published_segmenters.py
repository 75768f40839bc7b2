"""The pixel-space methods: what is drawn is what the papers' formulas say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffseg.diffusion import noise_schedule
from diffseg.domain import Preview, Request, Sampling
from diffseg.errors import UserError
from diffseg.models import save_model
from diffseg.networks import build_network
from diffseg.segmenters import Host, load_segmenter
from diffseg.segmenters.denoiser import Denoiser
from diffseg.segmenters.drawing import Ensemble, draw_members
from diffseg.segmenters.ensemdiff import EnsemDiff
from diffseg.segmenters.features import bytes_of, joined, mapped, repeated, selected
from diffseg.segmenters.feedforward import FeedForward
from diffseg.segmenters.medsegdiff import MedSegDiff, mixed
from diffseg.segmenters.noise import StackNoise
from diffseg.segmenters.probing import probe
from diffseg.segmenters.readout import Readout
from diffseg.segmenters.segdiff import SegDiff

SEGDIFF = {
    "sampler": "ddpm", "schedule": "linear", "timesteps": 20, "steps": 4,
    "prediction": "eps", "variance": "fixed_large", "clip": False,
    "slice_correlation": 0.0,
}  # fmt: skip
ENSEMDIFF = {**SEGDIFF, "variance": "learned", "clip": True, "mask_range": (0.0, 1.0)}


def card_of(toys: Any, sampling: dict[str, Any], dims: int = 2, **changes: Any) -> Any:
    given = {"classes": 1, "context": 0, "flips": ((),), **changes}
    return toys.card(dims, sampling=sampling, **given)


def by_hand(net: Any, card: Any, image: Tensor, noises: list[Tensor]) -> Tensor:
    """Algorithm 2 of Ho et al. with the tables of a respaced process, T' x T'.

    Betas of the kept timesteps, products of their alphas, and from these the
    posterior's coefficients: nothing is shared with the sampler but the schedule.
    """
    sampling = card.sampling
    schedule = noise_schedule(sampling.schedule, sampling.timesteps)
    kept = schedule.spaced(sampling.steps)[::-1]  # rising
    bars = schedule.alpha_bar[kept].numpy()
    below = np.concatenate([[1.0], bars[:-1]])
    betas = 1 - bars / below
    small = betas * (1 - below) / (1 - bars)
    x = noises[0]
    for i in range(len(kept) - 1, -1, -1):
        t = torch.full((len(x),), kept[i])
        raw = net(x, t, image)
        output, place = raw[:, :1], raw[:, 1:]
        a, s = float(bars[i]) ** 0.5, float(1 - bars[i]) ** 0.5
        x0 = {
            "eps": lambda: (x - s * output) / a,  # noqa: B023
            "v": lambda: a * x - s * output,  # noqa: B023
            "x0": lambda: output,  # noqa: B023
        }[sampling.prediction]()
        if sampling.clip:
            x0 = x0.clamp(*sampling.mask_range)
        if i == 0:
            return x0
        mean = (
            float(below[i] ** 0.5 * betas[i] / (1 - bars[i])) * x0
            + float((1 - betas[i]) ** 0.5 * (1 - below[i]) / (1 - bars[i])) * x
        )
        if sampling.variance == "learned":
            share = (place + 1) / 2
            log = share * float(np.log(betas[i])) + (1 - share) * float(
                np.log(small[i])
            )
            sigma = torch.exp(0.5 * log)
        else:
            large = sampling.variance == "fixed_large"
            sigma = torch.tensor(float((betas if large else small)[i]) ** 0.5)
        x = mean + sigma * noises[len(kept) - i]
    raise AssertionError("no step")


class Whole(nn.Module):
    """A network called as published: with the image at every step."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, noisy: Tensor, t: Tensor, image: Tensor) -> Tensor:
        answer: Tensor = self.net.denoise(noisy, t, self.net.encode(image))
        return answer


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("variance", ["learned", "fixed_small", "fixed_large"])
@torch.inference_mode()
def test_a_member_is_the_papers_chain(
    toys: Any, prediction: str, variance: str
) -> None:
    sampling = {**ENSEMDIFF, "prediction": prediction, "variance": variance}
    card = card_of(toys, sampling)
    net = toys.two_maps(learned_variance=True)
    image = toys.scan()[None, :1]  # [C, Z, Y, X], one slice
    members = list(draw_members(net, card, image, "cpu", members=3, steps=4, seed=5))
    stack = StackNoise(5, (1, 10, 12), 0.0)
    noises = [stack([0, 1, 2], draw, range(1))[:, :, 0] for draw in range(4)]
    x0 = by_hand(Whole(net), card, torch.from_numpy(image[:, 0]).repeat(3, 1, 1, 1),
                 noises)  # fmt: skip
    expected = x0.clamp(0, 1)[:, 0].numpy()
    ours = np.stack(members)[:, 1, 0]
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert ours.std() > 0.01  # else nothing was compared
    np.testing.assert_allclose(np.stack(members).sum(1), 1, atol=1e-5)


@torch.inference_mode()
def test_segdiff_clips_at_the_end_only(toys: Any) -> None:
    card, net = card_of(toys, SEGDIFF), toys.two_maps()
    image = toys.scan()[None, :1]
    ours = np.stack(
        list(draw_members(net, card, image, "cpu", members=2, steps=4, seed=1))
    )
    stack = StackNoise(1, (1, 10, 12), 0.0)
    noises = [stack([0, 1], draw, range(1))[:, :, 0] for draw in range(4)]
    seen = torch.from_numpy(image[:, 0]).repeat(2, 1, 1, 1)
    x0 = by_hand(Whole(net), card, seen, noises)
    assert x0.abs().max() > 1  # else clipping on the way would not show
    expected = ((x0 + 1) / 2).clamp(0, 1)[:, 0].numpy()
    np.testing.assert_allclose(ours[:, 1, 0], expected, atol=1e-5)


def test_the_clip_range_may_be_wider_than_the_masks(toys: Any) -> None:
    net = toys.two_maps(learned_variance=True)
    lowest = []
    for given in (None, (-1.0, 1.0)):
        readout = Readout.of(card_of(toys, {**ENSEMDIFF, "clip_range": given}), net)
        noisy, t = -5 * torch.ones(1, 1, 2, 2), torch.tensor([3])
        x0 = readout.estimate(torch.zeros(1, 2, 2, 2), noisy, t)[:, :1]
        lowest.append(float(x0.min()))
        assert float(readout.shares(x0).min()) == 0
    assert lowest == [0, -1]


@pytest.mark.parametrize("dims", [2, 3])
def test_the_image_is_encoded_once_and_members_go_together(
    toys: Any, dims: int
) -> None:
    net = toys.two_maps(dims=dims, learned_variance=True)
    card = card_of(toys, ENSEMDIFF, dims, flips=((), (2,)))
    image = toys.scan()[None]
    drawn = list(draw_members(net, card, image, "cpu", members=6, steps=4, seed=0))
    assert len(drawn) == 6
    images = 2 * (image.shape[1] if dims == 2 else 1)  # for each of two flips
    assert sum(net.encoded) == images
    assert len(net.denoised) == 2 * 4  # of three members each, step by step
    masks = 3 * (image.shape[1] if dims == 2 else 1)
    assert {len(t) for t in net.denoised} == {masks}


def test_respaced_chains_tell_the_network_the_original_timesteps(toys: Any) -> None:
    net = toys.two_maps()
    sampling = {**SEGDIFF, "timesteps": 1000}
    image = toys.scan()[None, :2]
    list(draw_members(net, card_of(toys, sampling), image, "cpu", members=1, steps=5,
                      seed=0))  # fmt: skip
    assert [t.unique().tolist() for t in net.denoised] == [
        [999], [799], [599], [399], [199]
    ]  # fmt: skip


@pytest.mark.parametrize("dims", [2, 3])
def test_batches_flips_and_blocks_change_no_member(toys: Any, dims: int) -> None:
    net = toys.two_maps(dims=dims, mask_channels=2, learned_variance=True)
    flips = ((), (2,), (0,))
    card = card_of(toys, ENSEMDIFF, dims, classes=2, flips=flips)
    image = toys.scan()[None]

    def drawn(**options: Any) -> np.ndarray:
        members = draw_members(net, card, image, "cpu", members=4, steps=3, seed=2,
                               **options)  # fmt: skip
        return np.stack(list(members))

    whole = drawn()
    assert whole.shape == (4, 3, *toys.shape)
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-5)
    assert whole.min() >= 0
    np.testing.assert_allclose(drawn(batch_voxels=1), whole, atol=1e-5)


def test_foreground_that_claims_too_much_is_shared_out(toys: Any) -> None:
    net = toys.two_maps(mask_channels=2)
    readout = Readout.of(card_of(toys, SEGDIFF, classes=2), net)
    shares = torch.tensor([[0.9, 0.6], [0.2, 0.3], [0.0, 0.0]])[..., None, None]
    made = readout.completed(shares)[..., 0, 0]
    expected = torch.tensor([[0.0, 0.6, 0.4], [0.5, 0.2, 0.3], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(made, expected)


@torch.inference_mode()
def test_tiles_are_blended_before_they_are_read(toys: Any) -> None:
    """A network that looks at one voxel answers the same in tiles, variance and all."""
    net = toys.two_maps(learned_variance=True)
    for conv in (net.image, net.mask):
        middle = conv.weight[:, :, 1, 1].clone()
        conv.weight.zero_()
        conv.weight[:, :, 1, 1] = middle
    image, noisy = toys.scan()[None], torch.randn(2, 1, *toys.shape)
    t = torch.tensor([3, 3])
    whole = Denoiser(net, image, "cpu")
    tiled = Denoiser(net, image, "cpu", tile=(6, 6))
    assert whole(noisy, t).shape == (2, 2, *toys.shape)
    torch.testing.assert_close(tiled(noisy, t), whole(noisy, t))


@pytest.mark.parametrize(
    ("sampling", "config", "message"),
    [
        ({}, {"mask_channels": 3}, "3 mask channels; prediction eps of 1 classes"),
        ({"prediction": "classes"}, {"mask_channels": 3}, "wants 1 or 2"),
        ({"variance": "learned"}, {}, "learns none"),
        ({"schedule": "cosine"}, {}, "predict x0 or v"),
        ({"mix_calibration": True}, {}, "no mask of its own"),
    ],
)
def test_a_network_that_does_not_fit_its_card_is_refused(
    toys: Any, sampling: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    net: Any = toys.two_maps(**config)
    if sampling.get("mix_calibration"):
        net = _Plain(net)
    segmenter = MedSegDiff(card_of(toys, {**SEGDIFF, **sampling}), net, Host("cpu", 1))
    with pytest.raises(UserError, match=message) as caught:
        segmenter.propose(Request(toys.volume()))
    assert "\n" not in str(caught.value)


class _Plain:
    """A network without a mask of its own."""

    def __init__(self, net: Any) -> None:
        self.dims, self.multiple = net.dims, net.multiple
        self.mask_channels, self.learned_variance = net.mask_channels, False
        self.encode, self.denoise, self.parameters = (
            net.encode, net.denoise, net.parameters
        )  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.0, 0.0)])
def test_a_mask_range_is_a_range(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="mask_range"):
        Sampling(mask_range=(low, high))


# E1


def feedforward(toys: Any, net: Any, **sampling: Any) -> FeedForward:
    given = {"prediction": "classes", "timesteps": 50, **sampling}
    dims = net.dims
    card = card_of(toys, given, dims, flips=((), (2,)))
    return FeedForward(card, net, Host("cpu", 1))


@pytest.mark.parametrize("dims", [2, 3])
@torch.inference_mode()
def test_e1_is_the_sigmoid_at_the_last_timestep(toys: Any, dims: int) -> None:
    net = toys.two_maps(dims=dims, learned_variance=True)
    segmenter = feedforward(toys, net)
    image = toys.scan()[None]
    first, second, third = segmenter.draw(image, members=3, steps=9, seed=0)
    assert {int(t) for times in net.denoised for t in times} == {49}
    seen = torch.from_numpy(image) if dims == 3 else torch.from_numpy(image)[0][:, None]
    seen = seen[None] if dims == 3 else seen  # 2D: slices are the batch
    logits = net.denoise(
        torch.zeros_like(seen), torch.full((len(seen),), 49), net.encode(seen)
    )
    answer = logits[:, :1].sigmoid().reshape(toys.shape).numpy()
    # Sizes are padded to the network's multiple: the rim sees other zeros.
    np.testing.assert_allclose(first[1][:-1], answer[:-1], atol=1e-5)
    np.testing.assert_allclose(first[0], 1 - first[1], atol=1e-6)
    assert np.abs(first - second).max() > 1e-3  # the flipped image
    np.testing.assert_array_equal(first, third)


def test_e1_on_noise_draws_its_members(toys: Any) -> None:
    net = toys.two_maps()
    segmenter = feedforward(toys, net, input="noise", sampler="ddpm")
    image = toys.scan()[None]
    members = list(segmenter.draw(image, members=3, steps=9, seed=0))
    again = list(segmenter.draw(image, members=3, steps=1, seed=0))
    np.testing.assert_array_equal(members, again)
    assert {int(t) for times in net.denoised for t in times} == {49}
    assert np.abs(members[0] - members[2]).max() > 1e-3  # one flip, two draws
    assert segmenter.evaluations(7, 9) == (7, 7)
    assert feedforward(toys, net).evaluations(7, 9) == (2, 2)


def test_e1_of_a_noise_prediction_is_refused(toys: Any) -> None:
    with pytest.raises(UserError, match="must be classes, not eps"):
        feedforward(toys, toys.two_maps(), prediction="eps").source()


# MedSegDiff


def test_the_calibration_map_is_mixed_in_as_published() -> None:
    own = torch.tensor([[[0.8, 0.8, 0.1, 0.1]]])[None, None]  # [M, C, Z, Y, X]
    alike = torch.tensor([[[0.9, 0.7, 0.0, 0.0]]])[None, None]  # [M, C, Z, Y, X]
    # Dice of the sample's support and the map: 2 * 1.6 / (2 + 1.8) = 0.84.
    torch.testing.assert_close(mixed(alike, own), (alike + own) / 2)
    other = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])[None, None]
    torch.testing.assert_close(
        mixed(other, own), torch.tensor([0.8, 0.8, 0.35, 0.35]).view(1, 1, 1, 1, 4)
    )
    nothing = torch.zeros(1, 1, 1, 1, 4)
    torch.testing.assert_close(mixed(nothing, 0 * own), nothing)


def test_the_card_says_whether_the_calibration_map_is_mixed_in(toys: Any) -> None:
    net = toys.two_maps(learned_variance=True)
    image, drawn = toys.scan()[None], []
    for mix in (False, True):
        card = card_of(toys, {**ENSEMDIFF, "mix_calibration": mix}, flips=((), (0, 2)))
        segmenter = MedSegDiff(card, net, Host("cpu", 1))
        drawn.append(np.stack(list(segmenter.draw(image, members=2, steps=2, seed=0))))
    last = net.denoised[-1].unique().item()  # the step whose calibration counts
    assert last == noise_schedule("linear", 20).spaced(2)[-1]
    own = torch.sigmoid(torch.from_numpy(toys.scan()) + last / 10)
    plain = torch.from_numpy(drawn[0][:, 1:])
    expected = mixed(plain, own.expand_as(plain))[:, 0]
    np.testing.assert_allclose(drawn[1][:, 1], expected, atol=1e-5)


# From request to proposal


METHODS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "ensemdiff": (EnsemDiff, ENSEMDIFF),
    "segdiff": (SegDiff, SEGDIFF),
    "medsegdiff": (MedSegDiff, {**ENSEMDIFF, "consensus": "staple"}),
    "feedforward": (FeedForward, {"prediction": "classes", "input": "noise"}),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_proposes_slice_by_slice_and_can_be_probed(
    toys: Any, name: str
) -> None:
    method, sampling = METHODS[name]
    net = toys.two_maps(learned_variance=True)
    segmenter = method(card_of(toys, sampling), net, Host("cpu", 1))
    request = Request(toys.volume(), members=3, steps=2, keep_members=True)
    seen, made = toys.watched(segmenter.iter_propose(request))
    assert set(np.unique(made.mask)) <= {0, 3}
    assert made.mask.any()
    assert (made.mask == 3).any(axis=(1, 2)).any()
    np.testing.assert_array_equal(made.mask == 3, made.probability[0] > 0.5)
    assert any(isinstance(one, Preview) for one in seen)
    again = segmenter.propose(request)
    assert again.probability.tobytes() == made.probability.tobytes()
    estimate = probe(segmenter, request)
    assert estimate.seconds > 0
    assert estimate.memory_bytes > 0


def test_closing_a_long_chain_stops_within_one_evaluation(toys: Any) -> None:
    net = toys.two_maps()
    segmenter = SegDiff(card_of(toys, SEGDIFF), net, Host("cpu", 1))
    work = segmenter.iter_propose(Request(toys.volume(), members=2, steps=20))
    for _ in work:
        if len(net.denoised) == 3:
            break
    work.close()
    assert len(net.denoised) == 3


def test_exhausted_memory_goes_down_the_ladder(
    toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = toys.two_maps()
    card = card_of(toys, SEGDIFF)
    image = toys.scan()[None]
    expected = list(draw_members(net, card, image, "cpu", members=4, steps=2, seed=0))
    genuine = net.denoise

    def greedy(noisy: Tensor, t: Tensor, features: Any) -> Tensor:
        if len(noisy) > 5:
            raise torch.OutOfMemoryError("no room")
        return genuine(noisy, t, features)

    monkeypatch.setattr(net, "denoise", greedy)
    ours = list(draw_members(net, card, image, "cpu", members=4, steps=2, seed=0))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_consensus_is_the_cards_and_uncertainty_the_members(toys: Any) -> None:
    net, made = toys.two_maps(), {}
    for consensus in ("mean", "staple", "squared_mean"):
        sampling = {**SEGDIFF, "consensus": consensus}
        segmenter = SegDiff(card_of(toys, sampling), net, Host("cpu", 1))
        made[consensus] = segmenter.propose(Request(toys.volume(), members=5))
    mean = made["mean"].probability
    np.testing.assert_allclose(made["squared_mean"].probability, mean**2, atol=1e-6)
    assert (made["squared_mean"].mask > 0).sum() < (made["mean"].mask > 0).sum()
    assert np.abs(made["staple"].probability - mean).max() > 0.1
    for one in made.values():
        np.testing.assert_array_equal(one.uncertainty, made["mean"].uncertainty)
        assert one.mutual_information_mean == made["mean"].mutual_information_mean


def test_blocks_do_not_change_staple(toys: Any) -> None:
    """STAPLE sees each slice as an image: however many are finished together."""
    from diffseg.segmenters import iter_propose_with

    card = card_of(toys, {**SEGDIFF, "consensus": "staple"})
    answers = []
    for code, voxels in (("RAS", 1), ("RAS", 10**6), ("PSL", 500)):
        source = Ensemble(toys.two_maps(), card, "cpu", block_voxels=voxels)
        request = Request(toys.volume(code), members=5, seed=1)
        work = iter_propose_with(card, source, request, Host("cpu", 1))
        made = toys.watched(work)[1]
        _, turn = made.grid.reoriented("RAS")
        answers.append(turn.apply(made.probability))
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-4)


GUIDED = {
    "image_channels": 3, "channels": 32, "multipliers": (1, 1, 1, 1), "blocks": 1,
    "attention": (8,),
}  # fmt: skip
PUBLISHED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "ensemdiff": ("guided_unet", GUIDED, ENSEMDIFF),
    "segdiff": (
        "segdiff",
        {**GUIDED, "reader_blocks": 1, "reader_width": 8, "reader_growth": 4},
        SEGDIFF,
    ),
    "medsegdiff": (
        "medsegdiff",
        {**GUIDED, "version": "v1", "image_size": 16},
        {**ENSEMDIFF, "mix_calibration": True, "consensus": "staple"},
    ),
    "medsegdiff-new": (
        "medsegdiff",
        {**GUIDED, "version": "new"},
        {**ENSEMDIFF, "mix_calibration": True},
    ),
}


def published(name: str) -> Any:
    """A published network, small, whose layers that are born zero are not zero."""
    network, config, _ = PUBLISHED[name]
    torch.manual_seed(0)
    net = build_network(network, **config)
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.3)
    return net


def card_of_published(toys: Any, name: str, **sampling: Any) -> Any:
    network, config, given = PUBLISHED[name]
    card = card_of(
        toys, {**given, **sampling}, channels=("red", "green", "blue"), size=(16, 16),
        intensity={"kind": "range", "low": -3, "high": 3}, flips=((), (2,)),
    )  # fmt: skip
    method = name.partition("-")[0]
    told = {"name": network, **config}
    return card.model_copy(update={"method": method, "network": told})


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_loaded_and_proposes(
    toys: Any, tmp_path: Path, name: str
) -> None:
    """On a grey picture of another size, by its own method and as E1."""
    net, card = published(name), card_of_published(toys, name)
    save_model(tmp_path / "model", card, net.state_dict())
    segmenter = load_segmenter(tmp_path / "model", device="cpu")
    calls: list[int] = []
    encode = segmenter.network.encode
    segmenter.network.encode = lambda x: calls.append(len(x)) or encode(x)
    request = Request(toys.volume(), members=4, steps=2)
    made = segmenter.propose(request)
    assert made.mask.shape == toys.shape
    assert made.warnings == (
        "case is grey: its one channel stands for red, green and blue",
    )
    assert sum(calls) == 2 * toys.shape[0]  # each slice once for each flip
    assert made.probability.std() > 0
    assert probe(segmenter, request).seconds > 0
    for given in ("zeros", "noise"):
        card = card_of_published(toys, name, prediction="classes", input=given,
                                 mix_calibration=False)  # fmt: skip
        twin = FeedForward(card, segmenter.network, Host("cpu", 1))
        assert twin.propose(request).mask.shape == toys.shape


def test_a_network_of_fixed_size_wants_it_on_the_card(
    toys: Any, tmp_path: Path
) -> None:
    name = "medsegdiff"
    card = card_of_published(toys, name)
    preparation = card.preparation.model_copy(update={"size": (16, 24)})
    card = card.model_copy(update={"preparation": preparation})
    save_model(tmp_path / "model", card, published(name).state_dict())
    with pytest.raises(UserError, match="made for 16 x 16 pixels"):
        load_segmenter(tmp_path / "model", device="cpu")


def test_a_network_of_other_classes_is_not_loaded(toys: Any, tmp_path: Path) -> None:
    card = card_of_published(toys, "ensemdiff")
    card = card.model_copy(update={"labels": toys.table})
    save_model(tmp_path / "model", card, published("ensemdiff").state_dict())
    with pytest.raises(UserError, match="1 mask channels"):
        load_segmenter(tmp_path / "model", device="cpu")


# Trees


def test_features_of_any_tree_are_joined_selected_and_weighed() -> None:
    tree = {"a": [torch.arange(6.0).view(3, 2)], "b": (torch.ones(3, 1), None, 7)}
    two = joined([tree, tree])
    assert two["a"][0].shape == (6, 2)
    assert two["b"][1:] == (None, 7)
    chosen = selected(tree, torch.tensor([2, 0, 2]))
    assert chosen["a"][0].tolist() == [[4, 5], [0, 1], [4, 5]]
    assert bytes_of(tree) == 4 * (6 + 3)
    one = selected(tree, torch.tensor([1]))
    many = repeated(one, 4)
    assert many["a"][0].shape == (4, 2)
    assert many["a"][0].data_ptr() == one["a"][0].data_ptr()
    assert mapped(torch.neg, tree)["a"][0][2, 1] == -5


@pytest.mark.parametrize(
    ("size", "tile", "fits"),
    [
        ((16, 16), None, True),
        ((32, 40), (16, 16), True),
        ((32, 40), None, False),
        ((8, 32), (16, 16), False),
        (None, (16, 16), False),
    ],
)
def test_filters_made_for_one_size_see_no_other(
    toys: Any, size: Any, tile: Any, fits: bool
) -> None:
    card = card_of_published(toys, "medsegdiff")
    given = card.preparation.model_copy(update={"size": size, "tile": tile})
    card = card.model_copy(update={"preparation": given})
    segmenter = MedSegDiff(card, published("medsegdiff"), Host("cpu", 1))
    if not fits:
        with pytest.raises(UserError, match="size 16, 16, or a larger one and tiles"):
            segmenter.source()
        return
    seen: set[tuple[int, ...]] = set()
    encode = segmenter.network.encode
    segmenter.network.encode = lambda x: seen.add(tuple(x.shape[2:])) or encode(x)
    segmenter.propose(Request(toys.volume(channels=3), members=1, steps=1))
    assert seen == {(16, 16)}
