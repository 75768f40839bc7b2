"""From weak masks to a segmenter: taken, learnt, judged, kept or refused, resumed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from beside import beside

from diffseg.domain import Presence
from diffseg.errors import UserError
from diffseg.models import find_model, list_models, tree_of
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.finetuning.begun import learnt_by
from diffseg_training.learning import Learning
from diffseg_training.selftraining.begun import begin
from diffseg_training.selftraining.job import SelfTrained
from diffseg_training.selftraining.outlook import weak_outlook
from diffseg_training.selftraining.run import iter_self_train

balls, masks = (beside(__file__, name) for name in ("../finetuning/balls", "masks"))
SHAPE, ball, correct = balls.SHAPE, balls.ball, balls.correct
propose, job_of = masks.propose, masks.job_of


def truth(index):
    return ball(20 + index)[1]


def inverted(index):
    return np.where(truth(index) == 0, 1, 0).astype(np.uint8)


def cohort(project, model, mask=truth, judges=(5,)):
    """Weak masks of the first four, each doubted more than the one before."""
    for index in range(4):
        propose(project, f"ball{index}", model, mask(index), 0.1 + index / 100)
    for index in judges:
        correct(project, f"ball{index}")


def gathered(begun):
    """Rows of the run's list, by name."""
    rows = json.loads((begun.folder / "data.json").read_text())["cases"]
    return {row["name"]: row for row in rows}


def voxels(begun, id, kind):
    path = begun.folder / "data" / f"{id}-{kind}.nii.gz"
    return np.asarray(nib.load(path).dataobj).T if path.is_file() else None


# What is taken


def test_the_least_doubted_masks_are_taken_and_none_of_a_judge(study, weak_model):
    cohort(study, weak_model)
    propose(study, "ball5", weak_model, truth(5))
    begun = run(begin(job_of(study, "weak", keep=0.5)))
    rows = gathered(begun)
    assert {name: row["split"] for name, row in rows.items()} == {
        "ball0": "train", "ball1": "train", "ball5": "val",
    }  # fmt: skip
    assert rows["ball0"]["weak"] == np.prod(SHAPE)
    assert rows["ball5"]["weak"] == 0
    assert begun.materials.told == {"left_out": 2, "lacking": 1}
    noted = store.training_runs(study)[0]
    assert noted.settings["kind"] == "self-train"
    assert len(noted.cases) == 2


def test_a_threshold_in_place_of_the_share(study, weak_model):
    cohort(study, weak_model)
    wish = ("self_training.worst=0.105",)
    rows = gathered(run(begin(job_of(study, "weak", settings=wish))))
    assert set(rows) == {"ball0", "ball5"}


def test_doubtful_voxels_carry_no_loss(study, weak_model):
    doubt = np.full(SHAPE, 0.1, np.float32)
    doubt[3:9] = 0.9
    propose(study, "ball0", weak_model, truth(0), doubt)
    correct(study, "ball5")
    begun = run(begin(job_of(study, "weak", limit=0.4)))
    row = gathered(begun)["ball0"]
    counts = voxels(begun, row["id"], "reviewed")
    assert not counts[3:9].any()
    assert counts[:3].all()
    assert counts[9:].all()
    assert row["voxels"] == row["weak"] == counts.sum()


def test_slices_that_were_said_to_be_empty_are_background_for_sure(study, weak_model):
    propose(study, "ball0", weak_model, truth(0), np.float32(0.3))
    id = store.find_case(study, "ball0").id
    for name in ("front", "back"):
        store.set_label(
            study, id, name, Presence.ABSENT, annotator="anna", slices=(6, 9)
        )
    correct(study, "ball5")
    begun = run(begin(job_of(study, "weak")))
    mask = voxels(begun, gathered(begun)["ball0"]["id"], "mask")
    assert truth(0)[6:9].any()
    assert not mask[6:9].any()
    assert (mask[9:] == truth(0)[9:]).all()


def test_what_a_person_set_replaces_the_weak_mask(study, weak_model):
    propose(study, "ball0", weak_model, inverted(0))
    touched = np.zeros(SHAPE, np.bool_)
    touched[4:8] = True
    correct(study, "ball0", touched=touched, done=False)
    correct(study, "ball5")
    begun = run(begin(job_of(study, "weak")))
    row = gathered(begun)["ball0"]
    mask = voxels(begun, row["id"], "mask")
    assert (mask[4:8] == truth(0)[4:8]).all()
    assert (mask[8:] == inverted(0)[8:]).all()
    assert row["weak"] == (~touched).sum()
    assert begun.materials.reviewed == 1


def test_a_case_reviewed_to_its_end_teaches_as_it_is(study, weak_model):
    cohort(study, weak_model, inverted)
    for index in range(2):
        correct(study, f"ball{index}")
    begun = run(begin(job_of(study, "weak", hold_out=("ball5",))))
    rows = gathered(begun)
    for index in range(2):
        assert rows[f"ball{index}"]["weak"] == 0
        assert (voxels(begun, rows[f"ball{index}"]["id"], "mask") == truth(index)).all()


