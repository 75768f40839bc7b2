"""The key-value cache: what classes look like, and which images said so (DiCLIP's TSA).

A key is the mean feature of a group of images of one class, or of their background; its
value says how much it speaks for each class. Nothing is learnt: a cache grows by
keys and loses them one by one, and every key tells which images it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from diffseg.domain.cache_keys import Normalisation, Origin
from diffseg.errors import UserError
from diffseg.segmenters.text.cache_values import (
    Floats,
    Weighting,
    one_hot,
    values_of,
)

Pictures = Mapping[str, NDArray[np.uint8]]
"""Small pictures (Y, X) or (Y, X, 3), by name."""


@dataclass(frozen=True, slots=True)
class CachedImage:
    """An image whose features went into a key.

    Parameters
    ----------
    id : str
        What the image is called, such as a case and its slice, or a seed.
    origin : {"generated", "labelled", "correction"}
        By a diffusion model, from the user's labelled images, or corrected by a person.
    weight : float
        How much it counts beside others, above 0; within a key, its share in [0, 1].
    thumbnail : str
        Name of its small picture among those of the cache; empty: there is none.
    source : str
        Where it is from, such as a file's name; for a person to read.
    """

    id: str
    origin: Origin = "generated"
    weight: float = 1.0
    thumbnail: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not self.weight > 0 or self.origin not in get_args(Origin):
            raise ValueError(
                f"image {self.id}: origin {self.origin!r}, weight {self.weight}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class KeyValueCache:
    """Keys, what they speak for, and where they are from.

    Parameters
    ----------
    keys : (M, E) float32 ndarray
    classes : (M,) int64 ndarray
        Of each key: 0 background, 1 to K the foreground classes.
    names : tuple of K str
        Of the foreground classes.
    texts : (K, E) float32 ndarray
        Text embeddings of the foreground classes, of length 1.
    images : tuple of M tuples of CachedImage
        Those that each key is the mean of.
    backbones : mapping of str to str
        Identities of all that made the features, such as checksums of weights. A cache
        answers no other.
    background_text : (E,) float32 ndarray, optional
        Mean text embedding of what the background may show.
    weighting : {"text", "one_hot", "softmax"}
        How values follow from keys and texts; see `cache_values.values_of`.
    normalisation : {"patch", "image"}
        How features were normalised; see `diffseg.networks.cache_adapter.normalised`.
    pictures : mapping of str to uint8 ndarray
        Thumbnails by name, (Y, X) or (Y, X, 3); those of no image are left out.

    Raises
    ------
    ValueError
        The parts do not fit each other.
    """

    keys: Floats
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    texts: Floats
    images: tuple[tuple[CachedImage, ...], ...]
    backbones: Mapping[str, str]
    background_text: Floats | None = None
    weighting: Weighting = "text"
    normalisation: Normalisation = "patch"
    pictures: Pictures = field(default_factory=dict)
    values: Floats = field(init=False)

    def __post_init__(self) -> None:
        keys, texts = (_frozen(one, np.float32) for one in (self.keys, self.texts))
        classes = _frozen(self.classes, np.int64)
        background = self.background_text
        if background is not None:
            background = _frozen(background, np.float32)
        _check(keys, classes, self.names, texts, self.images, background)
        pictures = _wanted_pictures(self.images, self.pictures)
        values = values_of(keys, classes, texts, background, weighting=self.weighting)
        for name, value in (
            ("keys", keys),
            ("classes", classes),
            ("texts", texts),
            ("background_text", background),
            ("values", _frozen(values, np.float32)),
            ("backbones", MappingProxyType(dict(self.backbones))),
            ("pictures", MappingProxyType(pictures)),
        ):
            object.__setattr__(self, name, value)

    @property
    def one_hot(self) -> Floats:
        """Class of each key as a row (M, K + 1) of 0 and 1, background first."""
        return one_hot(self.classes, len(self.names))

    def counts(self) -> Mapping[str, int]:
        """Keys of the background and of each class, by name."""
        found = np.bincount(self.classes, minlength=len(self.names) + 1).tolist()
        return dict(zip(("background", *self.names), found, strict=True))

    def keys_of(self, image: str) -> tuple[int, ...]:
        """Indices of the keys that an image went into."""
        return tuple(
            index
            for index, group in enumerate(self.images)
            if any(one.id == image for one in group)
        )

    def without(self, *dropped: int) -> KeyValueCache:
        """Return the cache as if these keys, by index, had never been made.

        Raises
        ------
        UserError
            There is no key of that index.
        """
        count = len(self.keys)
        for index in dropped:
            if not 0 <= index < count:
                raise UserError(
                    f"the cache has no key {index}; give 0 to {count - 1}"
                    if count
                    else f"the cache has no key {index}: it is empty"
                )
        kept = [index for index in range(count) if index not in dropped]
        return replace(
            self,
            keys=self.keys[kept],
            classes=self.classes[kept],
            images=tuple(self.images[index] for index in kept),
        )

    def with_keys(
        self,
        keys: Floats,
        classes: NDArray[np.integer[Any]],
        images: Sequence[Sequence[CachedImage]],
        pictures: Pictures = MappingProxyType({}),
    ) -> KeyValueCache:
        """Return the cache with more keys (m, E) of classes (m,), after its own.

        They have to be made by the same backbones, and normalised in the same way.
        `pictures` are those of the new images.
        """
        return replace(
            self,
            keys=np.concatenate([self.keys, np.asarray(keys, np.float32)]),
            classes=np.concatenate([self.classes, np.asarray(classes, np.int64)]),
            images=(*self.images, *(tuple(group) for group in images)),
            pictures={**self.pictures, **pictures},
        )

    def require(
        self,
        backbones: Mapping[str, str],
        names: Sequence[str] | None = None,
        *,
        where: str = "the cache",
    ) -> KeyValueCache:
        """Return the cache if it was built with these backbones, for these classes.

        Parameters
        ----------
        backbones : mapping of str to str
            Identities, by the names they have in the cache.
        names : sequence of str, optional
            Foreground classes in their order.
        where : str
            What an error calls the cache.

        Raises
        ------
        UserError
            It was built with another backbone, or for other classes.
        """
        for part in sorted({*backbones, *self.backbones}):
            found, wanted = self.backbones.get(part), backbones.get(part)
            if found != wanted:
                raise UserError(
                    f"{where} was built with {part} {_short(found)}, not with "
                    f"{_short(wanted)}: build it anew, or give the {part} it was "
                    "built with"
                )
        if names is not None and tuple(names) != self.names:
            raise UserError(
                f"{where} holds the classes {', '.join(self.names)}, not "
                f"{', '.join(names)}: build it anew for these"
            )
        return self


def _frozen(values: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    """A copy that cannot be written to."""
    copy = np.array(values, kind)
    copy.setflags(write=False)
    return copy


def _wanted_pictures(
    images: tuple[tuple[CachedImage, ...], ...], pictures: Pictures
) -> dict[str, NDArray[np.uint8]]:
    """Those that an image has, in order of name; a dropped key's go with it."""
    wanted = sorted({one.thumbnail for group in images for one in group} - {""})
    found: dict[str, NDArray[np.uint8]] = {}
    for name in wanted:
        picture = pictures.get(name)
        if picture is None:
            raise ValueError(f"there is no picture {name!r}")
        grey = picture.ndim == 2
        colour = picture.ndim == 3 and picture.shape[2] == 3
        if picture.dtype != np.uint8 or not (grey or colour) or not picture.size:
            raise ValueError(f"picture {name!r} {picture.shape} is not uint8 (Y, X)")
        found[name] = _frozen(picture, np.uint8)
    return found


def _short(identity: str | None) -> str:
    """As much of an identity as a person can compare."""
    return "none" if identity is None else identity[:12]


def _check(
    keys: Floats,
    classes: NDArray[np.int64],
    names: tuple[str, ...],
    texts: Floats,
    images: tuple[tuple[CachedImage, ...], ...],
    background: Floats | None,
) -> None:
    """Raise `ValueError` where the parts of a cache do not fit each other."""
    if keys.ndim != 2 or not np.isfinite(keys).all():
        raise ValueError(f"keys of shape {keys.shape} are not (M, E) and finite")
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"classes {names}: give each a name of its own")
    if texts.shape != (len(names), keys.shape[1]):
        raise ValueError(f"texts {texts.shape} for {len(names)} of {keys.shape[1]}")
    if background is not None and background.shape != keys.shape[1:]:
        raise ValueError(f"background text {background.shape} for {keys.shape}")
    if classes.shape != keys.shape[:1] or len(images) != len(keys):
        raise ValueError(f"{len(keys)} keys, {classes.shape} classes, {len(images)}")
    if len(classes) and not 0 <= classes.min() <= classes.max() <= len(names):
        raise ValueError(f"classes {classes.min()} to {classes.max()} of {len(names)}")
