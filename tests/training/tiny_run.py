"""A run small enough for a test: ``python tiny_run.py OUT STEPS [--resume]``.

A test imports it, kills it, or starts two processes of it.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import diffseg_training.trainer
from diffseg.diffusion import generator
from diffseg.progress import run
from diffseg_training.recipe import load_recipe
from diffseg_training.trainer import iter_train
from diffseg_training.training_set import Example

SIZE = 16


class TinyDenoiser(nn.Module):
    """A denoiser of slices with batch normalisation: hardly more than three layers."""

    dims, multiple, mask_channels, learned_variance = 2, 1, 1, False

    def __init__(self, width=8):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
        )
        self.mask = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def encode(self, image):
        return self.image(image)

    def denoise(self, noisy, timesteps, features):
        hidden = self.norm(self.mask(noisy)) + features
        hidden = hidden * (1 + timesteps.view(-1, 1, 1, 1) / 1000)
        return self.last(nn.functional.silu(self.middle(hidden)))

    def forward(self, noisy, timesteps, image):
        return self.denoise(noisy, timesteps, self.encode(image))


def tiny_examples(count=6):
    """Discs that are brighter than what is around them."""
    found = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:20, :18] - random.uniform(6, 12, (2, 1, 1))
        classes = (x**2 + y**2 < 20).astype(np.uint8)
        image = (classes + 0.5 * random.standard_normal(classes.shape)).astype("f4")
        found.append(
            Example(
                f"disc{seed}",
                torch.from_numpy(image)[None, None],
                torch.from_numpy(classes)[None],
                dims=2,
            )
        )
    return found


def tiny_recipe(steps, *more):
    """Denoise the discs' masks."""
    return load_recipe(
        "hippocampus-mri-slices",
        [
            "objective={name: denoising}",
            "sampling.prediction=x0",
            f"patch=[{SIZE}, {SIZE}]",
            "preparation.context=0",
            f"length.steps={steps}",
            "length.validations=2",
            "length.log_steps=1",
            "optimiser.batch=4",
            "optimiser.precision=fp32",
            "optimiser.ema=0.9",
            "augmentation.flip_axes=[0, 1]",
            "trackers=[]",
            *more,
        ],
    )


def tiny_score(network):
    """How well the network recovers a disc from much noise."""
    one = tiny_examples(1)[0]
    mask = one.classes[None, :, :SIZE, :SIZE].float()
    noisy = torch.randn(mask.shape, generator=generator(7))
    t = torch.tensor([800])
    with torch.no_grad():
        answer = network(noisy, t, one.image[:, :, :SIZE, :SIZE])
    return {"score": -float((answer - mask).square().mean())}


def tiny_train(recipe, out, network=TinyDenoiser, examples=None, **options):
    """Work that trains the tiny network, or another, on discs."""
    kept = diffseg_training.trainer.build_network
    if recipe.network["name"] != "kl_autoencoder":  # which is built as it is asked for
        diffseg_training.trainer.build_network = lambda *_, **__: network()
    try:
        out.mkdir(parents=True, exist_ok=True)
        validate = options.pop("validate", tiny_score)
        work = iter_train(recipe, examples or tiny_examples(), validate, out, **options)
        return (yield from work)
    finally:
        diffseg_training.trainer.build_network = kept


if __name__ == "__main__":
    folder, steps, *rest = sys.argv[1:]
    more = [part for part in rest if "=" in part]
    pause = "--slowly" in rest
    options = {"validate": None} if "product=part" in more else {}
    work = tiny_train(
        tiny_recipe(int(steps), *more),
        Path(folder),
        resume="--resume" in rest,
        held_out=tiny_examples(2),
        **options,
    )
    run(work, lambda _: time.sleep(0.02) if pause else None)
