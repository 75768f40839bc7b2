"""A window that is killed while somebody paints takes no project with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.walk]
HERE = Path(__file__).parent


def test_a_killed_window_loses_two_seconds_of_strokes_at_most() -> None:
    """Many more, while it proposes and learns, too: `tests/project/kill_all.py`."""
    script = [sys.executable, str(HERE / "kill_window.py"), "--project", "--times", "1"]
    done = subprocess.run(
        [*script, "--longest", "2"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kills" in done.stdout
    assert "sound; 0 of 0 acknowledged lost" in done.stdout
