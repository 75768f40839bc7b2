"""Toolkits speak on standard error; here their words become warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOGGERS = ("nibabel.global", "pydicom", "tifffile", "PIL")


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(one_line(record.getMessage()))


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what nibabel, pydicom, tifffile and Pillow log or warn meanwhile."""
    lines: list[str] = []
    collector = _Collector(lines)
    saved = []
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        saved.append((logger, logger.handlers[:], logger.propagate))
        logger.handlers[:] = [collector]
        logger.propagate = False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # Not for users; and a recorded ResourceWarning would keep its file.
            warnings.simplefilter("ignore", ResourceWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield lines
        lines.extend(one_line(entry.message) for entry in caught)
    finally:
        for logger, handlers, propagate in saved:
            logger.handlers[:] = handlers
            logger.propagate = propagate


def one_line(text: object, limit: int = 200) -> str:
    """Bring any message onto one line of at most `limit` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def nibabel() -> Any:
    """Return nibabel, loaded when a file first needs it."""
    import nibabel as module

    return module


def sitk() -> Any:
    """Return SimpleITK, with its own warnings on standard error switched off."""
    import SimpleITK

    module: Any = SimpleITK
    module.ProcessObject.SetGlobalWarningDisplay(False)
    return module
