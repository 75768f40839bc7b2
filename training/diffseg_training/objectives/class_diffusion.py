"""A diffusion model of the images, told what each of them shows (CLDF, section 2).

The image itself is noised and denoised, in all its channels, under the condition of its
image-level labels (Dhariwal and Nichol 2021; Hu et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from diffseg.diffusion import (
    NoiseSchedule,
    Prediction,
    generator,
    schedule_of,
    target,
)
from diffseg.domain.slice_labels import UNKNOWN
from diffseg.errors import UserError
from diffseg.networks.class_unet import ClassUNet
from diffseg_training.labelled import LabelledExample
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.terms import (
    drawn_timesteps,
    normal,
    predicted,
    sample_errors,
)
from diffseg_training.recipe import Recipe
from diffseg_training.sampling import VALIDATION_KEY
from diffseg_training.settings.class_diffusion import Settings
from diffseg_training.weak.held_out import batches


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network is no class-conditional diffusion model, or learns a variance.
    """
    config, what = recipe.objective, f"objective class_diffusion of {recipe.name}"
    assert isinstance(config, Settings)
    if not isinstance(network, ClassUNet):
        raise UserError(
            f"{what} needs network class_unet, not {recipe.network['name']}"
        )
    if network.learned_variance:
        raise UserError(f"{what} teaches no variance: leave out learned_variance")
    schedule = schedule_of(recipe.sampling)
    return ClassDiffusion(config.loss, config.kept_back, schedule, predicted(recipe))


@dataclass(frozen=True, slots=True, eq=False)
class ClassDiffusion:
    """The loss of one recipe."""

    norm: Literal["l1", "l2"]
    kept_back: float
    schedule: NoiseSchedule
    kind: Prediction

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean error of the prediction, of each image at a timestep of its own."""
        assert batch.labels is not None
        states = self.told(batch.labels, batch.sources)
        total = self.errors(network, batch.image, states, batch.sources).mean()
        return total, {"prediction": float(total.detach())}

    def told(self, states: Tensor, sources: Sequence[torch.Generator]) -> Tensor:
        """States (B, K) that the network is told: of some images none."""
        if not self.kept_back:
            return states
        chance = torch.stack([torch.rand((), generator=one) for one in sources])
        kept = (chance < self.kept_back).to(states.device)
        return torch.where(kept[:, None], torch.full_like(states, UNKNOWN), states)

    def errors(
        self,
        network: nn.Module,
        image: Tensor,
        states: Tensor,
        sources: Sequence[torch.Generator],
    ) -> Tensor:
        """Error of each image's prediction at a timestep drawn for it, (B,).

        Raises
        ------
        UserError
            The network has other channels, or other classes, than the images.
        """
        assert isinstance(network, ClassUNet)
        check_channels(network, image, states)
        t = drawn_timesteps(None, self.schedule.timesteps, sources).to(image.device)
        noise = normal(image, sources)
        noisy = self.schedule.add_noise(image, noise, t)
        wanted = target(self.kind, image, noise, t, self.schedule)
        return sample_errors(network(noisy, t, states), wanted, self.norm)

    @torch.no_grad()
    def scores(
        self, network: nn.Module, examples: Sequence[LabelledExample], recipe: Recipe
    ) -> Mapping[str, float]:
        """Mean error on held-out slices, at the same noise every time."""
        device = next(network.parameters()).device
        found = []
        for some in batches(examples, recipe, device):
            sources = [
                generator(recipe.seed, VALIDATION_KEY, some.first + i)
                for i in range(len(some.image))
            ]
            found.append(self.errors(network, some.image, some.states, sources))
        error = float(torch.cat(found).mean())
        return {"error": error, "score": -error}


def check_channels(network: nn.Module, image: Tensor, states: Tensor) -> None:
    """Refuse images and labels that are not the network's, by a `UserError`."""
    for what, have, of in (
        ("channels", image.shape[1], "image_channels"),
        ("classes", states.shape[1], "classes"),
    ):
        wants = int(getattr(network, of))
        if have != wants:
            raise UserError(
                f"the data have {have} {what} and the network {wants}: set "
                f"network.{of}={have}"
            )
