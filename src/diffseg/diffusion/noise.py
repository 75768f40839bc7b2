"""Noise of an ensemble: every number follows from a seed, a member and a draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def generator(*key: int) -> torch.Generator:
    """A CPU generator for this key, independent of those of other keys."""
    # The length belongs to the key: entropy that ends in zeros is cut off by NumPy.
    entropy = [len(key), *key]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def coherent_noise(
    shape: Sequence[int], source: torch.Generator, axis: int, correlation: float
) -> Tensor:
    """Standard normal noise whose neighbours along `axis` correlate.

    A first-order autoregression along the slice axis: each voxel's noise stays
    N(0, 1), noise k slices apart correlates by ``correlation**k``. A member drawn
    slice by slice then is one three-dimensional hypothesis.

    Parameters
    ----------
    correlation : float
        Of neighbouring slices, in [0, 1); 0 is white noise.
    """
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation is {correlation}; it must lie in [0, 1)")
    noise = torch.randn(tuple(shape), generator=source)
    if correlation == 0:
        return noise
    slices = list(noise.movedim(axis, 0))
    fresh = (1 - correlation**2) ** 0.5
    for i in range(1, len(slices)):
        slices[i] = correlation * slices[i - 1] + fresh * slices[i]
    return torch.stack(slices).movedim(0, axis).contiguous()


def member_noise(
    seed: int,
    members: Sequence[int],
    draw: int,
    shape: Sequence[int],
    *,
    slice_axis: int = 0,
    correlation: float = 0.0,
) -> Tensor:
    """Noise of several members, (M, *shape): batching changes no member's numbers.

    `draw` counts the noise a member's chain has used; `slice_axis` counts among the
    axes of `shape`.
    """
    return torch.stack(
        [
            coherent_noise(shape, generator(seed, m, draw), slice_axis, correlation)
            for m in members
        ]
    )
