"""Averaged weights: an exponential moving average of what is trained.

The decay grows with the steps, as diffusers' ``EMAModel`` has it, which tests hold this
to; importing that one imports models of every kind with it, seconds at each start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_POWER = 0.75  # of the faster growth


class Average:
    """Averages of parameters, in their order, and the steps they have seen.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        Where they stand now, the averages begin.
    decay : float
        Share of the average that a step leaves, in [0, 1), once it has grown so far.
    warmup : bool
        Whether the decay after `n` steps is at most ``1 - n ** -0.75``, for n > 1; else
        at most ``n / (n + 9)``. The first step leaves nothing of the beginning.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], decay: float, *, warmup: bool
    ) -> None:
        self.decay, self.warmup = decay, warmup
        self.steps = 0
        self.shadows: list[Tensor] = [p.detach().clone() for p in parameters]

    def share_kept(self) -> float:
        """Share of the averages that the last step has left."""
        before = self.steps - 1
        if before <= 0:
            return 0.0
        grown = (1 + before) / (10 + before)
        if self.warmup:
            grown = 1 - (1 + before) ** -_POWER
        return min(grown, self.decay)

    @torch.no_grad()
    def step(self, parameters: Sequence[nn.Parameter]) -> None:
        """Draw the averages towards the parameters, all of them in few kernels."""
        self.steps += 1
        if self.shadows:
            now = [p.detach() for p in parameters]
            torch._foreach_lerp_(self.shadows, now, 1 - self.share_kept())

    @contextmanager
    def in_place_of(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Let the parameters hold the averages; their own values come back after."""
        own = [p.detach().cpu().clone() for p in parameters]  # no room on the device
        _set(parameters, self.shadows)
        try:
            yield
        finally:
            _set(parameters, own)


@torch.no_grad()
def _set(parameters: Iterable[nn.Parameter], values: Iterable[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
