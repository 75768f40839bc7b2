"""Exhausted memory: smaller means, one after another, each of them said."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from diffseg.domain import (
    Proposal,
    Request,
)
from diffseg.errors import DiffsegError, exhausted
from diffseg.progress import Progress
from diffseg.segmenters import Host, iter_propose_with
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.means import Means, in_words, smaller

HALF = "half precision from here on"


class Narrow:
    """A network that runs out of memory where `fits` says so."""

    def __init__(
        self, toys: Any, dims: int, fits: Callable[[torch.Tensor], bool]
    ) -> None:
        self.seen: list[torch.Tensor] = []
        self.network = toys.network(dims)
        kind = type(self.network)
        narrow = self

        class Network(kind):  # type: ignore[misc, valid-type]
            def denoise(self, noisy, t, features):  # type: ignore[no-untyped-def]
                narrow.seen.append(noisy)
                if not fits(noisy):
                    raise torch.OutOfMemoryError("no room")
                return super().denoise(noisy, t, features)

        self.network.__class__ = Network


def proposed(
    toys: Any,
    net: torch.nn.Module,
    dims: int = 3,
    members: int = 8,
    tile: int | None = None,
) -> tuple[list[Progress], Proposal]:
    model = toys.card(dims, tile=(tile,) * dims if tile else None)
    source = Ensemble(net, model, "cpu")
    request = Request(toys.volume(), seed=1, members=members)
    return toys.watched(iter_propose_with(model, source, request, Host("cpu", 1)))


def said(seen: list[Progress]) -> list[str]:
    return [one.message for one in seen if one.stage == "memory"]


def test_the_batch_is_halved_first_and_changes_nothing(toys: Any) -> None:
    _, expected = proposed(toys, toys.network(3))
    seen, made = proposed(toys, Narrow(toys, 3, lambda noisy: len(noisy) <= 1).network)
    lines = said(seen)
    assert lines == [
        "memory exhausted: 2 masks at once from here on",
        "memory exhausted: 1 mask at once from here on",
    ]
    assert made.warnings == tuple(lines)
    np.testing.assert_allclose(made.probability, expected.probability, atol=1e-4)


def test_slices_are_halved_and_change_nothing(toys: Any) -> None:
    _, expected = proposed(toys, toys.network(2), 2)
    seen, made = proposed(
        toys, Narrow(toys, 2, lambda noisy: len(noisy) <= 5).network, 2
    )
    assert said(seen)
    assert all("slices at once" in line for line in said(seen))
    np.testing.assert_allclose(made.probability, expected.probability, atol=1e-4)


def test_then_half_precision(toys: Any) -> None:
    _, expected = proposed(toys, toys.network(3))
    narrow = Narrow(toys, 3, lambda noisy: noisy.dtype == torch.bfloat16)
    seen, made = proposed(toys, narrow.network)
    assert said(seen)[-1] == f"memory exhausted: {HALF}"
    assert made.warnings[-1] == f"memory exhausted: {HALF}"
    assert np.abs(made.probability - expected.probability).mean() < 0.02
    # The segmenter's own network is as it was.
    assert next(narrow.network.parameters()).dtype == torch.float32


def test_then_tiles(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffseg.segmenters.means.LEAST_SIDE", 4)
    _, expected = proposed(toys, toys.network(3), members=2)
    narrow = Narrow(toys, 3, lambda noisy: noisy[0, 0].numel() <= 600)
    seen, made = proposed(toys, narrow.network, members=2)
    assert said(seen) == [
        f"memory exhausted: {HALF}",
        "memory exhausted: tiles of 10 x 10 x 6 from here on",
    ]
    assert np.abs(made.probability - expected.probability).mean() < 0.1
    np.testing.assert_allclose(made.probability.sum(0) <= 1 + 1e-5, True)


def test_a_failure_in_the_middle_keeps_what_is_finished(toys: Any) -> None:
    _, expected = proposed(toys, toys.network(3), members=6)
    budget = [2]

    def fits(noisy: torch.Tensor) -> bool:
        budget[0] -= 1
        return budget[0] > 0 or len(noisy) == 1

    seen, made = proposed(toys, Narrow(toys, 3, fits).network, members=6)
    assert said(seen) == ["memory exhausted: 1 mask at once from here on"]
    np.testing.assert_allclose(made.probability, expected.probability, atol=1e-4)


def test_at_the_end_one_line_says_what_to_try(toys: Any) -> None:
    narrow = Narrow(toys, 3, lambda noisy: False)
    with pytest.raises(DiffsegError, match="10 x 10 x 12 voxels") as caught:
        proposed(toys, narrow.network)
    assert "\n" not in str(caught.value)
    assert "smaller region" in str(caught.value)
    assert caught.value.exit_status == 1


def test_from_the_gpu_to_the_cpu(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up GPU, whose tensors lie on the CPU and which has no memory at all."""
    import diffseg.segmenters.denoiser as denoiser
    import diffseg.segmenters.members as members

    where: list[str] = []
    genuine, init = members.placed, denoiser.Denoiser.__init__
    narrow = Narrow(toys, 3, lambda noisy: where[-1] == "cpu")

    def placed(net: torch.nn.Module, means: Means) -> torch.nn.Module:
        where.append(means.device)
        return genuine(net, Means("cpu", means.dtype))

    def on_the_cpu(self, net, image, device, **options):  # type: ignore[no-untyped-def]
        init(self, net, image, "cpu", **options)

    monkeypatch.setattr(members, "placed", placed)
    monkeypatch.setattr(denoiser.Denoiser, "__init__", on_the_cpu)
    _, expected = proposed(toys, toys.network(3))
    model = toys.card(3)
    source = Ensemble(narrow.network, model, "cuda")
    work = iter_propose_with(
        model, source, Request(toys.volume(), seed=1, members=8), Host("cuda", 1)
    )
    seen, made = toys.watched(work)
    assert said(seen)[-2:] == [
        f"GPU memory exhausted: {HALF}",
        "GPU memory exhausted: on the CPU from here on",
    ]
    np.testing.assert_allclose(made.probability, expected.probability, atol=1e-4)


