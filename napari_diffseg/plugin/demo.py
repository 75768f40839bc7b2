"""The window for commands of other packages: on the right screen, in one call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from diffseg.errors import UserError
from napari_diffseg.plugin.screen import virtual_screen

_TRIAL = "from qtpy.QtWidgets import QApplication; QApplication([])"
_PATIENCE_S = 60.0


def open_window(
    images: Sequence[str],
    *,
    propose: bool = False,
    screenshot: Path | None = None,
) -> None:
    """Open napari with the panels and `images`, and return once it is closed.

    With `screenshot` a virtual screen is started where there is no display.

    Parameters
    ----------
    images : sequence of str
        Files or folders; channels of one image are joined by ``;``.
    propose : bool
        Start a proposal for the first image.
    screenshot : Path, optional
        Write a picture of the window once it shows that, and close it.

    Raises
    ------
    UserError
        Qt cannot open a window on the display, or no virtual screen can be started.
    DiffsegError
        With `screenshot`: what was asked for did not come about.
    """
    if screenshot is None:
        check_qt()
        _open(images, propose, None)
    else:
        with virtual_screen():
            _open(images, propose, screenshot)


def _open(images: Sequence[str], propose: bool, screenshot: Path | None) -> None:
    # Late: Qt looks for its screen when it is imported and started.
    from napari_diffseg.plugin.settings import into_environment, read_settings
    from napari_diffseg.plugin.window import open_window as opened

    into_environment(read_settings())
    opened(images, propose=propose, screenshot=screenshot)


def check_qt() -> None:
    """Try Qt in a process of its own, while napari loads in this one.

    Qt ends the process, without a word to us, where it finds its display dead or
    a system library missing.

    Raises
    ------
    UserError
        Qt cannot open a window here.
    """
    trial = subprocess.Popen(
        [sys.executable, "-c", _TRIAL],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        import napari  # noqa: F401  loads beside the trial

        _, said = trial.communicate(timeout=_PATIENCE_S)
    finally:
        trial.kill()
        trial.wait()
    if trial.returncode:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        why = lines[0] if lines else f"it ended with status {trial.returncode}"
        raise UserError(
            f"Qt cannot open a window on this display: {why}; check DISPLAY, and on "
            "Debian: apt-get install libxcb-cursor0 libegl1 libgl1 libxkbcommon-x11-0"
        )
