"""A project of balls with the weak masks of a model that has hardly learnt anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from beside import beside

from diffseg.models import ModelFolder, add_model, save_model
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.recipe import load_recipe
from diffseg_training.run import draft_card
from diffseg_training.trainer import iter_train

_FINETUNING = beside(__file__, "../finetuning/conftest")
balls = _FINETUNING.balls
trained, study = _FINETUNING.trained, _FINETUNING.study


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model of two steps, which says that it learnt from labels alone."""
    out = tmp_path_factory.mktemp("weak")
    more = ("length.steps=2", "length.validations=1", "card.licence=research only")
    recipe = load_recipe("hippocampus-mri", [*balls.TINY, *balls.NETWORK, *more])

    def validate(_: object) -> dict[str, float]:
        return {"score": 0.0}

    result = run(iter_train(recipe, [balls.example(0)], validate, out))
    card = draft_card(recipe, balls.TABLE)
    weak = card.model_copy(
        update={"metrics": {"trained_on": "image-level labels alone"}}
    )
    save_model(out / "model", weak, dict(result.network.state_dict()))
    return out / "model"


@pytest.fixture
def weak_model(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelFolder:
    """The weak model among the user's, in a home of the test's own."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    return add_model(untrained, "weak")


@pytest.fixture
def good_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelFolder:
    """One that has learnt to find balls."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    return add_model(trained, "good")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every image file that is opened from here on."""
    import nibabel

    opened: list[Path] = []
    real = nibabel.load

    def load(path: object, *args: object, **kwargs: object) -> object:
        opened.append(Path(str(path)).resolve())
        return real(path, *args, **kwargs)

    monkeypatch.setattr(nibabel, "load", load)
    return opened


def told(project: store.Project, name: str) -> dict[str, object]:
    """What a run's folder lists of a case."""
    folder = sorted((project.folder / "training").iterdir())[-1]
    rows = json.loads((folder / "data.json").read_text())["cases"]
    found: dict[str, object] = next(row for row in rows if row["name"] == name)
    return found
