"""The recipe of a fine-tuning, base data beside corrections, and refusals early on."""

from __future__ import annotations

import pytest
from beside import beside

from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.progress import run
from diffseg_training.finetuning.job import Finetuned, FinetuneJob
from diffseg_training.finetuning.recipe import write_recipe
from diffseg_training.finetuning.replaying import mixed
from diffseg_training.finetuning.run import iter_finetune

balls = beside(__file__, "balls")
job_of = balls.job_of


def job(**given):
    told = {"project": "study", "model": "balls", "annotator": "anna"}
    return FinetuneJob(**{**told, **given})


def test_the_recipe_is_the_parents_with_what_lies_over_it(parent, tmp_path):
    recipe = write_recipe(parent, job(seed=5), tmp_path)
    assert recipe.network == parent.card.network
    assert recipe.preparation == parent.card.preparation
    assert recipe.objective.name == "recycling"
    slower = write_recipe(parent, job(settings=("finetuning.rate=0.25",)), tmp_path)
    assert slower.optimiser.learning_rate == pytest.approx(0.25 * 0.002)
    assert recipe.optimiser.weight_decay == 0
    assert (recipe.length.steps, recipe.seed) == (80, 5)
    assert recipe.optimiser.batch == 1  # half of the recipe's two
    larger = write_recipe(parent, job(settings=("finetuning.batch=1",)), tmp_path)
    assert larger.optimiser.batch == 2
    said = write_recipe(parent, job(settings=("optimiser.batch=5",)), tmp_path)
    assert said.optimiser.batch == 5
    assert recipe.finetuning.anchor > 0
    assert recipe.start == str(parent.path.resolve())
    assert recipe.name == parent.card.recipe  # a child can be fine-tuned, too


def test_a_job_overrides_the_recipe(parent, tmp_path):
    given = job(
        minutes=2.0, tolerance=0.05, overall_tolerance=0.02, replay="base",
        settings=("optimiser.learning_rate=0.5",),
    )  # fmt: skip
    recipe = write_recipe(parent, given, tmp_path)
    assert (recipe.length.steps, recipe.length.minutes) == (None, 2.0)
    assert recipe.finetuning.tolerance == 0.05
    assert recipe.finetuning.overall_tolerance == 0.02
    assert recipe.finetuning.anchor == 0  # base data take its place
    assert recipe.optimiser.learning_rate == 0.5


def test_a_model_of_an_unknown_recipe_is_refused_with_a_way_out(parent, tmp_path):
    card = parent.card.model_copy(update={"recipe": "of-my-own"})
    strange = ModelFolder(card, parent.path, "user")
    with pytest.raises(UserError, match="'of-my-own', which does not ship") as caught:
        write_recipe(strange, job(), tmp_path)
    assert caught.value.option == "--recipe"
    given = job(recipe="hippocampus-mri")
    assert write_recipe(strange, given, tmp_path).name == "hippocampus-mri"


def test_what_learns_from_labels_alone_is_sent_to_self_training(parent, tmp_path):
    given = job(recipe="lgg-seam", settings=("patch=[64, 64]",))
    with pytest.raises(UserError, match="diffseg project self-train") as caught:
        write_recipe(parent, given, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("corrected", "base", "share"), [(3, 40, 0.5), (40, 3, 0.5), (5, 5, 0.2)]
)
def test_base_data_are_mixed_in_by_their_share(corrected, base, share):
    found = mixed(["c"] * corrected, ["b"] * base, share)  # type: ignore[list-item]
    assert found.count("b") / len(found) == pytest.approx(share, abs=0.05)
    assert mixed(["c"], [], 0.5) == ["c"]  # type: ignore[list-item]
    assert mixed(["c"], ["b"], 0.0) == ["c"]  # type: ignore[list-item]


def test_a_folder_outside_of_the_models_has_no_versions(trained, study, monkeypatch):
    monkeypatch.setenv("DIFFSEG_HOME", str(study.folder.parent / "home"))
    with pytest.raises(UserError, match="diffseg models add"):
        run(iter_finetune(job_of(study, model=str(trained))))
    assert not (study.folder / "training").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"minutes": 0.0}, {"tolerance": 1.0}, {"overall_tolerance": -0.1},
        {"seed": -1}, {"model": ""},
        {"cases": ("a",), "hold_out": ("a",)},
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_meant_are_refused(given):
    with pytest.raises(UserError):
        job(**given).checked()


def test_jobs_and_results_cross_the_border_as_json(tmp_path):
    one = job(cases=("a", "b"), minutes=1.5)
    assert FinetuneJob.from_json(one.as_json()) == one
    done = Finetuned(
        "kept", "a@1+ft1", "a@1", "0", tmp_path, tmp_path, "r", {"kept": True},
        ("x",), ("y",), 5, 4, 0.5,
    )  # fmt: skip
    assert Finetuned.from_json(done.as_json()) == done
