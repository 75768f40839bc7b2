"""How long a proposal will take and how much memory, from one probed piece of it."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from diffseg.domain import Region, Request
from diffseg.ensemble import Accumulator, forbid
from diffseg.errors import DiffsegError
from diffseg.progress import finished
from diffseg.segmenters.base import Segmenter
from diffseg.segmenters.checks import check_request
from diffseg.segmenters.denoiser import dtype_of, padded, tile_starts
from diffseg.segmenters.device import free_memory
from diffseg.segmenters.means import first_means
from diffseg.segmenters.members import blocks
from diffseg.segmenters.network import NetworkSegmenter
from diffseg.segmenters.piece import Piece, timed
from diffseg.segmenters.preparation import (
    Frame,
    frame_of,
    part_of,
    planes_of,
    restore,
)
from diffseg.segmenters.regions import is_crop, shown_for, whole

# Typical of a head at 1 mm; it varies little with the image, which is shrunk first.
REGISTRATION_SECONDS = 4.0
# Typical of one voxel of the image: read and composed; of the region: prepared.
_WHOLE_SECONDS, _PREPARED_SECONDS = 5e-8, 1e-7
# Voxels with which the way back to the source's grid is timed.
_PIECE_VOXELS = 30_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a proposal will take.

    Parameters
    ----------
    seconds : float
        Wall time, the model being loaded.
    memory_bytes : int
        Peak memory of the device, beyond the weights.
    members, steps : int
        The ensemble, the card's defaults filled in.
    warnings : tuple of str
        What is doubtful about the request, and memory that will not suffice.
    """

    seconds: float
    memory_bytes: int
    members: int
    steps: int
    warnings: tuple[str, ...] = ()


Probing = Generator[None, None, Estimate]
"""Yields wherever an estimate may be left: whoever asked wants something else now."""


@runtime_checkable
class Foretelling(Protocol):
    """A method that estimates its own work."""

    def estimate(self, request: Request) -> Probing:
        """Estimate time and memory of a request; yields where it may be left."""


@dataclass(frozen=True, slots=True)
class Work:
    """The network's part in one place.

    Parameters
    ----------
    frame : Frame
    tile : tuple of int
        Extent of one input, (Z, Y, X) or (Y, X).
    tiles : int
        Inputs that cover the place once, for one flip.
    batch : int
        Noisy masks at once.
    """

    frame: Frame
    tile: tuple[int, ...]
    tiles: int
    batch: int


def probe(segmenter: Segmenter, request: Request) -> Estimate:
    """Estimate time and memory of a request; see `iter_probe`."""
    return finished(iter_probe(segmenter, request))


def iter_probe(segmenter: Segmenter, request: Request) -> Probing:
    """Estimate time and memory of a request; takes about a second at most.

    One evaluation of the network on a small input is timed, and one member's way
    back to the source's voxels; regions that would be found by registration are
    taken to be of their size in the template. A method that estimates its own work
    takes as long as its least piece, and can be left on the way.

    Raises
    ------
    UserError
        The request does not fit the model.
    DiffsegError
        The method's network cannot be probed.
    """
    card = segmenter.card
    warnings = check_request(card, request)
    if isinstance(segmenter, Foretelling):
        told = yield from segmenter.estimate(request)
        return replace(
            told,
            warnings=warnings + _short(segmenter, told.memory_bytes, whole=True),
        )
    if not isinstance(segmenter, NetworkSegmenter):
        raise DiffsegError(f"method {card.method} does not say what it will take")
    return _of_network(segmenter, request, warnings)


def _of_network(
    segmenter: NetworkSegmenter, request: Request, warnings: tuple[str, ...]
) -> Estimate:
    """What a network that denoises masks will take."""
    card = segmenter.card
    members = request.members or card.sampling.members
    steps = request.steps or card.sampling.steps
    works = [
        _work(segmenter, frame, members, steps)
        for frame in frames_of(segmenter, request)
    ]
    channels = len(card.preparation.channels) * (2 * card.preparation.context + 1)
    piece = Piece.probed(segmenter.probed, segmenter.device, works[0].tile,
                         works[0].batch, channels)  # fmt: skip
    seconds = around(segmenter, request)
    different, evaluations = segmenter.evaluations(members, steps)
    flips = min(len(card.preparation.flips), different)
    for work in works:
        encoding = flips * work.tiles * piece.encode_seconds(work.tile)
        masks = evaluations * work.tiles * piece.denoise_seconds(work.tile)
        seconds += encoding + masks + members * restoring(segmenter, work.frame)
        seconds += _PREPARED_SECONDS * math.prod(work.frame.region.shape)
    need = max(_memory(segmenter, piece, work, steps, flips) for work in works)
    if segmenter.device == "cpu":
        need += of_the_image(segmenter, request, members)
    warnings += _short(segmenter, need)
    return Estimate(seconds, int(need), members, steps, warnings)


def _short(
    segmenter: Segmenter, need: float, *, whole: bool = False
) -> tuple[str, ...]:
    """Say that memory will not suffice; `whole`: there are no smaller pieces."""
    free = free_memory(segmenter.device)
    if need <= free:
        return ()
    kind = "memory" if segmenter.device == "cpu" else "GPU memory"
    then = (
        "close other programs"
        if whole
        else ("it will go on in smaller pieces, and take longer")
    )
    return (
        f"about {need / 2**30:.1f} GiB of {kind} are needed and {free / 2**30:.1f} "
        f"GiB are free: {then}",
    )


