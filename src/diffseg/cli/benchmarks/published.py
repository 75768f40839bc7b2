"""One slice by the published EnsemDiff settings, and by our path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from diffseg.cli.benchmarks.rows import Row
from diffseg.cli.benchmarks.timing import median_seconds
from diffseg.domain import Label, LabelTable, ModelCard, Preparation, Sampling
from diffseg.networks import build_network
from diffseg.networks.compact_unet import CompactUNet
from diffseg.networks.guided_unet import GuidedUNet
from diffseg.resources import shipped_recipe
from diffseg.segmenters.drawing import draw_members

SIDE = 256
MEMBERS = 5
THEIR_STEPS, OUR_STEPS = 1000, 1
RECIPE = "hippocampus-mri-slices"


def forward_of(device: str, side: int, **config: Any) -> Callable[[], object]:
    """One pass of the published network over one slice, with random weights."""
    network = cast("GuidedUNet", build_network("guided_unet", **config))
    network = network.to(device).eval()
    image = torch.randn(1, 4, side, side, device=device)
    noisy = torch.randn(1, 1, side, side, device=device)
    t = torch.full((1,), THEIR_STEPS // 2, device=device)

    @torch.inference_mode()
    def forward() -> object:
        return network(noisy, t, image)

    return forward


@dataclass(frozen=True, slots=True, eq=False)
class SliceModel:
    """The network of a slice-wise recipe, with random weights, and how it is drawn."""

    network: CompactUNet
    card: ModelCard

    @classmethod
    def of_recipe(cls, name: str, device: str) -> SliceModel:
        """Build the model that the shipped recipe `name` would train."""
        card = untrained_card(shipped_recipe(name))
        config = dict(card.network)
        network = cast("CompactUNet", build_network(config.pop("name"), **config))
        layout = torch.channels_last
        network = network.to(device, memory_format=layout).eval()  # type: ignore[call-overload]
        return cls(network, card)

    def draw(self, side: int, device: str) -> list[np.ndarray[Any, Any]]:
        """The ensemble for one slice of `side` by `side`."""
        channels = len(self.card.preparation.channels)
        image = np.random.default_rng(0).standard_normal((channels, 1, side, side))
        drawn = draw_members(
            self.network,
            self.card,
            image.astype(np.float32),
            device,
            members=MEMBERS,
            steps=OUR_STEPS,
            seed=0,
        )
        return list(drawn)


def untrained_card(recipe: Mapping[str, Any]) -> ModelCard:
    """The card of a recipe's model before it is trained: its classes have no names."""
    told = recipe["card"]
    names = ("id", "version", "title", "modality", "licence", "data")
    classes = range(1, recipe["network"]["classes"])
    return ModelCard(
        **{name: told[name] for name in names},
        method=recipe["method"],
        network=recipe["network"],
        labels=LabelTable(
            labels=tuple(Label(name=f"class_{i}", value=i) for i in classes)
        ),
        preparation=Preparation.model_validate(recipe["preparation"]),
        sampling=Sampling.model_validate(recipe["sampling"]),
        sha256="",
        intended_use=told["intended_use"],
        limits=tuple(told["limits"]),
    )


def measure_published(device: str, *, side: int = SIDE, **config: Any) -> Row:
    """Seconds of an ensemble for one slice, ours against the published settings.

    The published side is extrapolated from one forward pass. `config` changes the
    published network; without it, it is the published one.
    """
    passes = THEIR_STEPS * MEMBERS
    one = median_seconds(forward_of(device, side, **config), device)
    model = SliceModel.of_recipe(RECIPE, device)
    ours = median_seconds(lambda: model.draw(side, device), device)
    return Row(
        what=f"{MEMBERS} members of a {side}x{side} slice: over published EnsemDiff",
        ours=ours,
        reference=one * passes,
        settings=(
            f"Ours: the network of the recipe {RECIPE} "
            f"({_millions(model.network)} parameters, random weights, tiles of "
            f"{_extent(model.card.preparation.tile)}), {MEMBERS} members x {OUR_STEPS} "
            "step through the drawing of proposals, median of 3 after a warm-up. "
            f"Reference, extrapolated: {MEMBERS} members x {THEIR_STEPS} steps of "
            f"{amount_of(one)} each, the median of 3 forward passes after a warm-up "
            f"at batch 1 of the published network ({_size_of(config)} parameters, "
            "random weights, float32). Both for time alone: nothing is said of masks."
        ),
    )


def amount_of(seconds: float) -> str:
    """Seconds with three digits that count."""
    return f"{seconds:.3g} s"


def _millions(network: torch.nn.Module) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{count / 1e6:.1f} M"


def _size_of(config: dict[str, Any]) -> str:
    with torch.device("meta"):
        return _millions(build_network("guided_unet", **config))


def _extent(tile: tuple[int, ...] | None) -> str:
    return "x".join(map(str, tile)) if tile else "any extent"
