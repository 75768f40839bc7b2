"""Images that a text-to-image model draws of a class, for DiCLIP's cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion import ddim, generator
from diffseg.diffusion.guidance import guided
from diffseg.diffusion.samplers import Chain
from diffseg.errors import UserError
from diffseg.models.text_diffusion import TextDiffusion
from diffseg.progress import Progress, Work


@dataclass(frozen=True, slots=True)
class Drawing:
    """How images are drawn; the defaults are DiCLIP's with Stable Diffusion.

    Parameters
    ----------
    images : int
        Of a prompt.
    size : (int, int)
        Pixels (Y, X) at which they are drawn.
    kept_size : (int, int), optional
        Pixels to which they are then resized; None: as they are.
    steps : int
        Of DDIM, without fresh noise.
    guidance : float
        How far the text's answer is followed beyond the null text's; 1: not beyond.
    negative : str
        What stands for the null text.
    batch : int
        Images drawn at a time; it changes none of them, but for rounding.
    """

    images: int = 50
    size: tuple[int, int] = (384, 384)
    kept_size: tuple[int, int] | None = (512, 512)
    steps: int = 45
    guidance: float = 10.0
    negative: str = ""
    batch: int = 4

    def __post_init__(self) -> None:
        if min(self.images, self.batch) < 1:
            raise UserError(
                f"images is {self.images} and batch {self.batch}; give at least 1 each"
            )


def iter_draw_images(
    model: TextDiffusion, prompt: str, seed: int, how: Drawing | None = None
) -> Work[Tensor]:
    """Draw images of a prompt.

    Parameters
    ----------
    model : TextDiffusion
    prompt : str
    seed : int
        Image i follows from the seed and i alone: asked for more, the first ones stay.
    how : Drawing, optional

    Returns
    -------
    (images, 3, Y, X) float32 Tensor
        In [0, 1], on the CPU.

    Raises
    ------
    UserError
        The prompt is too long, the size does not fit the model, or there are more
        steps than it has timesteps.
    """
    how = how or Drawing()
    shape = model.latent_shape(how.size)
    texts = model.embed([prompt, how.negative])
    drawn: list[Tensor] = []
    for start in range(0, how.images, how.batch):
        members = range(start, min(start + how.batch, how.images))
        fields = [torch.randn(shape, generator=generator(seed, i)) for i in members]
        answer = torch.stack(fields).to(model.device)
        for step, clean in enumerate(_chain(model, texts, answer, how), start=1):
            answer = clean
            share = len(members) * step / how.steps
            yield Progress("draw", start, how.images, prompt, under_way=share)
        drawn.append(_finished(model.decode(answer), how.kept_size))
    yield Progress("draw", how.images, how.images, prompt)
    return torch.cat(drawn)


def _chain(model: TextDiffusion, texts: Tensor, noise: Tensor, how: Drawing) -> Chain:
    """Clean latents, step by step, of noise (B, Z, y, x) and of two texts (2, L, C)."""
    context = texts[:1].expand(len(noise), -1, -1)
    denoise = guided(model.denoise, context, texts[1:], how.guidance)
    return ddim(denoise, lambda _: noise, model.schedule, how.steps)


def _finished(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """On the CPU, resized with a kernel that overshoots, which is cut off."""
    if size is not None and tuple(images.shape[2:]) != size:
        images = functional.interpolate(
            images, size, mode="bicubic", align_corners=False, antialias=True
        )
    return images.clamp(0, 1).cpu()