def test_every_ladder_ends_and_only_goes_down() -> None:
    means, rungs = Means("cuda", tile=(64, 64, 64), whole=(64, 64, 64)), []
    tile, batch = (64, 64, 64), 8
    while (after := smaller(means, tile, batch)) is not None:
        rungs.append(in_words(means, after, 3).partition(": ")[2])
        means, tile = after, after.tile or tile
        batch = min(batch, after.batch or batch)
    steps = [rung.removesuffix(" from here on") for rung in rungs]
    tiles = [f"tiles of {size}" for size in
             ("32 x 64 x 64", "32 x 32 x 64", "32 x 32 x 32")]  # fmt: skip
    assert steps == [
        "4 masks at once", "2 masks at once", "1 mask at once", "half precision",
        *tiles, "on the CPU", "half precision", *tiles,
    ]  # fmt: skip
    assert means.kept_bytes < 2**20


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("no room"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a primitive descriptor for a pool"), False),
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOENT, "out of memory.txt"), False),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_exhausted(error: Exception, is_one: bool) -> None:
    assert exhausted(error) is is_one


def test_another_error_is_not_swallowed(toys: Any) -> None:
    net = toys.network(3)

    def broken(*given: object) -> None:
        raise RuntimeError("shapes differ")

    net.denoise = broken
    with pytest.raises(RuntimeError, match="shapes differ"):
        proposed(toys, net)


def test_features_that_do_not_fit_are_computed_again(toys: Any) -> None:
    from diffseg.segmenters.denoiser import Denoiser

    net, calls = toys.network(3), []
    encode = net.encode
    net.encode = lambda image: calls.append(1) or encode(image)
    image = np.random.default_rng(0).normal(size=(1, 8, 20, 8)).astype(np.float32)
    noisy, t = torch.randn(2, 3, 8, 20, 8), torch.tensor([9, 9])
    answers = []
    for kept, encodings in ((2**30, 3), (0, 6)):
        calls.clear()
        means = Means("cpu", kept_bytes=kept)
        denoiser = Denoiser(net, image, "cpu", tile=(8, 8, 8), means=means)
        with torch.inference_mode():
            answers += [denoiser(noisy, t), denoiser(noisy, t)]
        assert len(calls) == encodings
    assert all(torch.equal(one, answers[0]) for one in answers)


def test_a_network_of_one_size_is_not_cut_into_tiles() -> None:
    """Rounded up to its size, half a tile would be the whole one, for ever."""
    half = Means("cuda", dtype=torch.float16, tile=(256, 256), whole=(256, 256))
    after = smaller(half, (256, 256), 1, multiple=256)
    assert after is not None
    assert (after.device, after.dtype) == ("cpu", torch.float32)
    cut = smaller(half, (256, 256), 1, multiple=32)
    assert cut is not None
    assert cut.tile == (128, 256)
