"""Frames of a segmentation in the order that every reader understands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.volume.dicom_instances import plane_geometry


def put_in_order(segmentation: Any) -> None:
    """Bring the frames of each segment into the order of their normal, rising.

    highdicom stores them falling. GDCM, and SimpleITK with it, takes frames as they
    come, and finds a spacing for several segments only where they rise.
    """
    groups = list(segmentation.PerFrameFunctionalGroupsSequence)
    count = len(groups) // len(segmentation.SegmentSequence)
    places = plane_geometry(segmentation)[:count]
    heights = [float(place @ np.cross(*cosines)) for place, cosines in places]
    starts = np.arange(0, len(groups), count)
    order = (starts[:, np.newaxis] + np.argsort(heights)).ravel()
    segmentation.PerFrameFunctionalGroupsSequence = [groups[at] for at in order]
    for index, at in enumerate(order):
        content = groups[at].FrameContentSequence[0]
        *before, _ = (int(one) for one in np.atleast_1d(content.DimensionIndexValues))
        content.DimensionIndexValues = [*before, index % count + 1]
    size = int(segmentation.Rows) * int(segmentation.Columns)
    segmentation.PixelData = _reordered(segmentation.PixelData, order, size)


def _reordered(bits: bytes, order: NDArray[np.intp], size: int) -> bytes:
    """One-bit frames of `size` pixels in another order; an even number of bytes."""
    stored = np.frombuffer(bits, np.uint8)
    if size % 8 == 0:  # a frame is whole bytes
        used = stored[: len(order) * size // 8].reshape(len(order), -1)
        packed = used[order].tobytes()
    else:
        frames = np.unpackbits(stored, bitorder="little")[: len(order) * size]
        frames = frames.reshape(len(order), size)[order]
        packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    return packed + b"\0" * (len(packed) % 2)
