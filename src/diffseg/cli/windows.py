"""Windows, found by entry point: a command opens one without knowing whose it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Protocol, cast

from diffseg.errors import DiffsegError, UserError

GROUP = "diffseg.windows"
BINDINGS = ("PySide6", "PyQt6")
NEEDED = ("napari", "qtpy", "superqt", "magicgui")
INSTALL = "pip install 'napari-diffseg[gui]'"
PATIENCE_S = 600.0


class Opener(Protocol):
    """What the entry point holds."""

    def __call__(
        self,
        images: Sequence[str],
        *,
        propose: bool = False,
        screenshot: Path | None = None,
    ) -> None:
        """Open a window on `images` and return once it is closed."""


def missing_packages() -> tuple[str, ...]:
    """What a window needs and this installation lacks; nothing is imported."""
    lacking = [name for name in NEEDED if installed(name) is None]
    if not any(installed(name) for name in BINDINGS):
        lacking.append(BINDINGS[0])
    return tuple(lacking)


def installed(package: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def display() -> str | None:
    """The display a window would open on; None where there is none."""
    if sys.platform in ("win32", "darwin"):
        return "native"
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or None


def window_opener() -> Opener:
    """The registered window.

    Raises
    ------
    UserError
        None is installed, or a package that it needs is missing.
    """
    lacking, points = missing_packages(), entry_points(group=GROUP)
    if lacking or not points:
        what = ", ".join(lacking) or "napari-diffseg's own part"
        raise UserError(f"no window: {what} is not installed; {INSTALL}")
    return cast("Opener", next(iter(points)).load())


def check_display() -> None:
    """Raise `UserError` where there is nothing to show a window on."""
    if display() is None:
        raise UserError(
            "no display, so no window can open: run this on a desktop, set DISPLAY, "
            "or use diffseg demo --headless and diffseg propose"
        )


def picture_of_window(image: Path, picture: Path) -> None:
    """Photograph a window that shows `image`, its proposal and its uncertainty.

    The window runs on a virtual screen and in a process of its own, which never
    loads torch, with napari's own settings in place of the user's.

    Raises
    ------
    UserError
        Something that a window needs is not installed.
    DiffsegError
        The window did not show what it should.
    """
    window_opener()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    try:
        run = subprocess.run(
            [sys.executable, "-m", "diffseg.cli.windows", str(image), str(picture)],
            env={**environment, "NAPARI_CONFIG": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise DiffsegError(
            f"the window showed no proposal within {PATIENCE_S:.0f} s"
        ) from None
    if run.returncode or not picture.is_file():
        lines = run.stderr.splitlines()
        told = [line for line in lines if line.startswith(_TITLE)]
        line = told[-1] if told else f"it ended with status {run.returncode}"
        kind = UserError if run.returncode == UserError.exit_status else DiffsegError
        raise kind(line.removeprefix(_TITLE))


_TITLE = "diffseg window: "


def _main(image: str, picture: str) -> int:
    """Take the picture in this process; of standard error one line is ours."""
    try:
        window_opener()([image], propose=True, screenshot=Path(picture))
    except DiffsegError as error:
        sys.stderr.write(f"\n{_TITLE}{error}\n")
        return error.exit_status
    except Exception as error:
        sys.stderr.write(f"\n{_TITLE}our fault, {type(error).__name__}: {error}\n")
        return DiffsegError.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
