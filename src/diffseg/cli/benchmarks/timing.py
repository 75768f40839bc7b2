"""Wall-clock seconds of work on a device, and the rate of its largest simple job."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

MATRIX = 4096  # rows and columns of the matrices whose product sets the rate


def synchronise(device: str) -> None:
    """Wait until `device` has done what it was given; a CPU always has."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def seconds_of(
    work: Callable[[], object], device: str = "cpu", *, repeats: int = 3
) -> list[float]:
    """Seconds of each of `repeats` runs of `work`, after one more to warm up."""
    taken = []
    for _ in range(repeats + 1):
        synchronise(device)
        began = time.perf_counter()
        work()
        synchronise(device)
        taken.append(time.perf_counter() - began)
    return taken[1:]


def median_seconds(
    work: Callable[[], object], device: str = "cpu", *, repeats: int = 3
) -> float:
    """Median of `seconds_of`."""
    return median(seconds_of(work, device, repeats=repeats))


@torch.inference_mode()
def matrix_rate(device: str, size: int = MATRIX) -> float:
    """Floating-point operations a second of one large float32 matrix product.

    The best of three, on the cores (or the GPU) that everything else runs on.
    """
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(size, size, generator=generator).to(device)
    b = torch.randn(size, size, generator=generator).to(device)
    return 2 * size**3 / min(seconds_of(lambda: a @ b, device))
