"""`ensemdiff`: an ensemble of draws from a diffusion model that sees the image.

After Wolleb et al. 2022 (implicit image segmentation ensembles), in a compact
configuration: the network predicts x0 of one-hot masks instead of the noise of
binary ones, and answers in one or a few steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffseg.segmenters.compact import CompactSegmenter
from diffseg.segmenters.drawing import draw_members


class EnsemDiff(CompactSegmenter):
    """A diffusion segmenter with its weights, on a device."""

    __slots__ = ()

    def draw(
        self, image: NDArray[np.float32], *, members: int, steps: int, seed: int
    ) -> Iterator[NDArray[np.float32]]:
        """Members (K, Z, Y, X) of one prepared image (C, Z, Y, X), one by one."""
        return draw_members(
            self.network,
            self.card,
            image,
            self.device,
            members=members,
            steps=steps,
            seed=seed,
        )
