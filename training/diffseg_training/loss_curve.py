"""Losses against the timestep (the analysis paper's figure 3).

Every bin of timesteps is measured with the same examples under the same noise, as
many in each, so that its mean is as sure as another's; bins are narrow, since the dip
below timestep 50 is real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffseg.diffusion import generator
from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.progress import Progress, Work
from diffseg.volume import atomic_write
from diffseg_training.augment import example
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.recipe import Recipe
from diffseg_training.training_set import AnyExample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WEIGHTS = "model.safetensors"
_EXAMPLE_KEY, _NOISE_KEY, _LEVEL_KEY = 21, 22, 23
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


@runtime_checkable
class AtTimesteps(Protocol):
    """A loss that can be asked at timesteps of the caller's."""

    def errors(self, network: nn.Module, batch: Batch, t: Tensor) -> Tensor:
        """Error of each sample's prediction at timesteps (B,): (B,)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LossCurve:
    """Mean loss in each bin of timesteps.

    Attributes
    ----------
    timestep : (N,) float64 ndarray
        Middle of each bin.
    loss : (N,) float64 ndarray
    error : (N,) float64 ndarray
        Standard error of the mean.
    count : int
        Samples in each bin.
    """

    timestep: NDArray[np.float64]
    loss: NDArray[np.float64]
    error: NDArray[np.float64]
    count: int


def trained_network(recipe: Recipe, folder: Path) -> nn.Module:
    """The network of a recipe with the weights in a folder, a model's or a part's.

    Raises
    ------
    UserError
        There are no weights, or they are another network's.
    """
    from safetensors.torch import load_file

    config = dict(recipe.network)
    network = build_network(config.pop("name"), **config)
    file = folder / WEIGHTS
    if not file.is_file():
        raise UserError(f"{folder} holds no {WEIGHTS}: give a model's or part's folder")
    try:
        network.load_state_dict(load_file(file))
    except RuntimeError as err:
        raise UserError(
            f"weights in {folder} are not those of recipe {recipe.name}: "
            + " ".join(str(err).split())[:200]
        ) from None
    return network.eval()


def iter_loss_curve(
    recipe: Recipe,
    network: nn.Module,
    examples: Sequence[AnyExample],
    *,
    bins: int = 100,
    count: int = 16,
    seed: int = 0,
    device: str = "cpu",
) -> Work[LossCurve]:
    """Measure the prediction's error of a recipe's objective, bin by bin.

    Parameters
    ----------
    recipe : Recipe
        Of denoising (E2), image generation (E4) or the masks alone (E3).
    network : nn.Module
        As it was trained.
    examples : sequence of Example or StoredExample
        Each bin takes them in turn, from the first.
    bins, count : int
        Bins of equal width, and samples in each.
    seed : int
    device : str

    Raises
    ------
    UserError
        The objective has no loss at a timestep, or there are fewer timesteps than
        bins.
    """
    loss = make_loss(recipe, network)
    if not isinstance(loss, AtTimesteps):
        raise UserError(
            f"objective {recipe.objective.name} has no loss at a timestep; give a "
            "recipe of denoising, image_generation or mask_prior"
        )
    timesteps = recipe.sampling.timesteps
    if not 1 <= bins <= timesteps:
        raise UserError(f"bins is {bins}; give 1 to {timesteps}")
    edges = np.linspace(0, timesteps, bins + 1).round().astype(int)
    network = network.to(device).eval()
    images, classes = _shown(recipe, examples, count, seed)
    images, classes = images.to(device), classes.to(device)
    rows = []
    for index in range(bins):
        source = generator(seed, _LEVEL_KEY, index)
        low, high = int(edges[index]), int(edges[index + 1])
        t = torch.randint(low, high, (count,), generator=source)
        sources = [generator(seed, _NOISE_KEY, i) for i in range(count)]
        with torch.no_grad():
            found = loss.errors(network, Batch(images, classes, sources), t)
        rows.append(found.double().cpu().numpy())
        yield Progress("measure", index + 1, bins)
    losses = np.stack(rows)
    spread = losses.std(1, ddof=1) if count > 1 else np.zeros(bins)
    middles = (edges[:-1] + edges[1:] - 1) / 2
    return LossCurve(middles, losses.mean(1), spread / np.sqrt(count), count)


def _shown(
    recipe: Recipe, examples: Sequence[AnyExample], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Images and classes of `count` examples, unchanged but for their size."""
    shown = []
    for i in range(count):
        source = generator(seed, _EXAMPLE_KEY, i)
        image, classes = examples[i % len(examples)].arrays(source)
        shown.append(example(image, classes, recipe.patch, None, source))
    return (
        torch.stack([image for image, _ in shown]),
        torch.stack([classes for _, classes in shown]),
    )


def draw_losses(curves: Mapping[str, LossCurve], picture: Path) -> Path:
    """Draw losses against the timestep, a panel each, with two standard errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(curves), 3.6), dpi=144, layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, color, (name, curve) in zip(
        panels, _COLORS, curves.items(), strict=False
    ):
        _panel(axes, name, curve, color)
    return atomic_write(picture, lambda path: figure.savefig(path, format="png"))


def _panel(axes: Axes, name: str, curve: LossCurve, color: str) -> None:
    low, high = curve.loss - 2 * curve.error, curve.loss + 2 * curve.error
    axes.fill_between(curve.timestep, low, high, color=color, alpha=0.2, lw=0)
    axes.plot(curve.timestep, curve.loss, color=color, lw=1.8)
    axes.set_title(name, fontsize=11, loc="left", parse_math=False)
    axes.set_xlabel(f"timestep ({curve.count} samples a bin)")
    axes.set_ylabel("loss")
    axes.set_xlim(0, curve.timestep[-1] + curve.timestep[0])
    axes.set_ylim(0, 1.06 * float(high.max()))
    axes.spines[["right", "top"]].set_visible(False)
    axes.grid(color="#e4e7eb", lw=0.8)
    axes.set_axisbelow(True)