def frames_of(segmenter: Segmenter, request: Request) -> list[Frame]:
    """Frames of the places, where they must be looked for of the template's size."""
    card, grid = segmenter.card, request.volume.grid
    where, preparation = card.localisation, card.preparation
    if request.region is not None:
        regions = [request.region]
    elif where is None or is_crop(grid, where, preparation.orientation):
        regions = [whole(grid.shape)]
    else:
        _, turn = grid.reoriented("RAS")
        regions = []
        for box in where.boxes:
            mm = np.subtract(box.high_mm, box.low_mm)[::-1]  # of RAS, (z, y, x)
            sides = [0.0, 0.0, 0.0]
            for axis, source in enumerate(turn.axes):
                sides[source] = float(mm[axis])
            regions.append(_middle(grid.shape, sides, grid.spacing_zyx))
    frames = []
    for region in regions:
        frame = frame_of(
            grid, shown_for(card, region, grid.shape) or region, preparation
        )
        planes = planes_of(frame, region)
        frames.append(part_of(frame, planes.start, planes.stop))
    return frames


def _middle(
    shape: tuple[int, int, int], sides_mm: list[float], spacing: tuple[float, ...]
) -> Region:
    """A box of that size in the middle of an image, as far as it fits."""
    ranges = []
    for n, mm, step in zip(shape, sides_mm, spacing, strict=True):
        size = min(n, round(mm / step) + 1)
        start = (n - size) // 2
        ranges.append((start, start + size))
    return Region(*ranges)


def _work(segmenter: NetworkSegmenter, frame: Frame, members: int, steps: int) -> Work:
    network, preparation = segmenter.network, segmenter.card.preparation
    sizes = frame.shape if network.dims == 3 else frame.shape[1:]
    limit = padded(preparation.tile or sizes, network.multiple)
    pairs = zip(padded(sizes, network.multiple), limit, strict=True)
    tile = tuple(min(a, b) for a, b in pairs)
    count = math.prod(len(tile_starts(n, t)) for n, t in zip(sizes, tile, strict=True))
    means = first_means(segmenter.device, dtype_of(network), tile)
    masks = -(-members // len(preparation.flips))
    if network.dims == 2:
        count *= frame.shape[0]
        masks *= len(blocks(frame.shape, 2, steps=steps)[0])
    return Work(frame, tile, count, min(means.most(math.prod(tile)), masks))


def around(segmenter: Segmenter, request: Request) -> float:
    """Seconds of what happens once: reading, looking for regions, composing."""
    card, grid = segmenter.card, request.volume.grid
    seconds = _WHOLE_SECONDS * math.prod(grid.shape) * request.volume.channels
    where = card.localisation
    if request.region is None and where is not None:
        crop = is_crop(grid, where, card.preparation.orientation)
        seconds += 0 if crop else REGISTRATION_SECONDS
    return seconds


def restoring(segmenter: Segmenter, frame: Frame) -> float:
    """Seconds of one member's way from the network to the ensemble's sums."""
    classes = len(segmenter.card.labels) + 1
    # Some planes are enough; planes are resampled together in 3D only.
    region, share = frame.region, 1.0
    most = max(1, _PIECE_VOXELS // math.prod(region.shape[1:]))
    if most < region.shape[0]:
        share = region.shape[0] / most
        start = region.z[0]
        region = Region((start, start + most), region.y, region.x)
    z, y, x = (
        max(1, round(n / share)) if axis == 0 else n
        for n, axis in zip(frame.shape, frame.turn.axes, strict=True)
    )
    first, second, third = (region.shape[axis] for axis in frame.turn.axes)
    shape = (classes, z, y, x)
    part = replace(frame, region=region, turned=(first, second, third), shape=(z, y, x))
    odds = np.random.default_rng(0).random(shape, dtype=np.float32) + np.float32(0.1)
    odds /= odds.sum(axis=0)
    accumulator = Accumulator(classes, region.shape)
    return share * timed(lambda: accumulator.add(forbid(restore(odds, part), ())))


def _memory(
    segmenter: NetworkSegmenter, piece: Piece, work: Work, steps: int, flips: int
) -> float:
    """Bytes on the device while the members of one place are drawn."""
    features = piece.feature_bytes(work.tile) * work.tiles * flips
    if segmenter.network.dims == 2:
        # Only those of a block of slices are held.
        features *= (
            len(blocks(work.frame.shape, 2, steps=steps)[0]) / work.frame.shape[0]
        )
    kept = first_means(segmenter.device, dtype_of(segmenter.network),
                       work.tile).kept_bytes * flips  # fmt: skip
    return min(features, kept) + piece.peak_bytes(work.tile, work.batch)


def of_the_image(segmenter: Segmenter, request: Request, members: int) -> float:
    """Bytes of the image, the ensemble's sums and the proposal."""
    classes = len(segmenter.card.labels) + 1
    grid = math.prod(request.volume.shape)
    regions = [math.prod(f.region.shape) for f in frames_of(segmenter, request)]
    sums = max(regions) * (8 * classes + 8 + 20 * classes)  # and their temporaries
    answers = sum(regions) * (4 * classes + 9 + members)
    return float(grid * (4 * classes + 6) + sums + answers)