def test_proposals_of_another_model_or_version_are_not_its_own(study, weak_model):
    other = weak_model.card.model_copy(update={"version": "0.9"})
    cohort(study, replace(weak_model, card=other))
    with pytest.raises(UserError, match=r"diffseg project propose .* --model weak"):
        run(begin(job_of(study, "weak")))
    assert not list((study.folder / "training").glob("*"))


def test_the_newest_proposal_of_the_model_counts(study, weak_model):
    cohort(study, weak_model, inverted)
    propose(study, "ball0", weak_model, truth(0), 0.01)
    begun = run(begin(job_of(study, "weak")))
    row = gathered(begun)["ball0"]
    assert (voxels(begun, row["id"], "mask") == truth(0)).all()


# What is refused, before anything is trained


def refused(project, match, **given):
    job = job_of(project, "weak", **given)
    if given.get("recipe"):  # the settings of the balls are of their own network
        told = {**job.as_json(), "settings": given.get("settings", ())}
        job = type(job).from_json(told)
    with pytest.raises(UserError, match=match):
        run(begin(job))
    assert not list((project.folder / "training").glob("*"))
    assert not store.training_runs(project)


def test_without_a_judge_it_is_refused_unless_it_was_said(study, weak_model):
    cohort(study, weak_model, judges=())
    refused(study, "--no-judge")
    begun = run(begin(job_of(study, "weak", judged=False)))
    assert {one.split for one in begun.materials.dataset.cases} == {"train", "val"}
    assert store.training_runs(study)[0].settings["held_out"] == []


def test_all_left_out_is_refused(study, weak_model):
    cohort(study, weak_model)
    refused(study, "surest is doubted by 0.100", settings=("self_training.worst=0.05",))
    refused(study, "raise --limit", limit=0.01)


def test_masks_of_nothing_are_refused(study, weak_model):
    cohort(study, weak_model, lambda index: np.zeros(SHAPE, np.uint8))
    refused(study, "nothing is proposed for any of 4 cases")


def test_a_recipe_that_does_not_fit_is_refused(study, weak_model):
    cohort(study, weak_model)
    refused(study, "image-level labels", recipe="lgg-cldf")
    refused(study, "but a part of one", recipe="lgg-teacher")
    refused(study, "is for microscopy, and model weak for MR", recipe="nuclei-unet")
    refused(study, "does not fit the 2 structures", recipe="lgg-unet")
    refused(study, "'none-such' does not ship", recipe="none-such")
    several = ("network.image_channels=4", "network.mask_channels=2")
    refused(
        study, "4 channels, and case 'ball", recipe="brats21-unet", settings=several
    )


def test_an_objective_that_takes_whole_masks_alone_says_what_would_do(
    study, weak_model
):
    doubt = np.full(SHAPE, 0.1, np.float32)
    doubt[3:9] = 0.9
    propose(study, "ball0", weak_model, truth(0), doubt)
    correct(study, "ball5")
    refused(study, "whole masks alone: give --limit 1", recipe="hippocampus-leaf")
    job = job_of(study, "weak", recipe="hippocampus-leaf", limit=1.0)
    begun = run(begin(type(job).from_json({**job.as_json(), "settings": ()})))
    assert gathered(begun)["ball0"]["weak"] == np.prod(SHAPE)


def test_an_id_that_means_another_model_is_refused(study, weak_model):
    cohort(study, weak_model)
    refused(study, "the weak model's", id="weak")
    refused(study, "is there already", id="hippocampus-mri")


def test_wishes_that_cannot_be_meant_are_refused(study):
    with pytest.raises(UserError, match="keep is 0"):
        job_of(study, "weak", keep=0.0).checked()
    with pytest.raises(UserError, match=r"limit is 1\.5"):
        job_of(study, "weak", limit=1.5).checked()
    with pytest.raises(UserError, match="exclude each other"):
        job_of(study, "weak", hold_out=("a",), judged=False).checked()
    with pytest.raises(UserError, match="name the recipe"):
        job_of(study, "weak", recipe=None).checked()


def test_a_project_that_could_not_draw_a_structure_is_refused(
    tmp_path, weak_model, study
):
    one = balls.TABLE.model_copy(update={"labels": balls.TABLE.labels[:1]})
    with store.create_project(tmp_path / "less", labels=one, annotator="a") as less:
        for index in range(2):
            image = tmp_path / "images" / f"ball{index}.nii.gz"
            store.add_case(less, image, annotator="anna", name=f"ball{index}")
        propose(less, "ball0", weak_model, np.minimum(truth(0), 1))
        correct(less, "ball1", np.minimum(truth(1), 1))
        with pytest.raises(UserError, match="the model finds 'back'"):
            run(begin(job_of(less, "weak")))


def test_the_outlook_counts_without_reading_a_mask(study, weak_model, reads):
    cohort(study, weak_model, judges=(4, 5))
    del reads[:]
    found = weak_outlook(study, job_of(study, "weak"))
    assert (found.weak, found.corrected, found.held_out, found.lacking) == (4, 1, 1, 0)
    assert "hippocampus-unet" in found.recipes
    assert not {"nuclei-unet", "brats21-unet", "lgg-cldf"} & set(found.recipes)
    assert found.refused == ""
    assert not reads
    refused = weak_outlook(study, job_of(study, "none")).refused
    assert "'none' is not known" in refused


