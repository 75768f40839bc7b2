"""Guidance without a classifier: further away from what any text would give."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffseg.diffusion.samplers import Denoise

Conditioned = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Clean latents (B, ...) of noisy ones (B, ...) at timesteps (B,), given a context."""


def guided(
    denoise: Conditioned, context: Tensor, null: Tensor, scale: float
) -> Denoise:
    """Denoiser that goes from the null text's answer `scale` times towards the text's.

    Ho and Salimans 2022: ``x0 = x0_null + scale (x0_text - x0_null)``. At a given noisy
    latent and timestep this is the same as guiding eps or v, of which x0 is an affine
    function. A scale of 1 asks for the text alone, once a step; any other for both,
    in one batch.

    Parameters
    ----------
    denoise : function
    context : (B, L, C) Tensor
        Embedding of the text, for each of the batch.
    null : (1 or B, L, C) Tensor
        Embedding of the null or of a negative text.
    scale : float
    """
    if scale == 1:
        return lambda noisy, t: denoise(noisy, t, context)
    both = torch.cat([null.expand_as(context), context])

    def towards(noisy: Tensor, t: Tensor) -> Tensor:
        answer = denoise(torch.cat([noisy, noisy]), torch.cat([t, t]), both)
        plain, text = answer.chunk(2)
        return plain + scale * (text - plain)

    return towards
