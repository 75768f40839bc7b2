"""Training examples: prepared once, as the segmenter itself will prepare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffseg.domain import Preparation, Region
from diffseg.errors import UserError
from diffseg.progress import Progress, Work
from diffseg.segmenters.preparation import Frame, frame_of, prepare, resample
from diffseg.volume import Volume, read_mask
from diffseg_training.dataset import Case, Dataset


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A prepared case: `image` (C, Z, Y, X) float32, `classes` (Z, Y, X) uint8.

    A 2D network (`dims` 2) is shown one slice with `context` neighbours as channels.
    """

    case: str
    image: Tensor
    classes: Tensor
    dims: int = 3
    context: int = 0

    def arrays(self, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Image (C, *S) and classes (*S) to cut a patch from."""
        if self.dims == 3:
            return self.image, self.classes
        planes = self.image.shape[1]
        plane = int(torch.randint(planes, (), generator=source))
        offsets = torch.arange(-self.context, self.context + 1)
        index = (plane + offsets).clamp(0, planes - 1)
        # Offsets outermost, channels within: as the segmenter stacks them.
        slices = self.image[:, index].movedim(1, 0).flatten(0, 1)
        return slices, self.classes[plane]


def prepare_examples(
    cases: Sequence[Case], dataset: Dataset, preparation: Preparation
) -> Work[list[Example]]:
    """Read and prepare cases with masks, one by one, as the segmenter will.

    Raises
    ------
    UserError
        A case without a mask, or one that cannot be read.
    """
    examples = []
    for done, case in enumerate(cases, start=1):
        if case.mask is None:
            raise UserError(f"case {case.case} has no mask to learn from")
        volume = Volume.read(list(case.images))
        mask = read_mask(case.mask, like=volume, classes=dataset.labels.values)
        whole = Region(*((0, n) for n in volume.shape))
        frame = frame_of(volume.grid, whole, preparation)
        prepared = prepare(volume.data, frame, preparation.intensity, name=case.case)
        classes = prepare_classes(_as_classes(mask, dataset), frame)
        examples.append(
            Example(
                case.case,
                torch.from_numpy(prepared.image),
                torch.from_numpy(classes),
                preparation.dims,
                preparation.context,
            )
        )
        yield Progress("prepare", done, len(cases))
    return examples


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
