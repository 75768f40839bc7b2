"""Drawing images from captions: latent diffusion, as Stable Diffusion is trained.

Of each image one timestep, alike of all, and one noise is drawn from its own source;
the U-Net is taught eps, v or x0 of its latent by the tokens of a caption, which is left
out of a share of the images (Rombach et al. 2022; Ho and Salimans 2022). U-Net and text
encoder are trained together; the autoencoder is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffseg.diffusion import NoiseSchedule, Prediction, schedule_of, target
from diffseg.errors import UserError
from diffseg.networks.caption_diffusion import CaptionDiffusion
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.autoencoder import coloured_image
from diffseg_training.objectives.latent_parts import read_part
from diffseg_training.objectives.terms import levels, normal, predicted, sample_errors
from diffseg_training.recipe import Recipe
from diffseg_training.settings.text_diffusion import Settings
from diffseg_training.state import check_keys
from diffseg_training.text.captioning import Captioner, captioner_of
from diffseg_training.text.captions import vocabulary
from diffseg_training.text.tokenizers import WordTokenizer, clip_tokenizer


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe, and give its network the autoencoder.

    Raises
    ------
    UserError
        The network or the sampling does not fit, or the autoencoder cannot be read.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, CaptionDiffusion):
        raise UserError(
            f"objective text_diffusion of recipe {recipe.name} needs network "
            f"caption_diffusion, not {recipe.network['name']}"
        )
    if any(side % network.multiple for side in recipe.patch):
        raise UserError(
            f"recipe {recipe.name}: patch is {' x '.join(map(str, recipe.patch))}; the "
            f"network takes multiples of {network.multiple}"
        )
    if recipe.sampling.schedule not in ("linear", "scaled_linear"):
        raise UserError(
            f"recipe {recipe.name}: schedulers of diffusers know the schedules linear "
            f"and scaled_linear, not {recipe.sampling.schedule}"
        )
    weights = read_part(config.autoencoder).weights
    own = network.autoencoder.state_dict()
    check_keys(weights, own, f"autoencoder {config.autoencoder}")
    network.autoencoder.load_state_dict(dict(weights))
    return TextDiffusionLoss(
        config,
        captioner_of(config),
        tokenizer_of(config, network),
        schedule_of(recipe.sampling),
        predicted(recipe),
    )


def tokenizer_of(config: Settings, network: CaptionDiffusion) -> WordTokenizer:
    """The tokenizer of a network's captions; `UserError` if it has other tokens."""
    words = vocabulary(captioner_of(config).sets)
    tokenizer = clip_tokenizer(words, network.context)
    if len(tokenizer.inner) != network.vocabulary:
        raise UserError(
            f"captions have {len(tokenizer.inner)} tokens, the network "
            f"{network.vocabulary}: set network.vocabulary={len(tokenizer.inner)}"
        )
    return tokenizer


@dataclass(frozen=True, slots=True, eq=False)
class TextDiffusionLoss:
    """The loss of one recipe."""

    config: Settings
    captioner: Captioner
    tokenizer: WordTokenizer
    schedule: NoiseSchedule
    kind: Prediction

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean error of the prediction, of each image at a timestep of its own."""
        assert isinstance(network, CaptionDiffusion)
        clean = network.encode(coloured_image(batch.image)).float()
        t = levels(0, self.schedule.timesteps, 1, batch.sources).to(clean.device)
        noise = normal(clean, batch.sources)
        noisy = self.schedule.add_noise(clean, noise, t)
        tokens = self.tokenizer(self.texts(batch)).to(clean.device)
        answer = network(noisy, t, tokens).float()
        wanted = target(self.kind, clean, noise, t, self.schedule)
        total = sample_errors(answer, wanted, self.config.loss).mean()
        terms = {
            "prediction": float(total.detach()),
            "deviation": float(clean.std()),
        }
        return total, terms

    def texts(self, batch: Batch) -> list[str]:
        """Captions of a batch, empty where one is left out."""
        _, captions = self.captioner(batch.classes, batch.sources)
        share = self.config.untold if torch.is_grad_enabled() else 0.0
        return [
            "" if float(torch.rand((), generator=source)) < share else one.text
            for one, source in zip(captions, batch.sources, strict=True)
        ]
