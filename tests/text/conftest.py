"""What tests of words share: small backbones, and a home of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from beside import beside


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny CLIP, a tiny text-to-image model and their words."""
    tiny = beside(__file__, "tiny_diclip")
    folder: Path = tiny.write_backbones(tmp_path_factory.mktemp("backbones"))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models and features of each test alone."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
