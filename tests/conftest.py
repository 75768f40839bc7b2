"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real data: ``DIFFSEG_DATA``, or ``../shared/data`` by the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DIFFSEG_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set DIFFSEG_DATA to a folder of it")
    return folder
