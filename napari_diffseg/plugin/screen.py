"""A screen where a machine has none: Xvfb, for as long as a block runs."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffseg.errors import DiffsegError, UserError

_PATIENCE_S = 30.0
_NUMBERS = range(100, 10_000)
_ATTEMPTS = 5
# A software renderer, since a virtual screen has no graphics card; Qt's own
# offscreen platform has no OpenGL, which napari draws with.
_SETTINGS = {"QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"}


def has_screen() -> bool:
    """Whether a window can be shown here without help."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def virtual_screen(width: int = 1600, height: int = 1000) -> Iterator[str]:
    """Show windows on a virtual screen while the block runs, where there is none.

    A machine with a display is left alone. To be entered before Qt makes its
    application, and left after the last window was closed.

    Parameters
    ----------
    width, height : int
        Size of the screen in pixels.

    Yields
    ------
    str
        The screen's name (``:99``), or "" where a display is there already.

    Raises
    ------
    UserError
        Xvfb is not installed.
    DiffsegError
        Xvfb did not start.
    """
    if has_screen():
        yield ""
        return
    server, name = _started(width, height)
    before = {key: os.environ.get(key) for key in ("DISPLAY", *_SETTINGS)}
    os.environ.update(_SETTINGS, DISPLAY=name)
    try:
        yield name
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        _stop(server)


def _started(width: int, height: int) -> tuple[subprocess.Popen[bytes], str]:
    """Start Xvfb on a number that nobody has.

    We choose the number: Xvfb locks one that it is given, but not one that it finds
    itself (``-displayfd``), and two that start at once then take the same.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise UserError(
            "no display, and Xvfb was not found: install xvfb "
            "(Debian: apt-get install xvfb), or set DISPLAY"
        )
    for number in random.SystemRandom().sample(_NUMBERS, _ATTEMPTS):
        if _socket(number).exists():
            continue
        server = subprocess.Popen(
            [
                *(program, f":{number}", "-nolisten", "tcp", "-noreset"),
                *("-screen", "0", f"{width}x{height}x24"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; we stop it after the windows
        )
        if _answers(server, number):
            return server, f":{number}"
        _stop(server)
    raise DiffsegError(f"the virtual screen did not start: {program}")


def _answers(server: subprocess.Popen[bytes], number: int) -> bool:
    """Wait until a server takes connections, or has ended."""
    until = time.monotonic() + _PATIENCE_S
    while server.poll() is None and time.monotonic() < until:
        with socket.socket(socket.AF_UNIX) as knock:
            try:
                knock.connect(str(_socket(number)))
            except OSError:
                time.sleep(0.02)
            else:
                return server.poll() is None
    return False


def _socket(number: int) -> Path:
    return Path(f"/tmp/.X11-unix/X{number}")  # where X servers listen, on any Linux


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
