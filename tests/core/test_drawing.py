"""Members: batches, tiles, flips and slices change nothing that they must not."""

import numpy as np
import pytest
import torch

from diffseg.domain import Sampling
from diffseg.errors import DiffsegError
from diffseg.segmenters.denoiser import Denoiser, tile_starts, with_context
from diffseg.segmenters.drawing import draw_members, restart_levels


def card_of(toys, dims=3, **sampling):
    context = 1 if dims == 2 else 0
    return toys.card(dims, sampling=sampling, flips=((), (2,)), context=context)


def image(shape=(1, 7, 10, 9), seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def draw(net, card, data, members=4, steps=2, seed=1, **options):
    return np.stack(
        list(
            draw_members(
                net,
                card,
                data,
                "cpu",
                members=members,
                steps=steps,
                seed=seed,
                **options,
            )
        )
    )


@pytest.mark.parametrize("sampler", ["restart", "ddpm", "ddim", "dpm_solver_pp"])
def test_members_are_probabilities_and_differ(toys, sampler):
    members = draw(toys.network(3), card_of(toys, sampler=sampler), image(), steps=3)
    assert members.shape == (4, 3, 7, 10, 9)
    np.testing.assert_allclose(members.sum(1), 1, atol=1e-4)
    assert members.min() >= -1e-5
    assert np.abs(members[0] - members[2]).max() > 1e-3


def test_same_seed_same_members_another_seed_others(toys):
    net, card = toys.network(3), card_of(toys)
    first = draw(net, card, image())
    np.testing.assert_array_equal(first, draw(net, card, image()))
    assert np.abs(first - draw(net, card, image(), seed=2)).max() > 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_batches_and_the_number_of_members_change_no_member(toys, dims):
    net = toys.network(dims)
    card = card_of(toys, dims, slice_correlation=0.5 if dims == 2 else 0.0)
    members = draw(net, card, image(), members=5)
    one_by_one = draw(net, card, image(), members=5, batch_voxels=1)
    np.testing.assert_allclose(members, one_by_one, atol=1e-4)
    np.testing.assert_allclose(
        members[:2], draw(net, card, image(), members=2), atol=1e-4
    )


def test_a_flipped_image_gives_flipped_members(toys):
    """Member 1 sees the mirror image; without noise it must answer mirrored."""
    net, card = toys.network(3), card_of(toys)
    torch.nn.init.zeros_(net.correct.weight)
    plain = draw(net, card, image(), members=2, steps=1)
    mirrored = draw(net, card, image()[..., ::-1].copy(), members=2, steps=1)
    np.testing.assert_allclose(plain[0], mirrored[1][..., ::-1], atol=1e-5)


def test_tiles_cover_and_overlap():
    for size in range(1, 200):
        starts = tile_starts(size, 32)
        covered = np.zeros(size, int)
        for start in starts:
            covered[start : start + 32] += 1
        assert covered.min() >= 1
        assert starts == sorted(set(starts))
        if size > 32:
            assert starts[-1] + 32 == size
            assert max(np.diff(starts)) <= 24


def test_tiles_agree_with_the_whole_away_from_the_seams(toys):
    """A network that only looks at one voxel answers the same in tiles."""
    net = toys.network(3)
    denoiser = Denoiser(net, image((1, 8, 20, 8)), "cpu")
    tiled = Denoiser(net, image((1, 8, 20, 8)), "cpu", tile=(8, 8, 8))
    local = lambda noisy, t, features: noisy * 2  # noqa: E731
    for one in (denoiser, tiled):
        one.network = type(
            "N",
            (),
            {
                "dims": 3,
                "denoise": staticmethod(local),
                "encode": net.encode,
                "multiple": 2,
            },
        )()
    noisy, t = torch.randn(2, 3, 8, 20, 8), torch.tensor([999, 999])
    torch.testing.assert_close(tiled(noisy, t), denoiser(noisy, t))


def test_context_repeats_the_outermost_slice():
    stack = with_context(torch.arange(4.0).view(1, 4, 1, 1), 1)[:, :, 0, 0]
    expected = torch.tensor([[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]).float()
    assert torch.equal(stack, expected)


def test_image_features_are_computed_once(toys, monkeypatch):
    net, calls = toys.network(3), []
    encode = net.encode
    monkeypatch.setattr(net, "encode", lambda x: calls.append(len(x)) or encode(x))
    draw(net, card_of(toys), image(), members=6, steps=3)
    assert len(calls) == 2  # once for each test-time flip


def test_exhausted_memory_halves_the_batch_then_says_so(toys, monkeypatch):
    net, sizes = toys.network(3), []
    denoise = net.denoise

    def greedy(noisy, t, features):
        sizes.append(len(noisy))
        if len(noisy) > 1:
            raise torch.OutOfMemoryError("no room")
        return denoise(noisy, t, features)

    expected = draw(net, card_of(toys), image(), members=8, steps=1)
    monkeypatch.setattr(net, "denoise", greedy)
    members = draw(net, card_of(toys), image(), members=8, steps=1)
    assert sizes[:3] == [4, 2, 1]
    np.testing.assert_allclose(members, expected, atol=1e-4)

    def hopeless(noisy, t, features):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(net, "denoise", hopeless)
    with pytest.raises(DiffsegError, match="smaller region") as caught:
        draw(net, card_of(toys), image(), members=2, steps=1)
    assert caught.value.option == "--roi"
    assert caught.value.exit_status == 1


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_an_image_one_voxel_thick_can_be_flipped(toys, axis):
    shape = [1, 6, 8, 10]
    shape[axis] = 1
    assert draw(toys.network(3), card_of(toys), image(tuple(shape)), members=2).shape[
        2:
    ] == (*shape[1:],)


def test_restart_levels_fall_from_the_card():
    from diffseg.diffusion import noise_schedule

    schedule = noise_schedule("cosine", 1000)
    sampling = Sampling(restart=0.6)
    assert restart_levels(schedule, sampling, 1) == [999]
    assert restart_levels(schedule, sampling, 2) == [999, 599]
    assert restart_levels(schedule, sampling, 3) == [999, 599, 449]
