"""Features of images and texts on disk, so that another prompt computes none anew.

An entry is a file of safetensors whose name is the checksum of all that its content
follows from, and which holds a checksum of that content. What is damaged is told and
taken for missing; where there is too much, what was not read for longest goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from diffseg.errors import UserError
from diffseg.models.registry import home

LIMIT = "DIFFSEG_FEATURES_MB"
_DEFAULT_MB = 2000
_KEPT = 0.9  # of the limit, where something has to go
_FORMAT = 1  # of entries; another one finds none of those before
_SUFFIX = ".safetensors"


def features_folder() -> Path:
    """Folder of the entries: ``$DIFFSEG_HOME/features``, or the platform's."""
    return home() / "features"


def limit_bytes() -> int:
    """Bytes that entries may take: ``$DIFFSEG_FEATURES_MB``, 2000 MB; 0: none are kept.

    Raises
    ------
    UserError
        The variable is no number.
    """
    said = os.environ.get(LIMIT, "")
    try:
        megabytes = float(said) if said else _DEFAULT_MB
    except ValueError:
        megabytes = -1.0
    if not 0 <= megabytes < float("inf"):
        raise UserError(f"{LIMIT} is {said!r}; give a number of megabytes, 0 for none")
    return int(megabytes * 1e6)


def content_of(tensor: Tensor) -> str:
    """Checksum of shape, kind and values of a tensor."""
    array = tensor.detach().cpu().contiguous().numpy()
    whole = hashlib.sha256(f"{array.dtype} {array.shape}\n".encode())
    whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


class FeatureStore:
    """Tensors by what they follow from.

    Parameters
    ----------
    folder : Path, optional
        `features_folder` without it.
    limit : int, optional
        Bytes of all entries; `limit_bytes` without it.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = features_folder() if folder is None else Path(folder)
        self.limit = limit_bytes() if limit is None else limit
        self._told: list[str] = []
        self._bytes: int | None = None
        self._broken = False

    def told(self) -> list[str]:
        """What is worth a word since the last time, a line each."""
        told, self._told = self._told, []
        return told

    def get(self, key: Mapping[str, Any]) -> dict[str, Tensor] | None:
        """Tensors of a key on the CPU; None where there are none, or damaged ones."""
        if not self.limit:
            return None
        file = self._file(key)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            self._told.append(f"features {file} cannot be read ({err.strerror})")
            return None
        tensors = _whole(content)
        if tensors is None:
            self._told.append(f"features {file.name} were damaged and computed anew")
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(file)
        return tensors

    def put(self, key: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors; where that is not possible, it is told once and let be."""
        if not self.limit or self._broken:
            return
        kept = {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
        content = save(kept, {"sha256": _checksum(kept)})
        if len(content) > self.limit:
            return
        file = self._file(key)
        aside = file.with_name(f".{secrets.token_hex(4)}{file.name}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Not forced onto the disk: what is lost is computed again.
            aside.write_bytes(content)
            os.replace(aside, file)
        except OSError as err:
            self._broken = True
            self._told.append(
                f"features cannot be kept in {self.folder} ({err.strerror}): each "
                "prompt computes them anew"
            )
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
        self._make_room(len(content))

    def _file(self, key: Mapping[str, Any]) -> Path:
        text = json.dumps({"format": _FORMAT, **key}, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / f"{name}{_SUFFIX}"

    def _make_room(self, more: int) -> None:
        """Drop what was not read for longest, down to a share of the limit."""
        if self._bytes is not None and self._bytes + more <= self.limit:
            self._bytes += more
            return
        entries = []
        for file in self.folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                seen = file.stat()
                entries.append((seen.st_mtime_ns, seen.st_size, file))
        total = sum(size for _, size, _ in entries)
        if total > self.limit:
            for _, size, file in sorted(entries)[:-1]:
                if total <= _KEPT * self.limit:
                    break
                with contextlib.suppress(OSError):
                    file.unlink()
                    total -= size
        self._bytes = total


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(f"{name} {content_of(tensors[name])}\n".encode())
    return whole.hexdigest()


def _whole(content: bytes) -> dict[str, Tensor] | None:
    """Tensors of an entry, if they are those that its checksum is of."""
    try:
        tensors: dict[str, Tensor] = load(content)
        length = int.from_bytes(content[:8], "little")
        told = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError):
        return None
    if told.get("sha256") != _checksum(tensors):
        return None
    return tensors


def as_tensor(pair: tuple[int, int]) -> Tensor:
    """Two numbers, as an entry keeps them."""
    return torch.tensor(pair, dtype=torch.int64)
