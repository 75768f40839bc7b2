"""A failure told in one line, and its traceback in the log without messages."""

from __future__ import annotations

import errno

from diffseg.engine.events import Failed
from diffseg.errors import DiffsegError, exhausted, written_to_log

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
    if exhausted(error):
        return _failed(f"the memory is exhausted; {LESS}")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _failed(
            "there is no space left for the result in the folder of temporary files; "
            "free some, or set TMPDIR to a larger folder"
        )
    said = f"our fault, {type(error).__name__}: {error}"
    return _failed(f"{said}; {written_to_log(title, error)}")


def _failed(message: str, status: int = 1) -> Failed:
    return Failed(" ".join(message.split()), status)
