"""What runs in the worker's process: the only part of the engine that meets torch.

A worker does one job at a time and keeps the last model that it loaded.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from diffseg.engine.events import Machine, Plan
from diffseg.engine.exchange import Address, Array, Stored
from diffseg.engine.faults import verdict
from diffseg.engine.parcel import (
    Order,
    Outcome,
    joined_request,
    message_of,
    packed,
    split_proposal,
)
from diffseg.errors import Cancelled
from diffseg.progress import Progress

if TYPE_CHECKING:
    from diffseg.segmenters import Segmenter


class Stops:
    """Jobs that are to be stopped."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._jobs: set[str] = set()

    def add(self, job: str) -> None:
        """Note that a job is to be stopped."""
        with self._lock:
            self._jobs.add(job)

    def drop(self, job: str) -> None:
        """Forget a job that is over."""
        with self._lock:
            self._jobs.discard(job)

    def check(self, job: str) -> None:
        """Raise `Cancelled` if a job is to be stopped."""
        with self._lock:
            if job in self._jobs:
                raise Cancelled("stopped")


class Shelf:
    """The last model that was loaded."""

    def __init__(self) -> None:
        self._key: tuple[str, ...] = ()
        self._segmenter: Segmenter | None = None

    def get(self, model: str, device: str) -> Segmenter:
        """Load a model, or take it from the shelf if it is still the same."""
        from diffseg.models import find_model
        from diffseg.segmenters import load_segmenter, resolve_device

        folder, device = find_model(model), resolve_device(device)
        key = (str(folder.path), folder.card.model_dump_json(), device)
        if self._segmenter is None or self._key != key:
            self._segmenter = None  # first: two models may not fit side by side
            free_memory()
            self._segmenter = load_segmenter(folder.path, device)
            self._key = key
        return self._segmenter


class Messenger:
    """Tells the engine how far a job is.

    Parameters
    ----------
    order : Order
    shared : bool
        Whether files in the exchange folder reach the engine.
    """

    def __init__(self, order: Order, shared: bool) -> None:
        from distributed import get_worker

        self._worker = get_worker()
        self._order = order
        self._shared = shared
        self._told_of_missing = False
        self.told = 0

    def begin(self) -> None:
        """Say who does the job, so that it can be ended."""
        self._send({"begun": self._worker.address, "pid": os.getpid()})

    def tell(self, progress: Progress) -> None:
        """Send a sign of life; slices only where a file can carry them."""
        if self._shared or type(progress) is Progress:
            name = f"{self._order.id}-preview-{self.told}"
            self._send(message_of(progress, self._order.exchange, name))
            return
        plain = Progress(**progress.sign())
        if not self._told_of_missing and hasattr(progress, "region"):
            self._told_of_missing = True
            note = "the worker is on another machine: no previews"
            plain = replace(plain, message=note)
        self._send(message_of(plain, self._order.exchange, ""))

    def _send(self, message: dict[str, Any]) -> None:
        self.told += 1
        self._worker.log_event(self._order.topic, {"job": self._order.id, **message})


_STOPS = Stops()
_SHELF = Shelf()


def carry_out(parcel: bytes, arrays: Mapping[str, Array | Stored]) -> bytes:
    """Do an order and return its packed `Outcome`; raises nothing."""
    order: Order = pickle.loads(parcel)
    messenger = Messenger(order, order.exchange.reachable())
    try:
        _STOPS.check(order.id)
        messenger.begin()
        value = _value(order, arrays, messenger)
        return packed(Outcome(value, told=messenger.told))
    except Cancelled:
        return packed(Outcome(told=messenger.told))
    except BaseException as error:
        # A model's code may raise anything, SystemExit too; the worker goes on.
        failure = verdict(f"engine {order.task} {order.title}", error)
        broken = _breaks_the_gpu(error)
        return packed(Outcome(failure=failure, told=messenger.told, broken=broken))
    finally:
        _STOPS.drop(order.id)
        free_memory()


def _value(
    order: Order, arrays: Mapping[str, Array | Stored], messenger: Messenger
) -> Any:
    if order.folder:
        with suppress(OSError):  # paths may be relative to a folder that is gone
            os.chdir(order.folder)
    messenger.tell(Progress("load", message=order.title))
    set_threads(order.threads)
    if not order.model:
        return None
    segmenter = _SHELF.get(order.model, order.device)
    _STOPS.check(order.id)
    if order.request is None:
        return None
    request = joined_request(order.request, arrays)
    if order.task == "plan":
        return _planned(segmenter, request, order.id)
    work = segmenter.iter_propose(request)
    try:
        while True:
            try:
                progress = next(work)
            except StopIteration as stop:
                proposal = stop.value
                break
            _STOPS.check(order.id)
            messenger.tell(progress)
    finally:
        work.close()
    folder = order.exchange if order.exchange.reachable() else None
    return split_proposal(proposal, folder, order.id)


def _planned(segmenter: Segmenter, request: Any, job: str) -> Plan:
    from diffseg.segmenters.probing import iter_probe

    work = iter_probe(segmenter, request)
    try:
        while True:
            try:
                next(work)
            except StopIteration as stop:
                estimate = stop.value
                break
            _STOPS.check(job)  # who types on wants no estimate of half a word
    finally:
        work.close()
    return Plan(
        seconds=float(estimate.seconds),
        memory_bytes=int(estimate.memory_bytes),
        members=int(estimate.members),
        steps=int(estimate.steps),
        machine=_machine(segmenter.device),
        warnings=tuple(estimate.warnings),
    )


def set_threads(threads: int) -> None:
    """Load torch, and give it so many threads of the CPU (0: as it is)."""
    import torch

    if threads and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def free_memory() -> None:
    """Give back what torch holds of the GPU without using it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _breaks_the_gpu(error: BaseException) -> bool:
    """Whether every later use of the GPU by this process would fail, too."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def stop(job: str) -> None:
    """Have a job stop at its next sign of life."""
    _STOPS.add(job)


def meet(address: Address, own: bool) -> tuple[int, bool]:
    """Say this process's number, and whether it sees the exchange folder.

    An engine's `own` worker gives way: where memory is short, it is what the
    system ends, and not the window.
    """
    if own:
        with suppress(OSError):  # Linux only
            Path("/proc/self/oom_score_adj").write_text("500", "ascii")
    return os.getpid(), address.reachable()


async def machine(device: str, threads: int) -> bytes:
    """Answer with a packed `Outcome` that holds a `Machine`."""
    import asyncio

    # Loading torch takes seconds; meanwhile the worker must go on listening.
    return await asyncio.to_thread(_machine_outcome, device, threads)


def _machine_outcome(device: str, threads: int) -> bytes:
    try:
        set_threads(threads)
        return packed(Outcome(_machine(device)))
    except Exception as error:
        return packed(Outcome(failure=verdict("engine machine", error)))


def _machine(device: str) -> Machine:
    import torch

    from diffseg.segmenters.device import describe, resolve_device, why_cpu

    found = resolve_device(device)
    name, memory = describe(found)
    why = why_cpu() or "the CPU was asked for" if found == "cpu" else None
    return Machine(found, name, torch.get_num_threads(), memory, why)
