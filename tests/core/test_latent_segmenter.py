"""Members drawn in a latent: one step, chains, clipping, batches, memory."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from diffseg.diffusion import noise_schedule
from diffseg.diffusion.parameterisation import target
from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Request,
    Sampling,
)
from diffseg.errors import DiffsegError, UserError
from diffseg.networks import build_network
from diffseg.progress import Progress
from diffseg.segmenters import Host
from diffseg.segmenters.latent import Latent
from diffseg.segmenters.latent_members import LatentMembers
from diffseg.segmenters.source import Slab
from diffseg.volume import Volume

T = 50
TINY = {
    "name": "latent_diffusion",
    "image_channels": 1,
    "autoencoder": {
        "channels": 8, "multipliers": (1, 1, 1), "blocks": 1, "groups": 8,
        "latent_channels": 2,
    },
    "unet": {"channels": 32, "multipliers": (1, 1), "blocks": 1, "attention": (2,)},
}  # fmt: skip


class Toy(nn.Module):
    """A latent network of one weight; factor 4, sizes in multiples of 8."""

    dims, latent_channels, factor, multiple = 2, 2, 4, 8
    mask_channels, learned_variance = 2, False

    def __init__(self, classes=1):
        super().__init__()
        self.classes = classes
        self.weight = nn.Parameter(torch.tensor(0.7))
        self.encoded, self.batches, self.times = 0, [], []

    def encode(self, image):
        self.encoded += len(image)
        pooled = functional.avg_pool2d(image.mean(1, keepdim=True), 4)
        return self.weight * pooled.repeat(1, 2, 1, 1)

    def denoise(self, noisy, timesteps, features):
        self.times += timesteps.tolist()
        self.batches.append(len(noisy))
        return 0.5 * noisy + features

    def decode(self, latent):
        shares = latent[:, :1].repeat(1, self.classes, 1, 1).sigmoid()
        return functional.interpolate(shares, scale_factor=4)


class Oracle(Toy):
    """A network that knows the clean latent and puts out what it was asked to."""

    def __init__(self, clean, sampling):
        super().__init__()
        self.clean, self.kind = clean, sampling.prediction
        self.schedule = noise_schedule(sampling.schedule, T, sampling.betas)

    def denoise(self, noisy, timesteps, features):
        clean = self.clean.expand_as(noisy)
        a, s = self.schedule.signal_and_noise(timesteps, noisy)
        eps = (noisy - a * clean) / s
        return target(self.kind, clean, eps, timesteps, self.schedule)


def card(classes=1, channels=1, preparation=None, **sampling):
    labels = tuple(
        Label(name=f"part{i}", value=i, color="#336699") for i in range(1, classes + 1)
    )
    usual = {"prediction": "x0", "schedule": "linear", "clip": False, "sampler": "ddim"}
    settings = usual | sampling
    return ModelCard(
        id="toy", version="1.0.0", title="toy", method="latent", network=dict(TINY),
        labels=LabelTable(labels=labels),
        preparation=preparation
        or Preparation(
            dims=2,
            channels=tuple(f"c{i}" for i in range(channels)),
        ),
        sampling=Sampling(timesteps=T, **settings),
        modality="none", licence="CC0", sha256="", data="none", intended_use="none",
        limits=("all",),
    )  # fmt: skip


def image(shape=(1, 5, 16, 24), seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def draw(net, a_card, data, members=4, steps=1, seed=1, **options):
    """Whole members (M, K + 1, Z, Y, X), and what else was yielded."""
    source = LatentMembers(net, a_card, "cpu", **options)
    out = np.full((members, len(a_card.labels) + 1, *data.shape[1:]), np.nan)
    others, turn, last = [], 0, -1
    for piece in source(data, members=members, steps=steps, seed=seed):
        if not isinstance(piece, Slab):
            others.append(piece)
            continue
        turn = turn + 1 if piece.start == last else 0
        last = piece.start
        out[turn, :, piece.start : piece.stop] = piece.probability
    assert not np.isnan(out).any()
    return out, others


def test_one_step_is_taken_from_the_noisiest_level():
    net = Toy()
    draw(net, card(), image(), members=3)
    assert net.times == [T - 1] * 3 * 5


def test_an_image_is_encoded_once_for_all_members_and_steps():
    net = Toy()
    draw(net, card(), image(), members=6, steps=4)
    assert net.encoded == 5
    assert len(net.times) == 6 * 4 * 5
    assert set(net.times) == {49, 37, 24, 11}


@pytest.mark.parametrize("kind", ["eps", "v", "x0"])
@pytest.mark.parametrize(
    ("sampler", "steps"),
    [("ddim", 1), ("ddim", 4), ("ddpm", 4), ("dpm_solver_pp", 4), ("restart", 3)],
)
def test_a_perfect_network_gives_the_clean_latent(kind, sampler, steps):
    clean = torch.randn(1, 2, 4, 6, generator=torch.Generator().manual_seed(3))
    a_card = card(prediction=kind)
    sampling = a_card.sampling.model_copy(update={"sampler": sampler})
    a_card = a_card.model_copy(update={"sampling": sampling})
    members, _ = draw(Oracle(clean, sampling), a_card, image(), 2, steps)
    wanted = functional.interpolate(clean[:, :1].sigmoid(), scale_factor=4)[0, 0]
    for member in members:
        np.testing.assert_allclose(
            member[1], np.broadcast_to(wanted, (5, 16, 24)), atol=2e-4
        )


@pytest.mark.parametrize(
    ("clip", "bounds", "latent"), [(False, (-1, 1), 3.0), (True, (-1, 1), 1.0),
                                   (True, (-2.5, 2.5), 2.5)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_latents_are_clipped_where_the_card_says_so(clip, bounds, latent, kind):
    a_card = card(prediction=kind, clip=clip, mask_range=bounds)
    clean = torch.full((1, 2, 4, 6), 3.0)
    members, _ = draw(Oracle(clean, a_card.sampling), a_card, image(), 1)
    share = 1 / (1 + math.exp(-latent))
    np.testing.assert_allclose(members[0, 1], share, atol=2e-4)
    np.testing.assert_allclose(members[0, 0], 1 - share, atol=2e-4)


def many_ways():
    return card(
        classes=2,
        slice_correlation=0.6,
        preparation=Preparation(dims=2, context=1, flips=((), (2,), (0, 1))),
    )


def test_members_follow_from_the_seed():
    first, _ = draw(Toy(2), many_ways(), image())
    again, _ = draw(Toy(2), many_ways(), image())
    np.testing.assert_array_equal(first, again)
    other, _ = draw(Toy(2), many_ways(), image(), seed=2)
    assert np.abs(first - other).max() > 1e-2
    assert np.abs(first[0] - first[3]).max() > 1e-2  # of one flip


@pytest.mark.parametrize(
    "options", [{"batch_voxels": 1}, {"block_voxels": 1}, {"block_voxels": 800}]
)
@pytest.mark.parametrize("network", ["toy", "real"])
def test_batches_blocks_and_the_number_of_members_change_nothing(options, network):
    net, data = Toy(2), image()
    if network == "real":
        net, data = tiny(image_channels=3, classes=2), image((1, 2, 16, 24))
    whole, _ = draw(net, many_ways(), data, members=4, steps=2)
    parts, _ = draw(net, many_ways(), data, members=4, steps=2, **options)
    np.testing.assert_allclose(whole, parts, atol=1e-4)
    few, _ = draw(net, many_ways(), data, members=2, steps=2)
    np.testing.assert_allclose(whole[:2], few, atol=1e-4)
    assert np.abs(whole[0] - whole[3]).max() > 1e-3


def test_a_flip_is_undone():
    """A mirrored image with mirrored noise gives the mirrored answer."""
    flip = card(preparation=Preparation(dims=2, flips=((2,),)))
    plain, data = card(), image()
    members, _ = draw(Toy(), flip, data, members=1)
    mirrored, _ = draw(Toy(), plain, data[..., ::-1].copy(), members=1)
    np.testing.assert_array_equal(members, mirrored[..., ::-1])
    upside = card(preparation=Preparation(dims=2, flips=((0,),)))
    members, _ = draw(Toy(), upside, data, members=1)
    turned, _ = draw(Toy(), plain, data[:, ::-1].copy(), members=1)
    assert np.abs(members - turned[:, :, ::-1]).max() > 1e-3  # noise stays in place
    noiseless = Toy()
    noiseless.denoise = lambda noisy, t, features: features
    members, _ = draw(noiseless, upside, data, members=1)
    turned, _ = draw(noiseless, plain, data, members=1)
    np.testing.assert_array_equal(members, turned)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_neighbouring_slices_see_coherent_noise(correlation):
    net = Toy()
    net.denoise = lambda noisy, t, features: noisy
    a_card = card(slice_correlation=correlation)
    members, _ = draw(net, a_card, image((1, 2, 256, 256)), members=1)
    latent = torch.from_numpy(members[0, 1, :, ::4, ::4]).logit().flatten(1)
    assert float(torch.corrcoef(latent)[0, 1]) == pytest.approx(correlation, abs=0.05)


def test_the_background_is_the_rest_and_claims_are_shared_out():
    net = Toy(2)
    net.decode = lambda latent: (
        torch.tensor([0.9, 0.6]).view(1, 2, 1, 1).expand(len(latent), 2, 16, 24)
    )
    members, _ = draw(net, card(2), image(), members=1)
    np.testing.assert_allclose(members[0, :, 0, 0, 0], [0, 0.6, 0.4], atol=1e-6)


def test_sizes_that_do_not_fit_are_continued_and_cut_again():
    net = Toy()
    members, _ = draw(net, card(), image((1, 2, 13, 18)), members=1)
    assert members.shape == (1, 2, 2, 13, 18)
    np.testing.assert_allclose(members.sum(1), 1, atol=1e-6)


def test_slices_are_finished_one_after_another_and_work_can_be_cancelled():
    source = LatentMembers(Toy(), card(), "cpu", block_voxels=3 * 2 * 16 * 24)
    pieces = list(source(image(), members=2, steps=3, seed=0))
    slabs = [(p.start, p.stop) for p in pieces if isinstance(p, Slab)]
    assert slabs == [(0, 2), (0, 2), (2, 4), (2, 4), (4, 5), (4, 5)]
    assert pieces.count(None) >= 3 * (1 + 3 + 1)


class Hungry(Toy):
    """Out of memory with more than so many slices, or in full precision."""

    def __init__(self, most, half=False):
        super().__init__()
        self.most, self.half = most, half

    def denoise(self, noisy, timesteps, features):
        if len(noisy) > self.most or (self.half and noisy.dtype == torch.float32):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().denoise(noisy, timesteps, features)


def test_exhausted_memory_leads_to_fewer_slices_at_once():
    whole, _ = draw(Toy(), card(), image())
    parts, others = draw(Hungry(2), card(), image())
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    told = [o for o in others if isinstance(o, Progress)]
    assert [one.stage for one in told] == ["memory"] * len(told)
    assert told[-1].message == "memory exhausted: 2 slices at once from here on"


def test_then_to_half_precision_and_then_to_one_line():
    _, others = draw(Hungry(1, half=True), card(), image((1, 1, 16, 24)), members=1)
    assert [o.message for o in others if isinstance(o, Progress)] == [
        "memory exhausted: half precision from here on"
    ]
    with pytest.raises(DiffsegError, match="does not suffice for one slice"):
        draw(Hungry(0), card(), image())


def test_a_smaller_region_is_not_advised_where_slices_are_shown_whole():
    sized = card(preparation=Preparation(dims=2, channels=("c0",), size=(16, 24)))
    with pytest.raises(DiffsegError, match="choose a smaller model") as caught:
        draw(Hungry(0), sized, image())
    assert caught.value.option == ""


def test_other_errors_are_not_taken_for_exhausted_memory():
    net = Toy()
    net.denoise = lambda *_: (_ for _ in ()).throw(RuntimeError("a mistake"))
    with pytest.raises(RuntimeError, match="a mistake"):
        draw(net, card(), image())


@pytest.mark.parametrize(
    ("preparation", "sampling", "message"),
    [
        (Preparation(dims=3), {}, "dims 2"),
        (Preparation(dims=2, tile=(64, 64)), {}, "no tile"),
        (None, {"prediction": "classes"}, "not classes"),
        (None, {"prediction": "eps", "schedule": "cosine"}, "predict x0 or v"),
        (None, {"sampler": "ddpm", "variance": "learned"}, "learns no variance"),
    ],
)
def test_cards_that_a_latent_network_cannot_follow(preparation, sampling, message):
    with pytest.raises(UserError, match=message) as caught:
        LatentMembers(Toy(), card(preparation=preparation, **sampling), "cpu")
    assert "\n" not in str(caught.value)


# The real network


def tiny(**config):
    torch.manual_seed(3)
    net = build_network(**(TINY | config))
    for parameter in net.unet.out.parameters():  # zero at the start
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_a_proposal_from_a_model_folder(classes, tmp_path):
    from diffseg.models import save_model

    net = tiny(classes=classes)
    network = TINY | {"classes": classes}
    a_card = card(classes).model_copy(update={"network": network})
    folder = save_model(tmp_path / "model", a_card, net.state_dict(), half=False)
    volume = Volume.from_array(image((1, 2, 20, 26)), np.eye(4), name="made")
    segmenter = Latent.from_model(folder, "cpu")
    proposal = segmenter.propose(Request(volume, members=3, steps=2, seed=0))
    assert proposal.mask.shape == (2, 20, 26)
    assert proposal.probability.shape == (classes, 2, 20, 26)
    again = Latent(a_card, net, Host("cpu", 1)).propose(
        Request(volume, members=3, steps=2, seed=0)
    )
    np.testing.assert_allclose(proposal.probability, again.probability, atol=1e-5)
    assert segmenter.evaluations(3, 2) == (3, 6)
    data = image((1, 2, 20, 26))
    assert len(list(segmenter.draw(data, members=3, steps=1, seed=0))) == 3


def test_the_time_it_will_take_is_told():
    from diffseg.segmenters.probing import probe

    net = tiny()
    segmenter = Latent(card(), net, Host("cpu", 1))
    volume = Volume.from_array(image((1, 2, 32, 32)), np.eye(4), name="made")
    estimate = probe(segmenter, Request(volume, members=3, steps=2, seed=0))
    assert estimate.seconds > 0
    assert estimate.memory_bytes > 0
    assert (estimate.members, estimate.steps) == (3, 2)
    shares = segmenter.probed.denoise(
        torch.zeros(1, 2, 32, 32), torch.zeros(1).long(), torch.zeros(1, 2, 8, 8)
    )
    assert shares.shape == (1, 1, 32, 32)
