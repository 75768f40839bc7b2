"""Exhausted memory: smaller means, one after another, each of them said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Proposal,
    Request,
    Sampling,
)
from diffseg.errors import DiffsegError
from diffseg.networks import build_network
from diffseg.progress import Progress, Work
from diffseg.segmenters import Host, iter_propose_with
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.means import Means, exhausted, in_words, smaller
from diffseg.volume import Affine, Grid, Volume

TABLE = LabelTable(labels=(Label(name="a", value=3), Label(name="b", value=7)))
SHAPE = (9, 10, 12)


def card(dims: int, **preparation: object) -> ModelCard:
    flips = ((), (2,), (0,)) if dims == 2 else ((), (2,))
    given = {"dims": dims, "orientation": "RAS", "flips": flips, **preparation}
    if dims == 2:
        given["context"] = 1
    return ModelCard(
        id="toy", version="1", title="A toy", method="ensemdiff", network={},
        labels=TABLE, preparation=Preparation(**given),
        sampling=Sampling(members=4, steps=2, slice_correlation=0.8 * (dims == 2)),
        modality="MR", licence="CC0", sha256="0", data="none", intended_use="tests",
        limits=("all",),
    )  # fmt: skip


def network(dims: int):  # type: ignore[no-untyped-def]
    torch.manual_seed(3)
    net = build_network(
        "compact_unet", dims=dims, classes=3, image_channels=3 if dims == 2 else 1,
        channels=(8, 12), member_channels=(4, 6), embedding=16,
    )  # fmt: skip
    torch.nn.init.normal_(net.get_submodule("correct").weight, std=1.0)
    return net.eval()


def volume(code: str = "RAS") -> Volume:
    scan = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    grid, turn = Grid(SHAPE, Affine.identity()).reoriented(code)
    return Volume.from_array(turn.apply(scan), grid.affine, name="case")


def watched(work: Work[Proposal]) -> tuple[list[Progress], Proposal]:
    seen: list[Progress] = []
    while True:
        try:
            seen.append(next(work))
        except StopIteration as stop:
            return seen, stop.value


HALF = "half precision from here on"


class Narrow:
    """A network that runs out of memory where `fits` says so."""

    def __init__(self, dims: int, fits: Callable[[torch.Tensor], bool]) -> None:
        self.seen: list[torch.Tensor] = []
        self.network = network(dims)
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
    net: torch.nn.Module, dims: int = 3, members: int = 8, tile: int | None = None
) -> tuple[list[Progress], Proposal]:
    model = card(dims, tile=(tile,) * dims if tile else None)
    source = Ensemble(net, model, "cpu")
    request = Request(volume(), seed=1, members=members)
    return watched(iter_propose_with(model, source, request, Host("cpu", 1)))


def said(seen: list[Progress]) -> list[str]:
    return [one.message for one in seen if one.stage == "memory"]


def test_the_batch_is_halved_first_and_changes_nothing() -> None:
    _, expected = proposed(network(3))
    seen, made = proposed(Narrow(3, lambda noisy: len(noisy) <= 1).network)
    lines = said(seen)
    assert lines == [
        "memory exhausted: 2 masks at once from here on",
        "memory exhausted: 1 mask at once from here on",
    ]
    assert made.warnings == tuple(lines)
    np.testing.assert_allclose(made.probability, expected.probability, atol=1e-4)


def test_slices_are_halved_and_change_nothing() -> None:
    _, expected = proposed(network(2), 2)
    seen, made = proposed(Narrow(2, lambda noisy: len(noisy) <= 5).network, 2)
    assert said(seen)
    assert all("slices at once" in line for line in said(seen))
    np.testing.assert_allclose(made.probability, expected.probability, atol=1e-4)


def test_then_half_precision() -> None:
    _, expected = proposed(network(3))
    narrow = Narrow(3, lambda noisy: noisy.dtype == torch.bfloat16)
    seen, made = proposed(narrow.network)
    assert said(seen)[-1] == f"memory exhausted: {HALF}"
    assert made.warnings[-1] == f"memory exhausted: {HALF}"
    assert np.abs(made.probability - expected.probability).mean() < 0.02
    # The segmenter's own network is as it was.
    assert next(narrow.network.parameters()).dtype == torch.float32


def test_then_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffseg.segmenters.means.LEAST_SIDE", 4)
    _, expected = proposed(network(3), members=2)
    narrow = Narrow(3, lambda noisy: noisy[0, 0].numel() <= 600)
    seen, made = proposed(narrow.network, members=2)
    assert said(seen) == [
        f"memory exhausted: {HALF}",
        "memory exhausted: tiles of 10 x 10 x 6 from here on",
    ]
    assert np.abs(made.probability - expected.probability).mean() < 0.1
    np.testing.assert_allclose(made.probability.sum(0) <= 1 + 1e-5, True)


def test_a_failure_in_the_middle_keeps_what_is_finished() -> None:
    _, expected = proposed(network(3), members=6)
    budget = [2]

    def fits(noisy: torch.Tensor) -> bool:
        budget[0] -= 1
        return budget[0] > 0 or len(noisy) == 1

    seen, made = proposed(Narrow(3, fits).network, members=6)
    assert said(seen) == ["memory exhausted: 1 mask at once from here on"]
    np.testing.assert_allclose(made.probability, expected.probability, atol=1e-4)


def test_at_the_end_one_line_says_what_to_try() -> None:
    narrow = Narrow(3, lambda noisy: False)
    with pytest.raises(DiffsegError, match="10 x 10 x 12 voxels") as caught:
        proposed(narrow.network)
    assert "\n" not in str(caught.value)
    assert "smaller region" in str(caught.value)
    assert caught.value.exit_status == 1


def test_from_the_gpu_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up GPU, whose tensors lie on the CPU and which has no memory at all."""
    import diffseg.segmenters.denoiser as denoiser
    import diffseg.segmenters.members as members

    where: list[str] = []
    genuine, init = members.placed, denoiser.Denoiser.__init__
    narrow = Narrow(3, lambda noisy: where[-1] == "cpu")

    def placed(net: torch.nn.Module, means: Means) -> torch.nn.Module:
        where.append(means.device)
        return genuine(net, Means("cpu", means.dtype))

    def on_the_cpu(self, net, image, device, **options):  # type: ignore[no-untyped-def]
        init(self, net, image, "cpu", **options)

    monkeypatch.setattr(members, "placed", placed)
    monkeypatch.setattr(denoiser.Denoiser, "__init__", on_the_cpu)
    _, expected = proposed(network(3))
    model = card(3)
    source = Ensemble(narrow.network, model, "cuda")
    work = iter_propose_with(
        model, source, Request(volume(), seed=1, members=8), Host("cuda", 1)
    )
    seen, made = watched(work)
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
        (MemoryError(), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_exhausted(error: Exception, is_one: bool) -> None:
    assert exhausted(error) is is_one


def test_another_error_is_not_swallowed() -> None:
    net = network(3)

    def broken(*given: object) -> None:
        raise RuntimeError("shapes differ")

    net.denoise = broken
    with pytest.raises(RuntimeError, match="shapes differ"):
        proposed(net)


def test_features_that_do_not_fit_are_computed_again() -> None:
    from diffseg.segmenters.denoiser import Denoiser

    net, calls = network(3), []
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
