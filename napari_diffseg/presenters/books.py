"""The open project's ledger, and the two ways to it: to ask, and to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_diffseg.presenters.ports import Background, Result, told
from napari_diffseg.views import Notices

if TYPE_CHECKING:
    from diffseg.project.ledger import Ledger

Done = Callable[[Result], Any]


class Books:
    """Runs what a project is asked, and what it is to keep, beside the window.

    What is to be kept is kept in order, one after another, and finished even when
    the window closes. Answers that come after the project was closed are dropped.

    Parameters
    ----------
    notices : Notices
        Told what goes wrong.
    reading, keeping : Background
    """

    def __init__(
        self, notices: Notices, reading: Background, keeping: Background
    ) -> None:
        self._notices = notices
        self.reading, self._keeping = reading, keeping
        self.ledger: Ledger | None = None

    def ask(
        self,
        fn: Callable[[Ledger], Result],
        done: Done[Result],
        failed: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Read from the project; then call `done`, unless it was closed since."""
        self._run(self.reading, fn, done, failed)

    def do(
        self,
        fn: Callable[[Ledger], Result],
        done: Done[Result] | None = None,
        failed: Callable[[Exception], Any] | None = None,
    ) -> None:
        """Have something kept; then call `done`, unless the project was closed."""
        self._run(self._keeping, fn, done or (lambda _: None), failed)

    def close(self) -> None:
        """Let go of the project once all is kept that was to be."""
        ledger, self.ledger = self.ledger, None
        if ledger is not None:
            self._keeping(ledger.close, lambda _: None, self._fail)

    def _run(
        self,
        where: Background,
        fn: Callable[[Ledger], Result],
        done: Done[Result],
        failed: Callable[[Exception], Any] | None,
    ) -> None:
        ledger = self.ledger
        if ledger is None:
            return

        def end(result: Result) -> None:
            if self.ledger is ledger:
                done(result)

        where(lambda: fn(ledger), end, failed or self._fail)

    def _fail(self, error: Exception) -> None:
        self._notices.show(told(error), "error")
