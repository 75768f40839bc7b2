"""What can go wrong, told in one line: what is wrong, where, what would be right.

And the log of what is our fault: tracebacks, without what they say of files.
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

LOG_BYTES = 1_000_000  # the log starts afresh beyond this, keeping one old file
# What torch and its libraries raise on any device. oneDNN gives no
# reason, but a primitive that it has a descriptor of, and that it cannot create, found
# no room for its code or its buffers.
_NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "alloc_failed",
    "could not create a primitive",
    "could not execute a primitive",
    "could not create a memory",
)
_UNSUPPORTED = "primitive descriptor"


class DiffsegError(Exception):
    """Our own fault, a lost worker or exhausted memory (exit status 1).

    Parameters
    ----------
    message : str
        In words that fit a window and a command line alike.
    option : str, optional
        What a command line would be given to do what the message advises, such as
        ``"--roi"``. Only the command line tells it.
    """

    exit_status = 1

    def __init__(self, message: str = "", *, option: str = "") -> None:
        super().__init__(message)
        self.option = option


class UserError(DiffsegError):
    """The user's input cannot be used, or a resource asked for is not there.

    The message is one line that names what is wrong, where, and what would be
    right (exit status 2).
    """

    exit_status = 2


class Cancelled(DiffsegError):
    """The user stopped the work; nothing half written is left (exit status 130)."""

    exit_status = 130


def nearest(word: str, known: Iterable[str]) -> str:
    """A clause that names the known word nearest to a mistyped one, or nothing."""
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def exhausted(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, of whatever device."""
    # torch's error for an exhausted device is matched by name: torch stays unloaded.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    return (
        isinstance(error, RuntimeError)
        and any(sign in said for sign in _NO_MEMORY)
        and _UNSUPPORTED not in said
    )


def log_file() -> Path:
    """Where tracebacks go: ``$DIFFSEG_HOME/logs``, else the platform's log folder."""
    import platformdirs

    home = os.environ.get("DIFFSEG_HOME")
    folder = (
        Path(home).expanduser() / "logs"
        if home
        else Path(platformdirs.user_log_dir("napari-diffseg", appauthor=False))
    )
    return folder / "diffseg.log"


def written_to_log(title: str, error: BaseException) -> str:
    """Log where `error` arose and say so in a clause, such as for a message.

    Messages of exceptions are left out: they quote file names, and a file name may
    be a patient's.

    Parameters
    ----------
    title : str
        What was being done; no file may be named in it.
    error : BaseException
    """
    path = log_file()
    lines = [f"{datetime.now().astimezone().isoformat()} {title}\n"]
    link: BaseException | None = error
    while link is not None:
        lines += traceback.format_tb(link.__traceback__)
        lines.append(f"{type(link).__name__}\n")
        link = link.__cause__ or (
            None if link.__suppress_context__ else link.__context__
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("a", encoding="utf-8") as log:
            log.writelines(lines)
    except OSError:
        return f"the traceback could not be written to {path}"
    return f"the traceback is in {path}"
