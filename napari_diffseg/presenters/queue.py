"""Cases that wait for a proposal, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from napari_diffseg.session import Case, Session


class CaseQueue:
    """Each case once; what was closed meanwhile is passed over.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[tuple[str, bool]] = deque()

    def add(self, cases: Iterable[Case], batch: bool) -> list[Case]:
        """Let cases wait, and return those that did not yet.

        `batch` says whether each was asked for as one of many.
        """
        there = {case_id for case_id, _ in self._waiting}
        new = [case for case in cases if case.id not in there]
        self._waiting.extend((case.id, batch) for case in new)
        return new

    def take(self) -> tuple[Case, bool] | None:
        """Take out the next one, and whether it is one of many; None without."""
        while self._waiting:
            case_id, batch = self._waiting.popleft()
            case = self._session.case(case_id)
            if case is not None:
                return case, batch
        return None

    def clear(self) -> None:
        """Let nothing wait any more."""
        self._waiting.clear()
