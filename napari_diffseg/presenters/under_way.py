"""What is being read beside the window, and that the window says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_diffseg.presenters.ports import Background, Result, told
from napari_diffseg.session import Busy, Session
from napari_diffseg.views import Notices

Key = tuple[tuple[str, ...], str | None]


class UnderWay:
    """Images that are being read; the session is busy meanwhile.

    Parameters
    ----------
    session : Session
    notices : Notices
        Told what goes wrong.
    background : Background
    """

    def __init__(
        self, session: Session, notices: Notices, background: Background
    ) -> None:
        self._session = session
        self._notices = notices
        self._background = background
        self._reading: dict[Key, tuple[str, object]] = {}
        self._busy: Busy | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self._reading

    @property
    def told(self) -> bool:
        """Whether the window says that it reads."""
        return self._busy is not None and self._session.busy is self._busy

    def stop(self) -> None:
        """Forget what is being read; nothing of it will open."""
        self._reading.clear()
        self._tell()

    def read(
        self,
        key: Key,
        name: str,
        fn: Callable[[], Result],
        then: Callable[[Result], Any],
    ) -> None:
        """Run `fn` in the background, busy meanwhile; `then` unless given up."""
        token = object()
        self._reading[key] = (name, token)
        self._tell()

        def finished() -> bool:
            wanted = self._reading.get(key, (name, None))[1] is token
            if wanted:
                del self._reading[key]
                self._tell()
            return wanted

        def done(result: Result) -> None:
            if finished():
                then(result)

        def failed(error: Exception) -> None:
            if finished():
                self._notices.show(told(error), "error")

        self._background(fn, done, failed)

    def _tell(self) -> None:
        now = self._session.busy
        if now is not None and now is not self._busy:
            return  # a proposal has the word
        names = ", ".join(name for name, _ in self._reading.values())
        self._busy = Busy("", f"reading {names} ...") if names else None
        if now is not self._busy:
            self._session.set_busy(self._busy)
