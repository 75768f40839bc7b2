"""A private folder through which arrays go from one process to another."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from os import getpid
from pathlib import Path
from typing import Any, Literal
from weakref import ref

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mode = Literal["r", "c"]

_PREFIX = "diffseg-exchange-"
_TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Stored:
    """An array that lies in a file of the exchange folder."""

    path: str

    def open(self, mode: Mode = "r") -> Array:
        """Map the file: ``r`` read-only, ``c`` with changes kept in memory."""
        array: Array = np.load(self.path, mmap_mode=mode, allow_pickle=False)
        return array


@dataclass(frozen=True, slots=True)
class Address:
    """Where an exchange folder is, and what proves that it is that folder."""

    folder: str
    token: str

    def reachable(self) -> bool:
        """Whether this process sees the very same folder."""
        try:
            return (Path(self.folder) / _TOKEN).read_text("ascii") == self.token
        except (OSError, ValueError):
            return False

    def store(self, array: Array, name: str) -> Stored:
        """Write an array under a name that begins with its job's id."""
        path = Path(self.folder) / f"{name}.npy"
        np.save(path, np.asarray(array), allow_pickle=False)
        return Stored(str(path))


class Exchange:
    """The folder of one engine: made for this user alone, gone when it closes."""

    def __init__(self) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{getpid()}-"))
        self.address = Address(str(self.path), secrets.token_hex(16))
        (self.path / _TOKEN).write_text(self.address.token, "ascii")
        # An array in memory is written once for as long as it lives unchanged.
        self._inputs: dict[int, tuple[ref[Array], int, Stored]] = {}

    def store_input(self, array: Array) -> Stored:
        """Write an array that later jobs may ask for again."""
        checksum = zlib.crc32(np.ascontiguousarray(array).data)
        known = self._inputs.get(id(array))
        if known is not None and known[0]() is array and known[1] == checksum:
            return known[2]
        stored = self.address.store(array, f"input-{secrets.token_hex(8)}")
        if known is not None:
            _remove(known[2])
        alive = ref(array, self._forgetting(id(array), stored))
        self._inputs[id(array)] = (alive, checksum, stored)
        return stored

    def take(self, stored: Stored) -> Array:
        """Map a result read-only; its file goes as soon as the system allows."""
        array = np.asarray(stored.open("r"))  # a map, but of the plain kind
        _remove(stored)  # where maps keep a file open, `clear` or `close` does it
        return array

    def read(self, stored: Stored) -> Array:
        """Load a small array into memory and remove its file."""
        array: Array = np.load(stored.path, allow_pickle=False)
        _remove(stored)
        return array

    def clear(self, job: str) -> None:
        """Remove what a job left behind."""
        for path in self.path.glob(f"{job}-*"):
            with suppress(OSError):
                path.unlink()

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _forgetting(self, key: int, stored: Stored) -> Callable[[Any], None]:
        inputs = self._inputs

        def forget(_dead: Any) -> None:
            if key in inputs and inputs[key][2] is stored:
                del inputs[key]
            _remove(stored)

        return forget


def sweep() -> None:
    """Remove exchange folders whose processes have ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not _lives(int(owner), folder / _TOKEN):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int, token: Path) -> bool:
    """Whether the process that wrote `token` is still there."""
    import psutil  # type: ignore[import-untyped]

    try:
        born = psutil.Process(pid).create_time()
        # Numbers of processes are used again; a later one did not write it. A
        # second of grace is for clocks that count coarsely.
        return not token.exists() or bool(born <= token.stat().st_mtime + 1)
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return True


def _remove(stored: Stored) -> None:
    with suppress(OSError):
        Path(stored.path).unlink()
