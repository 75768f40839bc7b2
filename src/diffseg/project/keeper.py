"""The journal's thread: which cases are kept, what comes next, what went wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from diffseg.errors import UserError
from diffseg.project.locks import InUse
from diffseg.project.notebook import Notebook
from diffseg.project.watch import Watch
from diffseg.project.window import Window

OnKept = Callable[[str, datetime], object]
OnTrouble = Callable[[str], object]

_REST = 60.0
"""Seconds until a chore that failed is tried again."""
_LOG = logging.getLogger(__name__)


class Keeper:
    """Keeps every open case of a window, and tells how it goes.

    Parameters
    ----------
    window : Window
    interval : float
        Seconds within which strokes are to be kept.
    on_kept, on_trouble : callable, optional
        As `diffseg.project.journal.Journal` has them.
    """

    def __init__(
        self,
        window: Window,
        interval: float,
        on_kept: OnKept | None,
        on_trouble: OnTrouble | None,
    ) -> None:
        self.books: dict[str, Notebook] = {}
        self.on_kept, self.on_trouble = on_kept, on_trouble
        self._window = window
        self._errand: tuple[str, Iterator[None]] | None = None
        self._rest_until = 0.0
        self._troubled = False
        # Whoever draws all the time waits for two rounds at most.
        self.watch = Watch(self._work, self._chore, delay=interval / 2, retry=interval)

    def remove(self, case_id: str) -> None:
        """Keep a case no longer, and remove what was kept of it."""
        with self.watch.still():
            self.watch.forget(case_id)
            book = self.books.pop(case_id, None)
            if self._errand is not None and self._errand[0] == case_id:
                self._errand = None
            if book is not None:
                with self.trouble_told():
                    self._window.remove(case_id, book.folder)

    def mark_exported(self, book: Notebook) -> bool:
        """Note that a file holds a case's mask; whether that is noted on disk."""
        with self.watch.still(), self.trouble_told() as sound:
            self._window.enter()
            book.mark_exported()
        return sound.sound

    def trouble_told(self) -> Told:
        """Tell of an error within; for what the window's user waits for."""
        return Told(self)

    def unusable(self, err: OSError) -> UserError:
        """Say in a line that the journal's folder cannot be used, and why."""
        return UserError(
            f"the journal {self._window.folder} cannot be used: "
            f"{err.strerror or err}; see that the folder is yours and writable"
        )

    def trouble(self, err: Exception) -> None:
        """Tell what is wrong, if it has not been told since it last worked."""
        if not isinstance(err, UserError | OSError):
            _LOG.error("the journal failed", exc_info=err)
        told, self._troubled = self._troubled, True
        if told or self.on_trouble is None:
            return
        why = self.unusable(err) if isinstance(err, OSError) else err
        _tell(
            self.on_trouble,
            f"corrections are not being kept on disk: {why}; "
            "they are safe only in this window, and keeping them is tried again",
        )

    def _work(self, case_id: str) -> bool:
        book = self.books.get(case_id)
        if book is None:
            return True
        try:
            self._window.enter()
            when = book.keep()
        except Exception as err:  # the thread outlives whatever goes wrong
            self.trouble(err)
            return False
        self._troubled = False
        if when is not None and self.on_kept is not None:
            _tell(self.on_kept, case_id, datetime.fromtimestamp(when).astimezone())
        return True

    def _chore(self) -> bool:
        if self._errand is None and time.monotonic() >= self._rest_until:
            books = list(self.books.items())
            due = ((key, book.chores()) for key, book in books if book.has_chores)
            self._errand = next(due, None)
        if self._errand is None:
            return False
        try:
            next(self._errand[1])
        except StopIteration:
            self._errand = None
        except Exception as err:  # the thread outlives whatever goes wrong
            self._errand, self._rest_until = None, time.monotonic() + _REST
            self.trouble(err)
        return True


class Told:
    """Within it, what cannot be written is told and not raised. `InUse` is raised.

    Parameters
    ----------
    keeper : Keeper
        Who tells it.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.sound = True

    def __enter__(self) -> Told:
        return self

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> bool:
        if isinstance(err, UserError | OSError) and not isinstance(err, InUse):
            self.sound = False
            self._keeper.trouble(err)
            return True
        return False


def _tell(listener: Callable[..., object], *what: object) -> None:
    try:
        listener(*what)
    except Exception:
        _LOG.exception("a listener of the journal failed")
