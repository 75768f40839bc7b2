"""The plain way, that speed is measured against, computes what the method does."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text import enhancement
from diffseg.segmenters.text.feature_store import FeatureStore

ROOT = Path(__file__).parents[2]


def module_at(path: Path) -> ModuleType:
    """A module of helpers, or a script that measures."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plain_way_gives_the_same_masks_from_all_attention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    tiny = module_at(Path(__file__).with_name("tiny_diclip.py"))
    script = module_at(ROOT / "docs" / "measuring" / "text_speed.py")
    made = tiny.made_model(tiny.write_backbones(tmp_path / "b"), tmp_path / "model")
    model = load_segmenter(made.path, "cpu")
    assert isinstance(model, Diclip)
    asked = tiny.request(text="lesion", members=2)
    wanted = model.propose(asked)
    read: list[int] = []

    def counted(*given: object) -> object:
        found = script.all_attention(*given)
        read.append(len(found))
        return found

    monkeypatch.setattr(enhancement, "read_attention", counted)
    plain = replace(model, store=FeatureStore(tmp_path / "none", 0)).propose(asked)
    assert read == [1, 1]  # each member looked anew, for one layer of all
    assert np.array_equal(plain.probability, wanted.probability)


def test_the_script_measures_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    tiny = module_at(Path(__file__).with_name("tiny_diclip.py"))
    script = module_at(ROOT / "docs" / "measuring" / "text_speed.py")
    made = tiny.made_model(tiny.write_backbones(tmp_path / "b"), tmp_path / "model")
    Image.fromarray(np.zeros((24, 32), np.uint8) + 9).save(tmp_path / "a.png")
    monkeypatch.setattr(
        sys,
        "argv",
        ["", "--model", str(made.path), "--image", str(tmp_path / "a.png"),
         "--way", "kept", "lesion", "hair"],
    )  # fmt: skip
    script.main()
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith('{"seconds": [')
