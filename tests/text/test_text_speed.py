"""The plain way, that speed is measured against, computes what the method does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beside import beside, measuring
from PIL import Image

from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text import enhancement
from diffseg.segmenters.text.feature_store import FeatureStore


def test_the_plain_way_gives_the_same_masks_from_all_attention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    tiny = beside(__file__, "tiny_diclip")
    script = measuring("text_speed")
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
    tiny = beside(__file__, "tiny_diclip")
    script = measuring("text_speed")
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
