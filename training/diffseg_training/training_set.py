"""Training examples: prepared once, as the segmenter itself will prepare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.domain import Preparation, Region
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.segmenters.preparation import Frame, frame_of, prepare, resample
from diffseg.volume import Volume, read_mask
from diffseg_training.cache import Cache, key_of
from diffseg_training.dataset import Case, Dataset, read_image
from diffseg_training.known import UNREVIEWED, is_partial, marked

Places = Mapping[int, NDArray[np.int32]]
"""Some voxels (n, 3) of each class that an example holds, but background."""

_MOST_PLACES = 2000  # voxels remembered of each class


class _Shown:
    """How a prepared case is shown to a network."""

    __slots__ = ()
    image: Tensor
    classes: Tensor
    dims: int
    context: int

    def arrays(self, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Image (C, *S) and classes (*S) to cut a patch from."""
        if self.dims == 3:
            return self.image, self.classes
        return self.plane(int(torch.randint(self.planes, (), generator=source)))

    @property
    def bytes_held(self) -> int:
        """Memory that the example takes for good."""
        return self.image.nbytes + self.classes.nbytes

    @property
    def partial(self) -> bool:
        """Whether some of its voxels were not reviewed."""
        return is_partial(self.classes.numpy())

    @property
    def planes(self) -> int:
        """Planes of the image."""
        return self.image.shape[1]

    def plane(self, index: int) -> tuple[Tensor, Tensor]:
        """One slice, its neighbours as channels (C, Y, X), and its classes (Y, X)."""
        image, last = self.image, self.planes - 1
        around = range(index - self.context, index + self.context + 1)
        # Offsets outermost, channels within: as the segmenter stacks them.
        slices = [image[:, min(max(at, 0), last)] for at in around]
        return torch.cat(slices), self.classes[index]


@dataclass(frozen=True, slots=True, eq=False)
class Example(_Shown):
    """A prepared case: `image` (C, Z, Y, X) float32, `classes` (Z, Y, X) uint8.

    Classes of voxels that nobody reviewed are marked; see `diffseg_training.known`.

    A 2D network (`dims` 2) is shown one slice with `context` neighbours as channels.
    """

    case: str
    image: Tensor
    classes: Tensor
    dims: int = 3
    context: int = 0

    @property
    def places(self) -> Places:
        """Some voxels of each class there is, but background."""
        return places_of(self.classes.numpy())


@dataclass(frozen=True, slots=True, eq=False)
class StoredExample(_Shown):
    """A prepared case on disk, of which only what is looked at is read."""

    case: str
    cache: Cache
    key: str
    dims: int = 3
    context: int = 0

    @property
    def bytes_held(self) -> int:
        """Memory that the example takes for good: what is read may be let go."""
        return 0

    @property
    def image(self) -> Tensor:  # type: ignore[override]
        """The prepared image (C, Z, Y, X), mapped into memory."""
        return torch.from_numpy(self.cache.read(self.key, "image"))

    @property
    def classes(self) -> Tensor:  # type: ignore[override]
        """The class indices (Z, Y, X), mapped into memory."""
        return torch.from_numpy(self.cache.read(self.key, "classes"))

    @property
    def places(self) -> Places:
        """Some voxels of each class there is, but background."""
        return places_of(self.classes.numpy())


AnyExample = Example | StoredExample