# Runs


@pytest.mark.slow
def test_a_better_segmenter_is_kept_and_its_card_says_from_what(
    study, weak_model, reads, tmp_path
):
    cohort(study, weak_model)
    touched = np.zeros(SHAPE, np.bool_)
    touched[4:8] = True
    correct(study, "ball4", touched=touched, done=False)
    hidden = tmp_path / "images" / "ball0_mask.nii.gz"
    hidden.write_bytes(b"no mask of a training image is ever read")
    del reads[:]
    signs = []
    job = job_of(study, "weak", 90, keep=0.75, settings=("optimiser.ema=0.9",))
    done = run(iter_self_train(job), signs.append)
    assert done.outcome == "kept", done.verdict["sentence"]
    for one in done.verdict["classes"]:
        assert one["child"] > one["parent"] + 0.2
    assert (done.weak_cases, done.left_out, done.lacking) == (3, 1, 0)
    assert done.voxels == done.weak_voxels + touched.sum()
    assert any(isinstance(one, Learning) and one.scores for one in signs)

    images = {path.resolve() for path in (tmp_path / "images").glob("ball?.nii.gz")}
    ours = study.folder.resolve()
    assert all(path in images or ours in path.parents for path in reads)

    child = find_model("student")
    told = child.card.self_training
    assert child.name == done.model == "student@1.0.0"
    assert child.card.parent == told["weak_model"]
    assert told["weak_model"] == f"weak@1.0.0#{weak_model.card.sha256}"
    assert child.card.licence == "research only"
    assert not child.card.weak
    assert weak_model.card.weak
    assert (told["weak_cases"], told["weak_voxels"]) == (3, done.weak_voxels)
    assert (told["corrected_cases"], told["corrected_voxels"]) == (1, touched.sum())
    assert told["uncertainty_limit"] == 0.5
    assert told["verdict"]["kept"] is True
    assert "3 cases" in child.card.data
    assert str(tmp_path) not in child.card.model_dump_json()
    assert [one.depth for one in tree_of(list_models()) if one.model.path == child.path]

    runs = store.training_runs(study)
    assert runs[0].state == "kept"
    assert learnt_by(child, runs) == set(done.learnt)  # these cannot judge it
    again = SelfTrained.from_json(json.loads(json.dumps(done.as_json())))
    assert again.as_json() == done.as_json()
    assert again.path == done.path


@pytest.mark.slow
def test_a_segmenter_of_bad_masks_is_refused(study, good_model):
    cohort(study, good_model, inverted)
    done = run(iter_self_train(job_of(study, "good", 20)))
    assert done.outcome == "refused"
    assert "worse than the tolerance of 0.01 Dice" in done.verdict["sentence"]
    assert "student" not in {one.card.id for one in list_models()}
    assert (done.path / "card.json").is_file()
    assert store.training_runs(study)[0].state == "refused"


@pytest.mark.slow
def test_unjudged_says_so_and_the_next_is_another_version(study, weak_model):
    cohort(study, weak_model, judges=())
    done = run(iter_self_train(job_of(study, "weak", judged=False)))
    assert done.verdict["sentence"].startswith("kept unjudged")
    assert done.held_out == ()
    assert find_model("student").card.self_training["verdict"]["classes"] == []
    again = run(iter_self_train(job_of(study, "weak", judged=False)))
    assert again.model == "student@1.1.0"


@pytest.mark.slow
def test_cancelled_then_resumed_it_ends_with_the_masks_it_began_with(study, weak_model):
    cohort(study, weak_model)
    work = iter_self_train(
        job_of(study, "weak", 8, tolerance=0.9, overall_tolerance=0.9)
    )
    for sign in work:
        if isinstance(sign, Learning) and sign.scores:
            break
    work.close()
    assert store.training_runs(study)[0].state == "cancelled"
    assert "student" not in {one.card.id for one in list_models()}
    propose(study, "ball0", weak_model, inverted(0), 0.01)  # comes too late
    resumed = job_of(study, "", recipe=None, resume=True)
    done = run(iter_self_train(resumed))
    assert (done.steps, done.model) == (8, "student@1.0.0")
    assert (done.left_out, done.lacking) == (1, 1)
    with pytest.raises(UserError, match="no self-training"):
        run(iter_self_train(resumed))


@pytest.mark.slow
def test_it_begins_from_another_model_and_inherits_its_licence(
    study, weak_model, trained, tmp_path
):
    from diffseg.models import add_model

    cohort(study, weak_model)
    shutil.copytree(trained, tmp_path / "start")
    add_model(tmp_path / "start", "start")
    done = run(
        iter_self_train(
            job_of(study, "weak", start="start", tolerance=0.9, overall_tolerance=0.9)
        )
    )
    card = json.loads((done.path / "card.json").read_text())
    theirs = find_model("start").card.licence
    assert card["licence"] == f"research only; also {theirs}"
    assert card["self_training"]["from_scratch"] is False
