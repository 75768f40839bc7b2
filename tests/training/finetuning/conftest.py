"""A project of balls, and a tiny model that finds them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from beside import beside

from diffseg.models import ModelFolder, add_model, save_model
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.recipe import load_recipe
from diffseg_training.run import draft_card
from diffseg_training.trainer import iter_train

balls = beside(__file__, "balls")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that has learnt to find balls."""
    out = tmp_path_factory.mktemp("parent")
    more = ("length.steps=90", "length.validations=1", "optimiser.ema=0.9")
    recipe = load_recipe("hippocampus-mri", [*balls.TINY, *balls.NETWORK, *more])

    def validate(_: torch.nn.Module) -> dict[str, float]:
        return {"score": 0.0}

    result = run(
        iter_train(recipe, [balls.example(s) for s in range(8)], validate, out)
    )
    card = draft_card(recipe, balls.TABLE)
    save_model(out / "model", card, dict(result.network.state_dict()))
    return out / "model"


@pytest.fixture
def parent(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelFolder:
    """The model among the user's, in a home of the test's own."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    return add_model(trained, "balls")


@pytest.fixture
def study(tmp_path: Path) -> Iterator[store.Project]:
    """A project of six images of balls, none of them reviewed."""
    with store.create_project(
        tmp_path / "study", labels=balls.TABLE, annotator="anna"
    ) as made:
        for index in range(6):
            path = tmp_path / "images" / f"ball{index}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            image, _ = balls.ball(20 + index)
            nib.save(nib.Nifti1Image(image.T, np.eye(4)), path)
            store.add_case(made, path, annotator="anna", name=f"ball{index}")
        yield made
