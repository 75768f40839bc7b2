"""Carries out one job at a time over a link, whatever becomes of the worker."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from diffseg.engine.events import Failed, Finished, Planned
from diffseg.engine.faults import LOST, verdict
from diffseg.engine.link import Link
from diffseg.engine.parcel import Outcome, Parts, joined_proposal, progress_of
from diffseg.engine.tickets import Ticket

GRACE_SECONDS = {"propose": 1.5, "plan": 4.0, "warm": 4.0}
"""How long a cancelled job may go on before its process is ended."""


class Carrier:
    """Hands jobs to a worker and concludes them.

    Parameters
    ----------
    link : Link
    say : callable
        Told how the worker is, in a line.
    """

    def __init__(self, link: Link, say: Callable[[str], None]) -> None:
        self.link = link
        self.last_model = ""
        """Name of the last model that did not end its process."""
        self._say = say
        self._current: Ticket | None = None
        link.listen(self._on_message)

    def carry(self, ticket: Ticket) -> bool:
        """See a job through to its last event; whether the worker is a new one."""
        self.link.await_worker()
        self._current = ticket
        future = self.link.hand_over(ticket)
        try:
            while not ticket.stirred.wait(2.0):
                if self.link.lost(ticket):
                    break
            if ticket.cancelled:
                left = self.link.halt(ticket, future, GRACE_SECONDS[ticket.task])
                return not left and self._recover(ticket)
            if ticket.done.is_set() and not ticket.lost:
                return self._conclude(ticket, future)
            return self._lose(ticket)
        finally:
            self._current = None
            future.release()
            self.link.exchange.clear(ticket.id)

    def _conclude(self, ticket: Ticket, future: Any) -> bool:
        """Tell how a job ended by itself."""
        if future.status != "finished":
            error = future.exception() if future.status == "error" else None
            if error is None or type(error).__name__ == "KilledWorker":
                return self._lose(ticket)
            # Such as a worker that has another version of this package.
            ticket.finish(verdict(f"engine {ticket.task}", error))
            return False
        outcome: Outcome = pickle.loads(future.result())
        ticket.await_messages(outcome.told)
        if outcome.failure is not None:
            ticket.finish(outcome.failure)
            return outcome.broken and self._replace(ticket)
        if ticket.model:
            self.last_model = ticket.model
        if isinstance(outcome.value, Parts):
            proposal = joined_proposal(outcome.value, self.link.exchange)
            ticket.finish(Finished(proposal))
        elif outcome.value is not None:
            ticket.finish(Planned(outcome.value))
        else:
            ticket.cancel()
        return False

    def _lose(self, ticket: Ticket) -> bool:
        """Tell that a worker ended in the midst of a job, and get another."""
        ticket.finish(Failed(LOST))
        self._say("the process that runs models ended; another one is being started")
        if ticket.model == self.last_model:
            self.last_model = ""  # it may end the next one, too
        return self._recover(ticket)

    def _replace(self, ticket: Ticket) -> bool:
        """End a worker whose GPU answers no more, and get another."""
        if self.link.local:
            self._say("the GPU failed; the process that runs models starts again")
        self.link.end_worker(ticket)
        return self._recover(ticket)

    def _recover(self, ticket: Ticket) -> bool:
        """Wait for another worker, where it is ours."""
        if self.link.local:
            self.link.await_end(ticket)
            self.link.await_worker()
        self._say("ready")
        return self.link.local

    def _on_message(self, message: dict[str, Any]) -> None:
        ticket = self._current
        if ticket is not None and message["job"] == ticket.id:
            ticket.hear(message, lambda: progress_of(message, self.link.exchange))
