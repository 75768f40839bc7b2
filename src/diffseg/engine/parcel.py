"""What crosses the border between processes: nouns and NumPy arrays, no tensors."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from diffseg.domain import Preview, Proposal, Region, Request, Strokes
from diffseg.engine.events import Failed
from diffseg.engine.exchange import Address, Array, Exchange, Stored
from diffseg.errors import DiffsegError
from diffseg.progress import Progress
from diffseg.volume import Volume

Task = Literal["propose", "plan", "warm"]
VOXELS = "voxels"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(@[A-Za-z0-9._+-]+)?")
_OPTIONAL = ("initial_mask",)
_DRAWN = ("stroke_voxels", "stroke_classes")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Order:
    """What a worker is to do, and how it tells.

    `threads` is 0 where the worker keeps its own number; `folder` is the current
    folder, "" where the worker is on another machine.
    """

    id: str
    task: Task
    model: str
    device: str
    request: Request | None
    topic: str
    exchange: Address
    threads: int = 0
    folder: str = ""

    @property
    def title(self) -> str:
        """The model's name for a log; of a folder nothing, it may name a patient."""
        return self.model if _NAME.fullmatch(self.model) else "a model's folder"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How an order ended: a value or a failure, or neither where it was stopped.

    `told` is the number of messages that were sent on the way; after a failure the
    worker may be `broken` and of no use any more.
    """

    value: Any = None
    failure: Failed | None = None
    told: int = 0
    broken: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A proposal taken apart: its arrays may lie in files."""

    fields: dict[str, Any]


class _Packer(pickle.Pickler):
    """Refuses what would bring torch into the process that unpacks."""

    def reducer_override(self, obj: Any) -> Any:
        kind = obj if isinstance(obj, type) else type(obj)
        for module in (getattr(obj, "__module__", None), kind.__module__):
            if isinstance(module, str) and module.partition(".")[0] == "torch":
                raise DiffsegError(
                    f"the method answered with a torch {kind.__name__}, which must "
                    "not leave its process; NumPy arrays and plain values may"
                )
        return NotImplemented


def packed(noun: Any) -> bytes:
    """Pickle a noun of ours.

    Raises
    ------
    DiffsegError
        It holds something of torch.
    """
    file = io.BytesIO()
    _Packer(file, protocol=5).dump(noun)
    return file.getvalue()


def split_request(request: Request) -> tuple[Request, dict[str, Array]]:
    """Part a request from its arrays; a volume that has files keeps none."""
    volume, arrays = request.volume, {}
    if not volume.source.paths:
        arrays[VOXELS] = volume.data
        volume = Volume(_absent, volume.grid, volume.source, volume.warnings)
    for name in _OPTIONAL:
        if getattr(request, name) is not None:
            arrays[name] = getattr(request, name)
    bare: dict[str, Any] = dict.fromkeys(_OPTIONAL)
    drawn = request.strokes
    if drawn is not None and len(drawn):  # of reviewed slices they are many
        arrays |= zip(_DRAWN, (drawn.voxels, drawn.classes), strict=True)
        bare["strokes"] = None
    return replace(request, volume=volume, **bare), arrays


def joined_request(request: Request, arrays: Mapping[str, Array | Stored]) -> Request:
    """Put a request and its arrays together again."""
    # torch warns of read-only arrays; changes stay in memory, the file as it is.
    opened = {
        name: np.asarray(one.open("c") if isinstance(one, Stored) else one)
        for name, one in arrays.items()
    }
    volume = request.volume
    if VOXELS in opened:
        voxels = opened.pop(VOXELS)
        volume = Volume(lambda: voxels, volume.grid, volume.source, volume.warnings)
    drawn = [opened.pop(name) for name in _DRAWN if name in opened]
    given: dict[str, Any] = {"volume": volume, **opened}
    if drawn:
        given["strokes"] = Strokes(volume.shape, *drawn)
    return replace(request, **given)


def split_proposal(proposal: Proposal, folder: Address | None, job: str) -> Parts:
    """Take a proposal apart; its arrays go to files where there is a `folder`."""
    parts = {one.name: getattr(proposal, one.name) for one in fields(proposal)}
    if folder is not None:
        for name, value in parts.items():
            if isinstance(value, np.ndarray):
                parts[name] = folder.store(value, f"{job}-{name}")
    return Parts(parts)


def joined_proposal(parts: Parts, exchange: Exchange) -> Proposal:
    """Put a proposal together; arrays from files are read-only maps."""
    opened: dict[str, Any] = {
        name: exchange.take(value) if isinstance(value, Stored) else value
        for name, value in parts.fields.items()
    }
    return Proposal(**opened)


def message_of(progress: Progress, folder: Address, name: str) -> dict[str, Any]:
    """Write a sign of life as a small message; slices go to a file called `name`."""
    message: dict[str, Any] = {
        "stage": progress.stage,
        "done": int(progress.done),
        "total": int(progress.total),
        "message": progress.message,
        "under_way": float(progress.under_way),
        "detail": progress.detail,
    }
    if isinstance(progress, Preview):
        both = np.stack([progress.mask, progress.uncertainty]).astype(np.uint8)
        message["region"] = [[int(n) for n in pair] for pair in progress.region.ranges]
        message["file"] = folder.store(both, name).path
    return message


def progress_of(message: Mapping[str, Any], exchange: Exchange) -> Progress:
    """Read what `message_of` wrote; the file goes with it."""
    names = ("stage", "done", "total", "message", "under_way", "detail")
    plain = {name: message[name] for name in names}
    if "file" not in message:
        return Progress(**plain)
    mask, uncertainty = exchange.read(Stored(message["file"]))
    z, y, x = ((start, stop) for start, stop in message["region"])
    return Preview(**plain, region=Region(z, y, x), mask=mask, uncertainty=uncertainty)


def _absent() -> Array:
    raise DiffsegError("the voxels of this volume were left in another process")
