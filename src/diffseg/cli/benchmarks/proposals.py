"""A small ensemble in-process: its time over its own arithmetic, and GPU memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from diffseg.cli.benchmarks.arithmetic import needed_flops
from diffseg.cli.benchmarks.rows import Row
from diffseg.cli.benchmarks.timing import MATRIX, matrix_rate, median_seconds
from diffseg.domain import Request
from diffseg.errors import UserError
from diffseg.segmenters import Segmenter, frame_of
from diffseg.segmenters.ensemdiff import EnsemDiff
from diffseg.segmenters.regions import whole
from diffseg.volume import Volume

SHAPE = (35, 51, 35)  # of one hippocampus and its surroundings at 1 mm
MEMBERS, STEPS = 8, 1
LIMIT = 20.0  # times the network's own arithmetic


def synthetic(channels: int, shape: Sequence[int] = SHAPE) -> Volume:
    """A made-up volume at 1 mm, in RAS: the time does not depend on what it shows."""
    noise = np.random.default_rng(0).normal(100, 20, (channels, *shape))
    return Volume.from_array(noise.astype(np.float32), np.eye(4), name="synthetic")


def checked(segmenter: Segmenter) -> EnsemDiff:
    """The segmenter, if it is of the method that is measured.

    Raises
    ------
    UserError
        Its passes are not those of a diffusion ensemble.
    """
    if not isinstance(segmenter, EnsemDiff):
        raise UserError(
            f"model {segmenter.card.id} is of the method {segmenter.card.method!r}; "
            "bench measures models of the method 'ensemdiff': see diffseg models list"
        )
    return segmenter


def measure_proposal(
    segmenter: EnsemDiff, *, shape: Sequence[int] = SHAPE, matrix: int = MATRIX
) -> Row:
    """Seconds of an ensemble against its arithmetic at the rate of matrix products."""
    card, network = segmenter.card, segmenter.network
    volume = synthetic(len(card.preparation.channels), shape)
    request = Request(volume, members=MEMBERS, steps=STEPS, seed=0)
    rate = matrix_rate(segmenter.device, matrix)
    ours = median_seconds(lambda: segmenter.propose(request), segmenter.device)
    frame = frame_of(volume.grid, whole(volume.shape), card.preparation)
    flops = needed_flops(network, card, frame.shape, members=MEMBERS, steps=STEPS)
    flips = min(len(card.preparation.flips), MEMBERS)
    extent = "x".join(map(str, shape))
    return Row(
        what=f"{MEMBERS} members, {STEPS} step, {extent}: over the arithmetic",
        ours=ours,
        reference=flops / rate,
        limit=LIMIT,
        limit_of="ratio",
        settings=(
            f"Ours: segmenter.propose of {card.id} {card.version}, from volume to "
            "proposal, median of 3 after a warm-up. "
            f"Reference: {flops / 1e9:,.1f} GFLOP ({flips} x image features, "
            f"{MEMBERS} x member pass) at {rate / 1e9:,.0f} GFLOP/s, the best of 3 "
            f"float32 products of {matrix}x{matrix} matrices in the same run."
        ),
    )


def measure_gpu_memory(segmenter: EnsemDiff, *, shape: Sequence[int] = SHAPE) -> Row:
    """Peak memory of the GPU during the same proposal."""
    what = f"{MEMBERS} members, {STEPS} step: memory of the GPU"
    if segmenter.device != "cuda":
        why = "there is no CUDA GPU" if not torch.cuda.is_available() else "not asked"
        return Row(
            what=what,
            unit="GiB",
            skipped=f"the device is {segmenter.device} ({why}).",
        )
    volume = synthetic(len(segmenter.card.preparation.channels), shape)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    segmenter.propose(Request(volume, members=MEMBERS, steps=STEPS, seed=0))
    return Row(
        what=what,
        unit="GiB",
        ours=torch.cuda.max_memory_allocated() / 2**30,
        settings=(
            f"Peak of what torch allocates on {torch.cuda.get_device_name()}, weights "
            "included."
        ),
    )
