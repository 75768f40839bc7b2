"""Windows in tests: on a virtual screen, and away from the user's settings."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack

import pytest

from diffseg.errors import DiffsegError
from napari_diffseg.plugin.screen import has_screen, virtual_screen

_SCREEN = ExitStack()
_MISSING: pytest.StashKey[str] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Find a screen and folders of our own before Qt and napari are imported."""
    home = _SCREEN.enter_context(tempfile.TemporaryDirectory(prefix="diffseg-test-"))
    os.environ["DIFFSEG_HOME"] = home
    os.environ.setdefault("QT_API", "pyside6")  # where PyQt6 is installed, too
    os.environ["NAPARI_CONFIG"] = os.path.join(home, "napari", "settings.yaml")
    if not has_screen():
        try:
            _SCREEN.enter_context(virtual_screen())
        except DiffsegError as error:
            config.stash[_MISSING] = str(error)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Skip what needs a screen, and say why, where there is none."""
    reason = config.stash.get(_MISSING, "")
    for item in items:
        if reason and item.get_closest_marker("gui"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_unconfigure() -> None:
    """Take the screen away again."""
    _SCREEN.close()
