"""Prepared examples on disk: arrays that are mapped into memory, not read whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Preparation
from diffseg.volume import atomic_write
from diffseg_training.dataset import Case, Dataset


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of ``KEY.NAME.npy``; each is written aside, then renamed."""

    folder: Path

    def holds(self, key: str) -> bool:
        """Whether image and classes of an example are there."""
        return all(self._path(key, name).is_file() for name in ("image", "classes"))

    def write(self, key: str, **arrays: NDArray[Any]) -> None:
        """Keep the arrays of an example; `UserError` where the disk is full."""
        for name, array in arrays.items():
            whole = np.ascontiguousarray(array)

            def save(path: Path, whole: NDArray[Any] = whole) -> None:
                np.save(path, whole, allow_pickle=False)

            atomic_write(self._path(key, name), save)

    def read(self, key: str, name: str) -> NDArray[Any]:
        """An array of an example, mapped; what is written to it stays in memory."""
        found: NDArray[Any] = np.load(
            self._path(key, name), mmap_mode="c", allow_pickle=False
        )
        return found

    def _path(self, key: str, name: str) -> Path:
        return self.folder / f"{key}.{name}.npy"


def key_of(case: Case, dataset: Dataset, preparation: Preparation) -> str:
    """Name of a prepared case: other files, values or preparation, another name."""
    assert case.mask is not None
    files = []
    reviewed = () if case.reviewed is None else (case.reviewed,)
    for path in (*case.images, case.mask, *reviewed):
        seen = path.stat()
        files.append((str(path.resolve()), seen.st_size, seen.st_mtime_ns))
    told = [case.case, files, dataset.labels.values, preparation.model_dump()]
    if case.frame is not None or case.series is not None:
        told.append([case.frame, case.series])
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
