"""How long a text-prompted method will take: one member of one slice is timed.

Nothing smaller tells it: the backbones see every slice at the same few sizes, and what
is refined to pixels follows from the slice alone. An image that was looked at before,
with the same seed, takes less, as its features are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from time import perf_counter
from typing import Protocol

import numpy as np
import torch

from diffseg.domain import ModelCard, Request
from diffseg.domain.asking import Asked
from diffseg.domain.slice_labels import ABSENT
from diffseg.segmenters.base import Segmenter
from diffseg.segmenters.probing import (
    Estimate,
    Probing,
    around,
    frames_of,
    of_the_image,
    restoring,
)
from diffseg.segmenters.source import MemberSource
from diffseg.segmenters.weak.fitting import said_of

Pace = tuple[float, int]
"""Seconds of one member in one slice, and bytes at the peak."""

Paces = dict[tuple[int, ...], Pace]

_TICK_S = 0.004


class Texting(Segmenter, Protocol):
    """A segmenter whose members are drawn slice by slice, for words."""

    def check_texts(self, asked: Asked) -> None:
        """Refuse words that the model cannot read."""


def foretold(
    segmenter: Texting,
    request: Request,
    asked: Asked,
    source: Callable[[Asked], MemberSource],
    paces: Paces,
) -> Probing:
    """Estimate a request whose members are drawn slice by slice; yields on the way.

    Parameters
    ----------
    segmenter : Texting
    request : Request
    asked : Asked
        What it looks for.
    source : callable
        Makes what draws members, and keeps nothing of what it saw.
    paces : dict
        What is known already, by steps and the slice's size; a new one is added.
    """
    card = segmenter.card
    members = request.members or card.sampling.members
    steps = request.steps or card.sampling.steps
    seconds, need = around(segmenter, request), 0.0
    if asked.wanted:
        segmenter.check_texts(asked)
    for frame in frames_of(segmenter, request):
        planes = _planes(request, card, asked, frame.shape[0])
        seconds += members * restoring(segmenter, frame)
        if not planes:
            continue
        key = (steps, *frame.shape[1:])
        if key not in paces:
            work = _pace(segmenter, source(asked), steps, frame.shape[1:])
            paces[key] = yield from work
        seconds += planes * members * paces[key][0]
        need = max(need, float(paces[key][1]))
    if segmenter.device == "cpu":
        need += of_the_image(segmenter, request, members)
    return Estimate(seconds, int(need), members, steps)


def _planes(request: Request, card: ModelCard, asked: Asked, count: int) -> int:
    """Slices in which something is looked for."""
    if not asked.wanted:
        return 0
    said = said_of(request, card)
    shown = (said[:, list(asked.wanted)] != ABSENT).any(axis=1)
    return min(count, int(shown.sum()))


def _pace(
    segmenter: Segmenter, source: MemberSource, steps: int, extent: tuple[int, ...]
) -> Generator[None, None, Pace]:
    channels = len(segmenter.card.preparation.channels)
    random = np.random.default_rng(0)
    image = random.random((channels, 1, *extent), dtype=np.float32)

    def work() -> Generator[None, None, float]:
        began = perf_counter()
        for _ in source(image, members=1, steps=steps, seed=0):
            yield None
        if segmenter.device == "cuda":
            torch.cuda.synchronize()
        return perf_counter() - began

    if segmenter.device == "cuda":
        yield from work()  # kernels are made at the first
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        seconds = yield from work()
        return seconds, torch.cuda.max_memory_allocated() - before
    with Scales() as scales:
        seconds = yield from work()
    return seconds, scales.peak


class Scales:
    """Memory that this process takes more inside of the block, at its peak."""

    def __init__(self) -> None:
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Scales:
        self._before = _resident()
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(_TICK_S):
            self.peak = max(self.peak, _resident() - self._before)

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        self._thread.join()


def _resident() -> int:
    import psutil  # type: ignore[import-untyped]

    return int(psutil.Process().memory_info().rss)
