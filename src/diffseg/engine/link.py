"""The line to the workers: a scheduler's client, and the exchange folder beside it."""

from __future__ import annotations

import os
import pickle
import time
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any
from uuid import uuid4

from diffseg.domain import Request
from diffseg.engine import worker
from diffseg.engine.events import Machine
from diffseg.engine.exchange import Array, Exchange
from diffseg.engine.host import LocalHost
from diffseg.engine.parcel import Order, Outcome, packed, split_request
from diffseg.engine.patience import aside, within
from diffseg.engine.tickets import Ticket
from diffseg.errors import DiffsegError, UserError

START_SECONDS = 120.0
"""A worker imports torch: more than a minute of a cold disk on a busy machine."""
ANSWER_SECONDS = 60.0
Messages = Callable[[dict[str, Any]], None]


class Link:
    """Connects an engine with one local worker, or with a scheduler's workers.

    Parameters
    ----------
    address : str
        Of a scheduler; "" to start a worker here.
    threads : int
        CPU threads that a model takes; 0 leaves it to the worker.

    """

    def __init__(self, address: str, threads: int) -> None:
        self.exchange = Exchange()
        self._address = address
        self._threads = threads
        self._topic = f"diffseg-{uuid4().hex}"
        self._workers: dict[str, tuple[int, bool]] = {}
        self._closed = False
        self._client: Any = None
        self._connecting = Lock()
        self._joining = Lock()
        self._on_message: Messages | None = None
        self._host = None if address else LocalHost(self.exchange, threads)

    def listen(self, on_message: Messages) -> None:
        """Have each message of a job told, in a thread that must not wait."""
        self._on_message = on_message
        if self._client is not None:
            self._client.subscribe_topic(self._topic, lambda one: on_message(one[1]))

    @property
    def local(self) -> bool:
        """Whether the worker is this engine's own."""
        return self._host is not None

    def await_worker(self, seconds: float = START_SECONDS) -> None:
        """Wait until there is a worker that answers.

        Raises
        ------
        UserError
            No scheduler answers at the address.
        DiffsegError
            There is none in time.
        """
        deadline = time.monotonic() + seconds
        while not self._closed:
            try:
                self._connect(max(deadline - time.monotonic(), 0.1))
                left = max(deadline - time.monotonic(), 0.1)
                self._workers = within(left, self._meet)
            except (OSError, TimeoutError, EOFError):
                self._workers = {}
            except Exception:
                if not self._closed:  # what is closed fails in ways of its own
                    raise
            if self._workers:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        raise DiffsegError(self._why_no_worker())

    def hand_over(self, ticket: Ticket) -> Any:
        """Give a job to a worker; returns its Dask future."""
        ticket.workers = frozenset(self._workers)
        shared = all(sees for _, sees in self._workers.values())
        request: Request | None = None
        arrays: dict[str, Array] = {}
        if ticket.job is not None:
            request, arrays = split_request(ticket.job.request)
        keep = self.exchange.store_input
        send = self._client.scatter
        order = Order(
            id=ticket.id,
            task=ticket.task,
            model=ticket.model,
            device=ticket.job.device if ticket.job is not None else "auto",
            request=request,
            topic=self._topic,
            exchange=self.exchange.address,
            threads=self._threads,
            folder=os.getcwd() if self.local else "",
        )
        future = self._client.submit(
            worker.carry_out,
            packed(order),
            {
                name: keep(one) if shared else send(one, hash=False)
                for name, one in arrays.items()
            },
            key=f"diffseg-{ticket.task}-{ticket.id}",
            pure=False,
            retries=0,
        )
        aside(lambda: _await_end(future, ticket))
        return future

    def halt(self, ticket: Ticket, future: Any, grace: float) -> bool:
        """Stop a job, with force after `grace` seconds; whether its worker is left."""
        if ticket.done.is_set():
            return True
        aside(lambda: self._client.run(worker.stop, ticket.id, on_error="ignore"))
        if ticket.done.wait(grace):
            return True
        self.end_worker(ticket)
        future.cancel()
        return not self.local

    def lost(self, ticket: Ticket) -> bool:
        """Whether the worker that began a job is gone, or the scheduler is."""
        if ticket.lost or self._client.status != "running":
            return True
        if not ticket.worker:
            return False
        try:
            info = within(ANSWER_SECONDS, self._client.scheduler_info)
        except (OSError, TimeoutError):
            return True
        return ticket.worker not in info["workers"]

    def await_end(self, ticket: Ticket) -> None:
        """Wait until the scheduler has seen that a job's own worker is gone."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._closed and time.monotonic() < deadline:
            info = within(ANSWER_SECONDS, self._client.scheduler_info)
            if not ticket.workers & set(info["workers"]):
                return
            time.sleep(0.02)

    def machine(self, device: str) -> Machine:
        """Ask a worker where models run."""
        one = sorted(self._workers)[:1]
        answers = within(
            ANSWER_SECONDS,
            lambda: self._client.run(
                worker.machine, device, self._threads, workers=one
            ),
        )
        if not answers:
            raise DiffsegError("the worker ended before it could say where models run")
        outcome: Outcome = pickle.loads(next(iter(answers.values())))
        if outcome.failure is not None:
            kind = UserError if outcome.failure.exit_status == 2 else DiffsegError
            raise kind(outcome.failure.message)
        found: Machine = outcome.value
        return found

    def close(self) -> None:
        """End the worker if it is our own, and remove the exchange folder."""
        self._closed = True
        with self._joining:  # a client that is being made is made first
            self._drop()
            if self._host is not None:
                self._host.close()  # it also ends what is waited for
        self.exchange.close()

    def _connect(self, seconds: float) -> None:
        """Have a client of a scheduler that answers, and a nanny if it is our own."""
        with self._connecting:
            if self._host is not None and not self._host.alive:
                with self._joining:
                    self._drop()
                self._host.start()
            if self._client is not None or self._closed:
                return
            # Takes a second; meanwhile the host imports it, too.
            from diffseg.engine.client import connected

            contact = self._address, dict[str, str]()
            if self._host is not None:
                contact = within(seconds, self._host.contact)
            with self._joining:
                if not self._closed:
                    self._client = self._joined(connected, *contact)
                    if self._on_message is not None:
                        self.listen(self._on_message)

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._workers = {}
        for _ in range(2 if client is not None else 0):
            # A client that was interrupted may fail to close, but not twice.
            with suppress(Exception):
                within(10, client.close)

    def _joined(self, connected: Callable[..., Any], *contact: Any) -> Any:
        """Return a client of our own scheduler, or of somebody else's."""
        try:
            return connected(*contact, 10)
        except (OSError, ValueError, TimeoutError) as error:
            if self._host is not None:
                raise
            raise UserError(
                f"no scheduler answers at {self._address} ({type(error).__name__}); "
                "start it, or set DIFFSEG_ENGINE to local"
            ) from None

    def _disconnect(self) -> None:
        """Close the client, once whoever is making one has let go."""
        with self._connecting:
            self._drop()

    def _meet(self) -> dict[str, tuple[int, bool]]:
        found: dict[str, tuple[int, bool]] = self._client.run(
            worker.meet, self.exchange.address, self.local, on_error="ignore"
        )
        return found

    def end_worker(self, ticket: Ticket) -> None:
        """End a worker that does not stop; of a scheduler's, one that is ours alone."""
        if self._host is not None:
            for pid, _ in self._workers.values():
                self._host.end_worker(pid)
            return
        with suppress(OSError, TimeoutError):
            info = within(5, self._client.scheduler_info)["workers"]
            one = info.get(ticket.worker)
            # With more threads than one, other people's jobs may run there.
            if one is not None and one["nthreads"] == 1 and one.get("nanny"):
                aside(lambda: self._client.restart_workers([ticket.worker], timeout=20))

    def _why_no_worker(self) -> str:
        if self._closed:
            return "the engine was closed"
        if self._host is None:
            return (
                f"the scheduler at {self._address} has no worker; start one there, or "
                "set DIFFSEG_ENGINE to local"
            )
        said = self._host.why_not() or "it may be that the machine is busy: try again"
        return f"the process that runs models did not start: {said}"


def _await_end(future: Any, ticket: Ticket) -> None:
    # Dask's own callbacks run in a pool that is gone when the interpreter ends.
    with suppress(Exception, CancelledError):
        future.exception()
    ticket.mark_done()