def places_of(classes: NDArray[np.uint8]) -> Places:
    """At most 2000 voxels of each class but background, evenly over its voxels.

    Where some voxels were not reviewed, these are left out, and background that was
    reviewed is a class like the others: what a person erased is there.
    """
    found = {}
    indices = range(1, int(classes.max()) + 1 if classes.size else 1)
    if is_partial(classes):
        indices = range(UNREVIEWED)
    for index in indices:
        where = np.flatnonzero(classes == index)
        if where.size:
            chosen = where[:: -(-where.size // _MOST_PLACES)]
            voxels = np.unravel_index(chosen, classes.shape)
            found[index] = np.stack(voxels, axis=1).astype(np.int32)
    return found


def prepare_examples(
    cases: Sequence[Case],
    dataset: Dataset,
    preparation: Preparation,
    *,
    cache: Path | None = None,
    memory: float = float("inf"),
) -> Work[list[AnyExample]]:
    """Read and prepare cases with masks, one by one, as the segmenter will.

    Parameters
    ----------
    cases : sequence of Case
    dataset : Dataset
    preparation : Preparation
    cache : Path, optional
        Folder that holds what exceeds `memory`; a case that lies there already, of
        the same files and preparation, is not prepared again.
    memory : float
        Bytes of prepared examples to keep in memory.

    Raises
    ------
    UserError
        A case without a mask, one that cannot be read, or one whose channels are
        not those of the others.
    """
    examples: list[AnyExample] = []
    stored = None if cache is None else Cache(cache)
    held = 0
    for done, case in enumerate(cases, start=1):
        if case.mask is None:
            raise UserError(f"case {case.case} has no mask to learn from")
        key = key_of(case, dataset, preparation)
        if stored is not None and stored.holds(key):
            examples.append(_from_disk(case.case, stored, key, preparation))
        else:
            image, classes = prepare_case(case, dataset, preparation)
            held += image.nbytes + classes.nbytes
            if stored is None or held <= memory:
                examples.append(
                    Example(
                        case.case,
                        torch.from_numpy(image),
                        torch.from_numpy(classes),
                        preparation.dims,
                        preparation.context,
                    )
                )
            else:
                stored.write(key, image=image, classes=classes)
                examples.append(_from_disk(case.case, stored, key, preparation))
        _check_channels(examples)
        yield Progress("prepare", done, len(cases))
    return examples


def _from_disk(
    case: str, cache: Cache, key: str, preparation: Preparation
) -> StoredExample:
    return StoredExample(case, cache, key, preparation.dims, preparation.context)


def _check_channels(examples: Sequence[AnyExample]) -> None:
    first, last = examples[0], examples[-1]
    if len(first.image) != len(last.image):
        raise UserError(
            f"case {last.case} has {len(last.image)} channels where {first.case} has "
            f"{len(first.image)}: give every case the same"
        )


def prepare_case(
    case: Case, dataset: Dataset, preparation: Preparation
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Image (C, Z, Y, X) and class indices (Z, Y, X) of a case with a mask."""
    assert case.mask is not None
    volume = read_image(case)
    whole = Region(*((0, n) for n in volume.shape))
    frame = frame_of(volume.grid, whole, preparation)
    prepared = prepare(volume.data, frame, preparation.intensity, name=case.case)
    return prepared.image, classes_in(case, dataset, volume, frame)


def classes_in(
    case: Case, dataset: Dataset, volume: Volume, frame: Frame
) -> NDArray[np.uint8]:
    """Class indices (Z, Y, X) of a case with a mask, on a frame of its image.

    Voxels that nobody reviewed are marked; see `diffseg_training.known`.
    """
    assert case.mask is not None
    mask = read_mask(case.mask, like=volume, classes=dataset.labels.values)
    classes = prepare_classes(_as_classes(mask, dataset), frame)
    if case.reviewed is None:
        return classes
    reviewed = read_mask(case.reviewed, like=volume).astype(np.bool_)
    return marked(classes, _prepare_reviewed(reviewed, frame))


def _prepare_reviewed(reviewed: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """Bring reviewed voxels onto a frame's grid: where most of a voxel was."""
    turned = frame.turn.apply(reviewed[frame.region.slices])
    if not frame.resampled:
        return turned
    share = resample(turned.astype(np.float32), frame.shape, frame.step)
    most: NDArray[np.bool_] = share > 0.5
    return most


def _as_classes(mask: NDArray[np.uint8], dataset: Dataset) -> NDArray[np.uint8]:
    """Mask values -> class indices, 0 for background."""
    lookup = np.zeros(256, np.uint8)
    for index, value in enumerate(dataset.labels.values, start=1):
        lookup[value] = index
    return lookup[mask]


def prepare_classes(classes: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    """Bring class indices onto a frame's grid: the class that weighs most there."""
    turned = frame.turn.apply(classes[frame.region.slices])
    if not frame.resampled:
        return turned
    count = int(turned.max()) + 1
    weight = [
        resample((turned == c).astype(np.float32), frame.shape, frame.step)
        for c in range(count)
    ]
    heaviest: NDArray[np.uint8] = np.argmax(weight, axis=0).astype(np.uint8)
    return heaviest
