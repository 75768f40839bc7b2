"""The arrays of a case that the other planes show, slice by slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffseg.session import Case


@dataclass(frozen=True, slots=True, eq=False)
class Plate:
    """What a pane needs of a case: the image as it is shown, and the case itself.

    `image` is a (feet, back, left) view of the volume's first channel; `levels`,
    where they are known, how far members reach, as the layer of contours has it.
    """

    case: Case
    image: NDArray[Any]
    levels: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, case: Case) -> Plate:
        """Take a case; loads its voxels."""
        return cls(case, case.display.view(case.volume.data[0]))

    def grey(self, axis: int, index: int) -> NDArray[Any]:
        """Slice of the image."""
        return _slice(self.image, axis, index)

    def labels(self, axis: int, index: int) -> NDArray[np.uint8]:
        """Slice of the mask in hand."""
        values = self.case.display.view(self.case.annotation.values)
        return _slice(values, axis, index)

    def doubt(self, axis: int, index: int) -> NDArray[np.float32] | None:
        """Slice of the latest proposal's uncertainty."""
        proposal = self.case.proposal
        if proposal is None:
            return None
        return _slice(self.case.display.view(proposal.uncertainty), axis, index)

    def reach(self, axis: int, index: int) -> NDArray[np.uint8] | None:
        """Slice of the levels."""
        return None if self.levels is None else _slice(self.levels, axis, index)


def _slice(array: NDArray[Any], axis: int, index: int) -> NDArray[Any]:
    """View of one slice; `take` would copy a whole turned volume first."""
    return array[(slice(None),) * axis + (index,)]
