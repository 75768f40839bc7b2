"""The same journey with the other Qt binding, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow]

HERE = Path(__file__).parent
JOURNEY = "test_journey.py::test_open_label_propose_correct_export"


def test_the_journey_with_pyqt6() -> None:
    pytest.importorskip("PyQt6")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", f"{HERE / JOURNEY}", "-q"),
            *("-p", "no:cacheprovider", "--timeout", "240"),
        ],
        env={**os.environ, "QT_API": "pyqt6", "PYTEST_QT_API": "pyqt6"},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout
