"""A cache on disk: arrays as safetensors, the rest as JSON that names their file.

The arrays' file is called by its checksum and the JSON is renamed into place last, so
that whatever breaks off leaves the cache that was there before. No torch is needed to
read it: the window shows what a cache holds.

Format 2 holds small pictures of the images, in a safetensors file of their own, and
where each image is from. Format 1 had neither; it is read, and shows no pictures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from diffseg.domain.cache_keys import Normalisation, Origin
from diffseg.errors import UserError
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache
from diffseg.segmenters.text.cache_values import Weighting
from diffseg.volume.atomic import atomic_write_bytes

CACHE = "cache"
"""Folder of a cache beside a model's card."""

FILE = "cache.json"
_OLD: Literal["diffseg-cache-1"] = "diffseg-cache-1"
_NEW: Literal["diffseg-cache-2"] = "diffseg-cache-2"


class _Image(BaseModel):
    """One image behind a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    origin: Origin
    weight: float
    thumbnail: str
    source: str = ""


class _Stored(BaseModel):
    """All of a cache but its arrays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["diffseg-cache-1", "diffseg-cache-2"]
    arrays: str
    sha256: str
    pictures: str = ""
    pictures_sha256: str = ""
    names: tuple[str, ...]
    backbones: dict[str, str]
    weighting: Weighting
    normalisation: Normalisation
    images: tuple[tuple[_Image, ...], ...]


def save_cache(cache: KeyValueCache, folder: str | Path) -> Path:
    """Write a cache into `folder`, in place of the one that is there.

    Returns
    -------
    Path
        Of the JSON file.

    Raises
    ------
    UserError
        The folder cannot be written.
    """
    target = Path(folder)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "keys": cache.keys,
        "classes": cache.classes,
        "texts": cache.texts,
        # For other readers; here values follow from the rest.
        "values": cache.values,
    }
    if cache.background_text is not None:
        arrays["background_text"] = cache.background_text
    name, checksum = _written(target, "cache", arrays)
    shown, seen = "", ""
    if cache.pictures:
        shown, seen = _written(target, "pictures", cache.pictures)
    stored = _Stored(
        format=_NEW,
        arrays=name,
        sha256=checksum,
        pictures=shown,
        pictures_sha256=seen,
        names=cache.names,
        backbones=dict(cache.backbones),
        weighting=cache.weighting,
        normalisation=cache.normalisation,
        images=tuple(
            tuple(_Image(**dataclasses.asdict(one)) for one in group)
            for group in cache.images
        ),
    )
    text = stored.model_dump_json(indent=1) + "\n"
    file = atomic_write_bytes(target / FILE, text.encode())
    for kind, kept in (("cache", name), ("pictures", shown)):
        for old in target.glob(f"{kind}-*.safetensors"):
            if old.name != kept:
                with contextlib.suppress(OSError):
                    old.unlink()
    return file


def _written(
    folder: Path, kind: str, arrays: Mapping[str, np.ndarray[Any, Any]]
) -> tuple[str, str]:
    """Write arrays under a name that follows from them; name and checksum."""
    from safetensors.numpy import save

    content = save(dict(arrays))
    checksum = hashlib.sha256(content).hexdigest()
    name = f"{kind}-{checksum[:16]}.safetensors"
    atomic_write_bytes(folder / name, content)
    return name, checksum


def load_cache(
    folder: str | Path,
    *,
    backbones: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
) -> KeyValueCache:
    """Read a cache, if it was built with these backbones for these classes.

    Parameters
    ----------
    folder : path
    backbones : mapping of str to str, optional
        Identities that it must have been built with; None: any, such as to show it.
    names : sequence of str, optional
        Foreground classes that it must be for, in this order.

    Raises
    ------
    UserError
        There is no cache, it is damaged, or it is of another backbone or other classes.
    """
    target = Path(folder)
    stored = _read(target)
    arrays = _arrays(target, stored.arrays, stored.sha256)
    pictures = {}
    if stored.pictures:
        pictures = _arrays(target, stored.pictures, stored.pictures_sha256)
    try:
        cache = KeyValueCache(
            keys=arrays["keys"],
            classes=arrays["classes"],
            names=stored.names,
            texts=arrays["texts"],
            images=tuple(
                tuple(_image(one, stored) for one in group) for group in stored.images
            ),
            backbones=stored.backbones,
            background_text=arrays.get("background_text"),
            weighting=stored.weighting,
            normalisation=stored.normalisation,
            pictures=pictures,
        )
    except (KeyError, ValueError) as err:
        raise UserError(
            f"cache {target} does not fit together ({err}): build it anew"
        ) from None
    where = f"cache {target}"
    wanted = cache.backbones if backbones is None else backbones
    return cache.require(wanted, names, where=where)


def _read(folder: Path) -> _Stored:
    file = folder / FILE
    try:
        return _Stored.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise UserError(
            f"cache {file} cannot be read ({reason}): give a folder in which a cache "
            "was saved"
        ) from None
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        told = " ".join(f"{where}: {first['msg']}".split())
        raise UserError(f"cache {file} is not valid ({told}): build it anew") from None


def _image(one: _Image, stored: _Stored) -> CachedImage:
    told = one.model_dump()
    if stored.format == _OLD:  # it named a file that nobody wrote
        told["thumbnail"] = ""
    return CachedImage(**told)


def _arrays(folder: Path, name: str, checksum: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays that the JSON vouches for."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    # A name alone: no file elsewhere is read, whatever the JSON says.
    file = folder / Path(name).name
    try:
        content = file.read_bytes()
    except OSError as err:
        raise UserError(
            f"cache {file} cannot be read ({err.strerror}): build it anew"
        ) from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UserError(f"checksum of {file} differs from {FILE}: build the cache anew")
    try:
        return load(content)
    except SafetensorError:
        raise UserError(f"cache {file} is no safetensors: build it anew") from None
