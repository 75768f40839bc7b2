"""The ladder of DiCLIP's parts runs to its end, on tiny models and drawn pictures."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import pytest
from beside import beside, measuring
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WORDS = """\
templates: ["{}", "a {}"]
classes: {lesion: [lesion]}
background: [healthy brain, normal brain, head]
"""
SMALL = (
    "length.steps=3",
    "length.validations=1",
    "length.validation_cases=2",
    "optimiser.batch=2",
    "patch=[40,40]",
    "preparation.size=[40,40]",
    "loading.workers=0",
    "objective.options={side: 40, box_threshold: 0.2, refinement: [affinity], "
    "similarity: cosine, streams: recursive}",
    "objective.cache={clusters: 2, background_clusters: 2}",
    "objective.adapter={prompts: 3}",
    "objective.head={width: 16, depth: 1, heads: 2}",
)


@pytest.fixture(scope="module")
def ladder() -> ModuleType:
    """The script."""
    return cast("ModuleType", measuring("text_ladder"))


@pytest.fixture(scope="module")
def climbed(
    ladder: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A ladder of one set, and what was printed."""
    root = tmp_path_factory.mktemp("ladder")
    tiny, pictures = (
        beside(__file__, name) for name in ("tiny_diclip", "tiny_pictures")
    )
    tiny.write_backbones(root)
    (root / "words").mkdir()
    (root / "words" / "spots.yaml").write_text(WORDS)
    pictures.write_pictures(
        root / "data" / "spots", ("lesion", "lesion", ""), names=("lesion",),
        each=5, masks=True,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFSEG_HOME", str(root / "home"))
        return root, invoked(ladder, *asked(root))


def asked(root: Path) -> list[str]:
    pair = f"{root / 'clip'},{root / 'sd'}"
    told = ["run", "--pair", pair, "--data", str(root / "data"), "--sets", "spots"]
    told += ["--out", str(root / "out"), "--words", str(root / "words")]
    return told + [part for one in SMALL for part in ("--set", one)]


def invoked(ladder: ModuleType, *given: str) -> str:
    result = CliRunner().invoke(ladder.app, list(given), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_step_is_drawn_by_every_rule(
    ladder: ModuleType, climbed: tuple[Path, str]
) -> None:
    root, printed = climbed
    lines = [line for line in printed.splitlines() if line.startswith("| spots")]
    assert [line.split(" | ")[1] for line in lines] == list(ladder.STEPS.values())
    found = {
        step: json.loads((root / "out" / "spots" / f"{step}.json").read_text())
        for step in ladder.STEPS
    }
    cases = {tuple(row["case"] for row in one["slices"]) for one in found.values()}
    assert len(cases) == 1  # the same slices by each step
    for one in found.values():
        for row in one["slices"]:
            for rule in ladder.RULES:
                overlap = row[f"dice {rule}"]
                assert 0 <= overlap <= 1
                assert row[f"iou {rule}"] == pytest.approx(overlap / (2 - overlap))
        assert 0 < one["chosen on val"]["threshold"] < 1
    rows = [[row["dice otsu"] for row in one["slices"]] for one in found.values()]
    assert len({tuple(row) for row in rows}) > 3  # the steps are not one model


def test_it_goes_on_where_it_stopped(
    ladder: ModuleType, climbed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = climbed
    monkeypatch.setenv("DIFFSEG_HOME", str(root / "home"))
    home = root / "out" / "spots"
    before = (home / "vce.json").read_text()
    (home / "vce.json").unlink()
    printed = invoked(ladder, *asked(root))
    drawn = [line for line in printed.splitlines() if not line.startswith("|")]
    assert drawn == ["drawing spots, vce"]
    assert json.loads((home / "vce.json").read_text()) == json.loads(before)


def test_settings_are_tried_on_val(
    ladder: ModuleType, climbed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = climbed
    monkeypatch.setenv("DIFFSEG_HOME", str(root / "home"))
    out = str(root / "out")
    printed = invoked(ladder, "sweep", "--set", "spots", "--out", out, "--most", "2")
    tried = [line.split(":")[0] for line in printed.splitlines() if ":" in line]
    wanted = [f"{k} {v:g}" for k, values in ladder.SWEPT.items() for v in values]
    assert tried == wanted
    one = json.loads((root / "out" / "spots" / "sweep-clusters-5.json").read_text())
    assert np.isfinite(one["dice"])


def test_scores_of_a_slice_worked_by_hand(ladder: ModuleType) -> None:
    steps = sys.modules["text_steps"]
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    likely = np.where(np.arange(16).reshape(4, 4) < 4, 0.9, 0.3).astype(np.float32)
    one = steps.Drawn("a", "p", likely, likely > 0.2, truth)
    row = steps.scored(one, 0.5)
    assert row["dice labels"] == pytest.approx(2 * 8 / (16 + 8))
    assert row["dice masks"] == pytest.approx(2 * 4 / (4 + 8))
    assert row["iou masks"] == pytest.approx(0.5)
    assert (row["right"], row["wrong"]) == (8, 8)
    value, best = steps.threshold_on([one])
    assert value < 0.3
    assert best == pytest.approx(2 / 3)


def test_a_set_without_test_gives_half_of_the_patients_of_val(
    ladder: ModuleType, tmp_path: Path
) -> None:
    pictures = beside(__file__, "tiny_pictures")
    data = pictures.write_pictures(
        tmp_path / "spots", ("lesion",), names=("lesion",), each=4,
        splits=("train", "val"), masks=True,
    )  # fmt: skip
    rows = read(ladder.by_its_own(data, tmp_path / "home"))
    splits = [row["split"] for row in rows]
    assert splits[:4] == ["train"] * 4  # what the pair learnt from stays so
    assert sorted(splits[4:]) == ["test", "test", "val", "val"]
    (tmp_path / "home" / "manifest.csv").unlink()
    assert read(ladder.by_its_own(data, tmp_path / "home")) == rows


def read(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline="") as file:
        return list(csv.DictReader(file))
