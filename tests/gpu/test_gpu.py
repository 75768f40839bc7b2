"""A CUDA GPU gives the CPU's masks, gives its memory back, and may run out of it."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Request,
    Sampling,
)
from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model, save_model
from diffseg.networks import build_network
from diffseg.segmenters import Segmenter, load_segmenter
from diffseg.volume import Volume


def why_not() -> str:
    """Why there is no CUDA here."""
    if torch.version.cuda is None:
        return "no CUDA: this torch is built for the CPU"
    return "no CUDA: torch sees no GPU with a working driver"


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason=why_not()),
]

SHAPE = (35, 51, 35)


def random_model(folder: Path, dims: int) -> ModelFolder:
    """A model with random weights whose members differ."""
    torch.manual_seed(0)
    context = 1 if dims == 2 else 0
    network = {
        "name": "compact_unet", "dims": dims, "image_channels": 1 + 2 * context,
        "classes": 3, "channels": (16, 32, 64), "member_channels": (8, 16, 32),
    }  # fmt: skip
    config = dict(network)
    built = build_network(str(config.pop("name")), **config)
    correct = built.get_submodule("correct")
    assert isinstance(correct, (nn.Conv2d, nn.Conv3d))
    nn.init.normal_(correct.weight, std=0.1)
    labels = LabelTable(labels=(Label(name="a", value=1), Label(name="b", value=2)))
    card = ModelCard(
        id=f"random-{dims}d", version="1", title="Random", method="ensemdiff",
        network=network, labels=labels,
        preparation=Preparation(dims=dims, context=context, flips=((), (2,))),
        sampling=Sampling(members=4, steps=2),
        modality="MR", licence="none", sha256="", data="noise", intended_use="tests",
        limits=(),
    )  # fmt: skip
    return save_model(folder / card.id, card, built.state_dict())


@pytest.fixture(params=["shipped", "2", "3"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> ModelFolder:
    if request.param != "shipped":
        return random_model(tmp_path, int(request.param))
    try:
        return find_model("hippocampus-mri")
    except UserError as err:
        pytest.skip(f"no shipped model: {err}")


@pytest.fixture(autouse=True)
def own_memory() -> Iterator[None]:
    """No test begins with another's memory, and none leaves its limit behind."""
    gc.collect()
    torch.cuda.empty_cache()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()


def volume(shape: tuple[int, int, int] = SHAPE) -> Volume:
    """Smooth made-up anatomy with noise, at 1 mm."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    body = np.exp(-4 * (z**2 + y**2 + x**2)) + 0.5 * np.exp(-20 * (y - x) ** 2)
    noise = np.random.default_rng(0).normal(0, 0.05, shape)
    return Volume.from_array((body + noise).astype(np.float32), np.eye(4))


def propose(segmenter: Segmenter, members: int = 8, steps: int = 2) -> np.ndarray:
    request = Request(volume(), members=members, steps=steps, seed=0)
    return segmenter.propose(request).mask


def test_the_gpu_gives_the_cpus_masks(model: ModelFolder) -> None:
    random = model.card.id.startswith("random")
    # Random weights leave many voxels near a tie, which TF32 would decide.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=not random):
        masks = [propose(load_segmenter(model.path, name)) for name in ("cpu", "cuda")]
    assert float((masks[0] == masks[1]).mean()) >= 0.999
    if random:  # a mask of one class agrees by nature
        assert len(np.unique(masks[0])) > 1


def test_the_gpus_answer_is_its_own_again(model: ModelFolder) -> None:
    segmenter = load_segmenter(model.path, "cuda")
    np.testing.assert_array_equal(propose(segmenter), propose(segmenter))


def test_memory_is_given_back(model: ModelFolder) -> None:
    propose(load_segmenter(model.path, "cuda"), members=1)  # libraries' own memory
    gc.collect()
    before = torch.cuda.memory_allocated()
    segmenter = load_segmenter(model.path, "cuda")
    held = torch.cuda.memory_allocated()
    assert held > before
    propose(segmenter)
    gc.collect()
    assert torch.cuda.memory_allocated() == held  # the weights and nothing else
    del segmenter
    gc.collect()
    assert torch.cuda.memory_allocated() == before


def test_memory_is_given_back_when_cancelled(tmp_path: Path) -> None:
    segmenter = load_segmenter(random_model(tmp_path, 3).path, "cuda")
    propose(segmenter, members=1)
    gc.collect()
    held = torch.cuda.memory_allocated()
    work = segmenter.iter_propose(Request(volume(), members=8, steps=2, seed=0))
    for progress in work:
        if progress.stage == "sample" and progress.done == 1:
            break
    work.close()
    gc.collect()
    assert torch.cuda.memory_allocated() == held


def allow(mebibytes: float) -> None:
    """Let torch hold this much more than it holds now."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    held = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((held + mebibytes * 2**20) / total)


def need(segmenter: Segmenter, members: int) -> float:
    """Mebibytes that a proposal needs beyond the weights."""
    gc.collect()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    propose(segmenter, members)
    return (torch.cuda.max_memory_allocated() - held) / 2**20


def test_out_of_memory_halves_the_batch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter = load_segmenter(random_model(tmp_path, 3).path, "cuda")
    expected = propose(segmenter, members=28)
    single, batch = need(segmenter, 2), need(segmenter, 28)  # members of two flips
    assert batch > 2 * single
    allow(math.sqrt(single * batch))
    request = Request(volume(), members=28, steps=2, seed=0)
    with caplog.at_level("WARNING"):
        proposal = segmenter.propose(request)
    assert "memory exhausted" in caplog.text
    assert any("at once from here on" in line for line in proposal.warnings)
    assert float((proposal.mask == expected).mean()) >= 0.999


def test_too_little_for_one_tile_goes_on_on_the_cpu(tmp_path: Path) -> None:
    segmenter = load_segmenter(random_model(tmp_path, 3).path, "cuda")
    expected = propose(segmenter, members=2)  # and libraries' own memory
    gc.collect()
    allow(1)
    request = Request(volume(), members=2, steps=2, seed=0)
    proposal = segmenter.propose(request)
    assert "on the CPU from here on" in proposal.warnings[-1]
    assert float((proposal.mask == expected).mean()) >= 0.98
