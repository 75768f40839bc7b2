"""The journal on disk: one file a record, whole and checked, or not there.

A record is a line with the SHA-256 of all that follows, a line of JSON, and an
npz archive. It sets voxels to what they are, never to a difference of values,
so that applying it twice, or over a newer base, does no harm.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diffseg.volume import atomic_write_bytes

VERSION = 1
Kind = Literal["strokes", "base", "proposed"]
_DENSE = "slab_"
_DENSE_TOUCHED = "slab_touched_"


class DamagedError(Exception):
    """A record cannot be used; its message says why, for a log."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a record says of itself.

    Parameters
    ----------
    kind : str
        ``strokes``: voxels that changed; ``base``: all of them; ``proposed``:
        the latest proposal.
    sequence : int
        Place in the order of records, from 1. A base stands for every record up
        to its own sequence number.
    time : float
        Seconds since the epoch; all that was drawn before is kept.
    voxels : int
        Voxels that the whole case has changed so far.
    shape : tuple of int
        (Z, Y, X) of the case.
    """

    kind: Kind
    sequence: int
    time: float
    voxels: int
    shape: tuple[int, int, int]
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Sparse:
    """Some voxels: flat C-order indices that rise, their labels, who set them."""

    indices: NDArray[np.int64]
    values: NDArray[np.uint8]
    touched: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Dense:
    """A run of voxels from flat index `start`: all labels, and touched as bits."""

    start: int
    values: NDArray[np.uint8]
    touched: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read: its header, and its parts in order."""

    header: Header
    sparse: Sparse
    dense: tuple[Dense, ...]


class Payload:
    """An npz archive that grows in memory, compressed as it grows."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._archive = zipfile.ZipFile(
            self._buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1
        )

    def add(self, part: Sparse | Dense) -> None:
        """Put a part in; at most one `Sparse`."""
        if isinstance(part, Dense):
            self._put(f"{_DENSE}{part.start}", part.values)
            self._put(f"{_DENSE_TOUCHED}{part.start}", part.touched)
            return
        steps = np.diff(part.indices, prepend=np.int64(0))
        largest = int(steps.max(initial=0))
        self._put("steps", steps.astype(np.min_scalar_type(largest)))
        self._put("values", part.values)
        self._put("touched", np.packbits(part.touched))

    def _put(self, name: str, array: NDArray[Any]) -> None:
        whole = io.BytesIO()
        np.lib.format.write_array(whole, array, allow_pickle=False)
        self._archive.writestr(f"{name}.npy", whole.getbuffer())

    def finish(self) -> memoryview:
        """Return the archive; nothing can be added any more."""
        self._archive.close()
        return self._buffer.getbuffer()


def write_record(path: Path, header: Header, payload: Payload) -> int:
    """Write a record aside, flush it to the disk and rename it.

    Returns
    -------
    int
        Its size in bytes.

    Raises
    ------
    UserError
        The folder cannot be written to, or is full.
    """
    body = b"".join((json.dumps(asdict(header)).encode(), b"\n", payload.finish()))
    digest = hashlib.sha256(body).hexdigest().encode()
    atomic_write_bytes(path, digest + b"\n" + body)
    return len(body) + len(digest) + 1


def read_header(path: Path) -> Header:
    """Read what a record says of itself, and check the whole of it.

    Raises
    ------
    DamagedError
        A bit of it is not as it was written, or it cannot be read.
    """
    return _checked(path)[0]


def read_record(path: Path) -> Record:
    """Read a record; nothing is ever unpickled.

    Raises
    ------
    DamagedError
        A bit of it is not as it was written, or it cannot be read.
    """
    header, body = _checked(path)
    size = int(np.prod(header.shape))
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            record = Record(header, _sparse(arrays), _dense(arrays))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as err:
        raise DamagedError(f"{path.name}: {err}") from err
    ends = [part.start + len(part.values) for part in record.dense]
    if (record.sparse.indices >= size).any() or any(end > size for end in ends):
        raise DamagedError(f"{path.name}: voxels outside of the image")
    return record


def _checked(path: Path) -> tuple[Header, bytes]:
    try:
        digest, _, body = path.read_bytes().partition(b"\n")
    except OSError as err:
        raise DamagedError(f"{path.name}: {err}") from err
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedError(f"{path.name}: its checksum does not fit")
    first, _, rest = body.partition(b"\n")
    try:
        told = json.loads(first)
        told["shape"] = tuple(int(extent) for extent in told["shape"])
        header = Header(**told)
    except (ValueError, KeyError, TypeError) as err:
        raise DamagedError(f"{path.name}: {err}") from err
    if header.version != VERSION:
        raise DamagedError(f"{path.name}: of version {header.version}, not {VERSION}")
    return header, rest


def _sparse(arrays: Mapping[str, NDArray[Any]]) -> Sparse:
    if "steps" not in arrays:
        none = np.zeros(0, np.uint8)
        return Sparse(none.astype(np.int64), none, none.astype(np.bool_))
    indices = np.cumsum(arrays["steps"], dtype=np.int64)
    bits = np.unpackbits(arrays["touched"], count=len(indices))
    return Sparse(indices, arrays["values"].astype(np.uint8), bits.astype(np.bool_))


def _dense(arrays: Mapping[str, NDArray[Any]]) -> tuple[Dense, ...]:
    starts = sorted(
        int(name.removeprefix(_DENSE))
        for name in arrays
        if name.startswith(_DENSE) and not name.startswith(_DENSE_TOUCHED)
    )
    return tuple(
        Dense(at, arrays[f"{_DENSE}{at}"], arrays[f"{_DENSE_TOUCHED}{at}"])
        for at in starts
    )
