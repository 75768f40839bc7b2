"""Keys of a visual cache as a person looks at them; loads without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Origin = Literal["generated", "labelled", "correction"]
"""By a text-to-image model, from labelled images, or corrected by a person."""

Normalisation = Literal["patch", "image"]
"""Features of length 1, or each channel normalised over its image."""

BACKGROUND = "background"


@dataclass(frozen=True, slots=True, eq=False)
class KeyImage:
    """An image behind a key.

    Parameters
    ----------
    id : str
        What the image is called in the cache.
    source : str
        Where it is from, such as a file's name; "" where nobody said so.
    origin : {"generated", "labelled", "correction"}
    share : float
        How much of the key it is, in [0, 1].
    picture : (Y, X) or (Y, X, 3) uint8 ndarray, optional
        What it looks like, small; None where the cache holds no picture of it.
    """

    id: str
    source: str
    origin: Origin
    share: float
    picture: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CacheKey:
    """A key of the cache: what it speaks for, and the images that it is the mean of.

    Parameters
    ----------
    index : int
        By which it is dropped; others move up when one goes.
    label : str
        Name of its class, or ``background``.
    images : tuple of KeyImage
        The largest share first.
    foreground : bool
    """

    index: int
    label: str
    images: tuple[KeyImage, ...]
    foreground: bool

    def told(self) -> dict[str, Any]:
        """All but the pictures, as JSON takes it."""
        return {
            "key": self.index,
            "class": self.label,
            "foreground": self.foreground,
            "images": [
                {
                    "id": one.id,
                    "source": one.source,
                    "origin": one.origin,
                    "share": round(one.share, 4),
                    "picture": one.picture is not None,
                }
                for one in self.images
            ],
        }
