"""What noisy images show: the classifier that guides diffusion (CLDF, section 3.1).

Cross-entropy of each class, absent or present, on images at all noise levels (Dhariwal
and Nichol 2021, section 4). A class of which nothing is known in an image has no say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule, generator, schedule_of
from diffseg.domain.slice_labels import PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.networks.noisy_classifier import NoisyClassifier, log_probability
from diffseg_training.labelled import LabelledExample
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.class_diffusion import check_channels
from diffseg_training.objectives.terms import levels, normal
from diffseg_training.recipe import Recipe
from diffseg_training.sampling import VALIDATION_KEY
from diffseg_training.settings.noisy_classification import Settings
from diffseg_training.weak.held_out import Slices, batches

_LEVELS = (0.05, 0.15, 0.25, 0.4)  # shares of the schedule that slices are scored at


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe; `UserError` if the network is no such classifier."""
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, NoisyClassifier):
        raise UserError(
            f"objective noisy_classification of {recipe.name} needs network "
            f"noisy_classifier, not {recipe.network['name']}"
        )
    schedule = schedule_of(recipe.sampling)
    return NoisyClassification(schedule, 1 + schedule.at(config.highest))


@dataclass(frozen=True, slots=True, eq=False)
class NoisyClassification:
    """The loss of one recipe: timesteps below `stop` of a schedule."""

    schedule: NoiseSchedule
    stop: int

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean cross-entropy of what is known, each image at a level of its own."""
        assert batch.labels is not None
        check_channels(network, batch.image, batch.labels)
        t = levels(0, self.stop, 1, batch.sources).to(batch.image.device)
        noise = normal(batch.image, batch.sources)
        logits = network(self.schedule.add_noise(batch.image, noise, t), t).float()
        loss = cross_entropy(logits, batch.labels)
        return loss, {"cross_entropy": float(loss.detach())}

    @torch.no_grad()
    def scores(
        self, network: nn.Module, examples: Sequence[LabelledExample], recipe: Recipe
    ) -> Mapping[str, float]:
        """Cross-entropy and accuracy on held-out slices, at some levels of noise.

        Accuracy: of the mean logits over the levels, the mean of the shares of slices
        with and without a class that are told right. The score is minus the
        cross-entropy of the mean logits.
        """
        device = next(network.parameters()).device
        logits, states = [], []
        for some in batches(examples, recipe, device):
            logits.append(self._mean_logits(network, some, recipe.seed))
            states.append(some.states)
        found, said = torch.cat(logits), torch.cat(states)
        loss = float(cross_entropy(found, said))
        return {"accuracy": accuracy(found, said), "loss": loss, "score": -loss}

    def _mean_logits(self, network: nn.Module, some: Slices, seed: int) -> Tensor:
        image, answers = some.image, []
        for number, share in enumerate(_LEVELS):
            level = min(self.schedule.at(share), self.stop - 1)
            t = torch.full((len(image),), level, device=image.device)
            sources = [
                generator(seed, VALIDATION_KEY, some.first + i, number)
                for i in range(len(image))
            ]
            noisy = self.schedule.add_noise(image, normal(image, sources), t)
            answers.append(network(noisy, t).float())
        return torch.stack(answers).mean(0)


def cross_entropy(logits: Tensor, states: Tensor) -> Tensor:
    """Mean over what is known of minus the log-probability; (B, K, 2), (B, K) -> ()."""
    known = (states != UNKNOWN).sum().clamp(min=1)
    return -log_probability(logits, states).sum() / known


def accuracy(logits: Tensor, states: Tensor) -> float:
    """Share told right, mean over presence and absence, and over classes."""
    told = logits[..., 1] > logits[..., 0]
    right = []
    for column, said in zip(told.T, states.T, strict=True):
        for wanted in (True, False):
            some = column[(said != UNKNOWN) & ((said == PRESENT) == wanted)]
            if len(some):
                right.append(float((some == wanted).float().mean()))
    return sum(right) / len(right) if right else 0.0
