"""Toys of the core's tests: small cards, networks and images, the same each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffseg.domain import (
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Proposal,
    Sampling,
)
from diffseg.networks import build_network
from diffseg.progress import Progress, Work
from diffseg.volume import Affine, Grid, Volume


class TwoMaps(nn.Module):
    """The smallest published-like denoiser: features are a tree of two maps.

    It answers, at every voxel, a mixture of noisy mask, image and noise level, and
    counts how many images it encoded and masks it denoised.
    """

    def __init__(
        self,
        dims: int = 2,
        mask_channels: int = 1,
        image_channels: int = 1,
        learned_variance: bool = False,
        multiple: int = 2,
    ) -> None:
        super().__init__()
        self.dims, self.multiple = dims, multiple
        self.mask_channels, self.learned_variance = mask_channels, learned_variance
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        width = mask_channels * (2 if learned_variance else 1)
        self.image = conv(image_channels, 3, 3, padding=1)
        self.mask = conv(mask_channels, 3, 3, padding=1)
        self.last = conv(3, width, 1)
        self.encoded: list[int] = []
        self.denoised: list[Tensor] = []

    def encode(self, image: Tensor) -> dict[str, Any]:
        """Two maps, one of them deep within a tree."""
        self.encoded.append(len(image))
        return {"maps": [self.image(image)], "mean": (image.mean(1, keepdim=True),)}

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Any) -> Tensor:
        """Answer (B, M or 2M, *S)."""
        self.denoised.append(timesteps.clone())
        level = torch.sin(timesteps.float()).view(-1, *(1,) * self.dims, 1)
        seen = features["maps"][0] + features["mean"][0]
        answer: Tensor = self.last(torch.tanh(self.mask(noisy) + seen + level))
        return answer

    def denoise_calibrated(
        self, noisy: Tensor, timesteps: Tensor, features: Any
    ) -> tuple[Tensor, Tensor]:
        """`denoise`, and a mask of its own, that depends on the step."""
        level = timesteps.float().view(-1, *(1,) * self.dims, 1) / 10
        own = (features["mean"][0] + level).sigmoid()
        own = own.repeat_interleave(self.mask_channels, 1)
        return self.denoise(noisy, timesteps, features), own


class Toys:
    """Builders; every call with the same arguments builds the same."""

    table = LabelTable(labels=(Label(name="a", value=3), Label(name="b", value=7)))
    shape = (9, 10, 12)

    def card(
        self,
        dims: int,
        *,
        sampling: dict[str, Any] | None = None,
        classes: int = 2,
        **preparation: object,
    ) -> ModelCard:
        """A card of two foreground classes, or of the first alone."""
        flips = ((), (2,), (0,)) if dims == 2 else ((), (2,))
        given = {"dims": dims, "orientation": "RAS", "flips": flips}
        if dims == 2:
            given["context"] = 1
        default = {"members": 4, "steps": 2, "slice_correlation": 0.8 * (dims == 2)}
        return ModelCard(
            id="toy", version="1", title="A toy", method="ensemdiff", network={},
            labels=LabelTable(labels=self.table.labels[:classes]),
            preparation=Preparation(**given | preparation),
            sampling=Sampling(**default | (sampling or {})),
            modality="MR", licence="CC0", sha256="0", data="none",
            intended_use="tests", limits=("all",),
        )  # fmt: skip

    def network(self, dims: int, image_channels: int | None = None) -> Any:
        """A compact network of three classes, whose members differ."""
        torch.manual_seed(3)
        net = build_network(
            "compact_unet", dims=dims, classes=3,
            image_channels=image_channels or (3 if dims == 2 else 1),
            channels=(8, 12), member_channels=(4, 6), embedding=16,
        )  # fmt: skip
        nn.init.normal_(net.get_submodule("correct").weight, std=1.0)
        return net.eval()

    def two_maps(self, seed: int = 0, **config: Any) -> TwoMaps:
        """A network of one channel for each class but background."""
        torch.manual_seed(seed)
        return TwoMaps(**config).eval()

    def scan(self, channels: int = 1) -> np.ndarray:
        """Noise (C, Z, Y, X), or (Z, Y, X) of one channel."""
        given = self.shape if channels == 1 else (channels, *self.shape)
        return np.random.default_rng(0).normal(size=given).astype(np.float32)

    def volume(self, code: str = "RAS", channels: int = 1) -> Volume:
        """The scan, stored in any orientation."""
        grid, turn = Grid(self.shape, Affine.identity()).reoriented(code)
        return Volume.from_array(
            turn.apply(self.scan(channels)), grid.affine, name="case"
        )

    def watched(self, work: Work[Proposal]) -> tuple[list[Progress], Proposal]:
        """All that a work yields, and what it returns."""
        seen: list[Progress] = []
        while True:
            try:
                seen.append(next(work))
            except StopIteration as stop:
                return seen, stop.value


@pytest.fixture(scope="session")
def toys() -> Toys:
    """Builders of small cards, networks and images."""
    return Toys()
