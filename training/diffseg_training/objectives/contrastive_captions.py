"""Images and their captions drawn together, and from all others apart: a small CLIP.

The contrastive loss of CLIP (Radford et al. 2021) with as many right answers as there
are (Yang et al. 2022, unified contrastive learning, equations 3 to 5): every caption of
the batch that is true of an image is one of its own, whether it was made of it or not.
"A brain MRI" is true of every brain, and "healthy brain" of every healthy one: taken
for false they would be pushed away from what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from diffseg.diffusion import generator
from diffseg.errors import UserError
from diffseg.networks.caption_clip import CaptionClip
from diffseg_training.augment import example
from diffseg_training.machines import all_of
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.autoencoder import coloured_image
from diffseg_training.recipe import Recipe
from diffseg_training.sampling import VALIDATION_KEY
from diffseg_training.settings.contrastive_captions import Settings
from diffseg_training.synchronised import sum_over_processes
from diffseg_training.text.captioning import Captioner, captioner_of
from diffseg_training.text.captions import Caption, vocabulary
from diffseg_training.text.facts import Facts
from diffseg_training.text.tokenizers import WordTokenizer, bert_tokenizer

_AT_ONCE = 32  # held-out images that go through the network together


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe.

    Raises
    ------
    UserError
        The network is no small CLIP, is of another size, or has too few tokens.
    """
    config = recipe.objective
    assert isinstance(config, Settings)
    if not isinstance(network, CaptionClip):
        raise UserError(
            f"objective contrastive_captions of recipe {recipe.name} needs network "
            f"caption_clip, not {recipe.network['name']}"
        )
    if any(side != network.size for side in recipe.patch):
        raise UserError(
            f"recipe {recipe.name}: patch is {' x '.join(map(str, recipe.patch))}, the "
            f"network takes images of {network.size} x {network.size}: give both the "
            "same size"
        )
    return CaptionContrast(captioner_of(config), tokenizer_of(config, network))


def tokenizer_of(config: Settings, network: CaptionClip) -> WordTokenizer:
    """The tokenizer of a small CLIP's captions; `UserError` if they are too many."""
    captioner = captioner_of(config)
    tokenizer = bert_tokenizer(vocabulary(captioner.sets), network.context)
    if len(tokenizer.inner) > network.vocabulary:
        raise UserError(
            f"captions have {len(tokenizer.inner)} tokens, the network "
            f"{network.vocabulary}: set network.vocabulary={len(tokenizer.inner)}"
        )
    return tokenizer


@dataclass(frozen=True, slots=True, eq=False)
class CaptionContrast:
    """The loss of one recipe, and what its weights are chosen by."""

    captioner: Captioner
    tokenizer: WordTokenizer

    def __call__(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Contrast of the images and captions of all processes."""
        assert isinstance(network, CaptionClip)
        facts, captions = self.captioner(batch.classes, batch.sources)
        tokens = self.tokenizer([one.text for one in captions]).to(batch.image.device)
        images = network.embedded_images(coloured_image(batch.image))
        texts = network.embedded_texts(tokens)
        if torch.is_grad_enabled():
            images, texts = gathered(images), gathered(texts)
            everyone = all_of([*zip(facts, captions, strict=True)])
            facts = [one for one, _ in everyone]
            captions = [one for _, one in everyone]
        true = truth(facts, captions).to(images.device)
        scores = network.scale * images @ texts.T
        loss = contrast(scores, true)
        terms = {
            "matched": float(matched(scores.detach(), true)),
            "scale": float(network.scale.detach()),
        }
        return loss, terms

    @torch.no_grad()
    def scores(
        self, network: nn.Module, examples: Sequence[Any], recipe: Recipe
    ) -> Mapping[str, float]:
        """Contrast of all held-out examples, always in the same words.

        Returns
        -------
        dict
            score (minus the loss), loss, and matched: the share of images whose
            likeliest caption is true of them.
        """
        assert isinstance(network, CaptionClip)
        device = next(network.parameters()).device
        sources = [
            generator(recipe.seed, VALIDATION_KEY, index)
            for index in range(len(examples))
        ]
        shown = []
        for one, source in zip(examples, sources, strict=True):
            image, classes = one.arrays(source)
            shown.append(example(image, classes, recipe.patch, None, source))
        masks = torch.stack([one for _, one in shown])
        facts, captions = self.captioner(masks, sources)
        tokens = self.tokenizer([one.text for one in captions]).to(device)
        pictures = coloured_image(torch.stack([one for one, _ in shown]))
        parts = range(0, len(pictures), _AT_ONCE)
        found = [
            network.embedded_images(pictures[at : at + _AT_ONCE].to(device))
            for at in parts
        ]
        answer = network.scale * torch.cat(found) @ network.embedded_texts(tokens).T
        true = truth(facts, captions).to(device)
        loss = float(contrast(answer, true))
        return {"score": -loss, "loss": loss, "matched": float(matched(answer, true))}


def truth(facts: Sequence[Facts], captions: Sequence[Caption]) -> Tensor:
    """Which captions are true of which pictures, (B, n) bool."""
    return torch.tensor([[one.hold(said.said) for said in captions] for one in facts])


def contrast(scores: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy of the true pairs, from images to texts and back, halved.

    Parameters
    ----------
    scores : (B, n) Tensor
        Scaled cosines of images and texts.
    true : (B, n) bool Tensor
        What of each row and each column is a right answer, all of them alike; a row
        or a column without any says nothing.
    """
    ways = ((scores, true), (scores.T, true.T))
    return 0.5 * torch.stack([_cross_entropy(*way) for way in ways]).sum()


def _cross_entropy(scores: Tensor, true: Tensor) -> Tensor:
    share = true.float()
    count = share.sum(1)
    likely = functional.log_softmax(scores.float(), dim=1)
    each = -(likely * share).sum(1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)


def matched(scores: Tensor, true: Tensor) -> Tensor:
    """Share of the images (B, n) whose likeliest text is true of them."""
    return true.gather(1, scores.argmax(1, keepdim=True)).float().mean()


def gathered(mine: Tensor) -> Tensor:
    """Rows (B, E) of all processes, equally many in each, (P * B, E); differentiable.

    With the gradient that one process with the whole batch has, once those of all
    processes are averaged.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return mine
    blocks = distributed.get_world_size()
    before = distributed.get_rank() * len(mine)
    after = (blocks - 1) * len(mine) - before
    return sum_over_processes(functional.pad(mine, (0, 0, before, after)))
