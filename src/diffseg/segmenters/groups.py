"""Groups of members, block after block of slices, with as much memory as there is.

What `members` and `latent_members` share: both are given how one group is computed,
and what to go on with where its memory is exhausted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import DiffsegError, exhausted
from diffseg.progress import Progress
from diffseg.segmenters.denoiser import Evaluation
from diffseg.segmenters.means import Means, in_words, release
from diffseg.segmenters.source import MEMORY, Slab, Step, told_whose

_LOG = logging.getLogger(__name__)

Flip = tuple[int, ...]
"""Spatial axes (0 is Z) along which an image is flipped."""

Group = Callable[[range, int], Iterator[Slab | Step | None]]
"""Draws, in a block of planes, the next members from one on: one or several."""

Compute = Callable[[Flip, Sequence[int], range], Evaluation]
"""Probabilities (M, K, n, Y, X) of members in planes of the image flipped so."""


def flipped(array: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
    """Flip a (C, Z, Y, X) array along spatial axes (0 is Z)."""
    spatial = tuple(axis + 1 for axis in axes)
    # A copy: NumPy calls a flipped axis of length 1 contiguous, torch refuses it.
    return np.flip(array, spatial).copy() if spatial else array


def mirrored(planes: range, count: int, flip: Flip) -> range:
    """Where planes of a stack of `count` lie in the flipped stack."""
    return range(count - planes.stop, count - planes.start) if 0 in flip else planes


def in_turn(planes: range, flip: Flip) -> range:
    """Planes in the order in which they stand in the flipped stack."""
    return planes[::-1] if 0 in flip else planes


def in_groups(
    blocks: Iterable[range],
    members: int,
    group: Group,
    step_down: Callable[[str], Progress],
    done_with: Callable[[], None],
) -> Iterator[Slab | Step | Progress | None]:
    """Draw `members` in every block; where memory is exhausted, go on with less.

    Parameters
    ----------
    blocks : iterable of range
        Planes that are finished together.
    members : int
    group : function
    step_down : function
        Is given the trouble; takes smaller means and says so, or raises.
    done_with : function
        Called when a block is finished, to free what was kept for it.
    """
    for planes in blocks:
        done = 0
        while done < members:
            trouble = None
            try:
                for piece in group(planes, done):
                    yield piece
                    done += isinstance(piece, Slab)
            except (RuntimeError, MemoryError) as error:
                if not exhausted(error):
                    raise
                trouble = str(error)
            # Outside the handler: the error's frames hold what it ran out of.
            if trouble is not None:
                yield step_down(trouble)
        done_with()


def went_smaller(before: Means, after: Means, dims: int, trouble: str) -> Progress:
    """Give the memory of the larger means back, and say what is smaller from here on.

    Nothing may refer to what they held any more.
    """
    release(before.device)
    line = in_words(before, after, dims)
    _LOG.warning("%s (%s)", line, trouble.partition("\n")[0])
    return Progress(MEMORY, message=line)


def too_little_memory(least: str, *, shown_whole: bool) -> DiffsegError:
    """What to raise where memory is short of the least that can be computed at once.

    `shown_whole`: slices are, so that a smaller region would not help.
    """
    short = f"the memory of this machine does not suffice for one {least}: close other "
    if shown_whole:
        return DiffsegError(f"{short}programs, or choose a smaller model")
    return DiffsegError(f"{short}programs, or give a smaller region", option="--roi")


def one_group(
    planes: range, members: range, flips: Sequence[Flip], compute: Compute
) -> Iterator[Slab | Step | None]:
    """Draw members that are computed together, one flip's after another's.

    Member m sees the image flipped by the m-th of `flips`, in turn. Each is yielded
    as soon as those before it are.
    """
    drawn: dict[int, NDArray[np.float32]] = {}
    waiting = members.start
    for turn, flip in enumerate(flips):
        mine = [m for m in members if m % len(flips) == turn]
        if not mine:
            continue
        work = compute(flip, mine, planes)
        answers = yield from told_whose(work, mine, len(drawn), planes)
        for member, one in zip(mine, answers.numpy(), strict=True):
            drawn[member] = flipped(one, flip)
        while waiting in drawn:
            yield Slab(planes.start, drawn.pop(waiting))
            waiting += 1
