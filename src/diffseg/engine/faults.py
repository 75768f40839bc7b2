"""A failure told in one line, and its traceback in the log without messages."""

from __future__ import annotations

import errno
import os
import traceback
from datetime import datetime
from pathlib import Path

from diffseg.engine.events import Failed
from diffseg.errors import DiffsegError

LOG_BYTES = 1_000_000  # the log starts afresh beyond this, keeping one old file
LESS = "mark a smaller region, ask for fewer members, or run on the CPU"
LOST = (
    "the process that runs the model ended while it was working, perhaps because the "
    f"memory is exhausted; {LESS}"
)


def verdict(title: str, error: BaseException) -> Failed:
    """Tell `error` in one line, and log it where it is our fault.

    Parameters
    ----------
    title : str
        What was being done; stands in the log, so no file may be named in it.
    error : BaseException
    """
    if isinstance(error, DiffsegError):
        return _failed(str(error), error.exit_status)
    # torch's error for an exhausted device is matched by name: torch stays unloaded.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _failed(f"the memory is exhausted; {LESS}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _failed(
            "there is no space left for the result in the folder of temporary files; "
            "free some, or set TMPDIR to a larger folder"
        )
    said = f"our fault, {type(error).__name__}: {error}"
    return _failed(f"{said}; {_written_to_log(title, error)}")


def _failed(message: str, status: int = 1) -> Failed:
    return Failed(" ".join(message.split()), status)


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


def _written_to_log(title: str, error: BaseException) -> str:
    """Log where `error` arose and say so.

    Messages of exceptions are left out: they quote file names, and a file name may
    be a patient's.
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
