"""Fine-tuning from end to end: kept, refused, broken off and resumed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from beside import beside

from diffseg.errors import UserError
from diffseg.models import find_model, list_models, roll_back, tree_of
from diffseg.progress import run
from diffseg.project import store
from diffseg_training.finetuning.begun import is_broken_off, run_folder
from diffseg_training.finetuning.gathering import candidates, lesson
from diffseg_training.finetuning.holding_out import choose
from diffseg_training.finetuning.outlook import outlook
from diffseg_training.finetuning.run import iter_finetune
from diffseg_training.learning import Learning
from diffseg_training.lock import alone_in
from diffseg_training.state import read_log

balls = beside(__file__, "balls")
SHAPE, ball, correct, job_of = balls.SHAPE, balls.ball, balls.correct, balls.job_of

PATIENT = r"^(sub-[A-Za-z0-9]+)"


def chosen(project, **given):
    options = {"share": 0.25, "learnt": frozenset(), "before": frozenset()}
    for name in options:
        options[name] = given.pop(name, options[name])
    job = job_of(project, **given)
    known = candidates(project, job.patient)
    learners, judges = choose(project, job, known, **options)
    return [{one.case.name for one in part} for part in (learners, judges)]


# What there is to learn from, and to judge by


def test_nothing_corrected_is_refused(study):
    with pytest.raises(UserError, match="corrected or accepted"):
        chosen(study)


def test_no_held_out_case_is_refused(study):
    correct(study, "ball0")
    with pytest.raises(UserError, match="no held-out case to judge by"):
        chosen(study)
    correct(study, "ball1", done=False, touched=np.ones(SHAPE, np.bool_))
    learners, judges = chosen(study)  # the one that is whole can judge the other
    assert (learners, judges) == ({"ball1"}, {"ball0"})


def test_held_out_patients_are_drawn_by_the_seed_and_stay(study):
    for index in range(5):
        correct(study, f"ball{index}")
    drawn = {frozenset(chosen(study, seed=seed)[1]) for seed in range(12)}
    assert len(drawn) > 2
    learners, judges = chosen(study, seed=3)
    assert (learners, judges) == tuple(chosen(study, seed=3))
    assert len(judges) == 2  # a quarter of five, rounded up
    assert not learners & judges
    correct(study, "ball5")
    ids = frozenset(store.find_case(study, name).id for name in judges)
    assert chosen(study, seed=8, before=ids)[1] == judges


def test_what_the_parent_learnt_from_cannot_judge_it(study):
    for index in range(3):
        correct(study, f"ball{index}")
    learnt = frozenset(store.find_case(study, f"ball{i}").id for i in (0, 1))
    assert chosen(study, learnt=learnt)[1] == {"ball2"}
    with pytest.raises(UserError, match="has learnt from case 'ball0'"):
        chosen(study, learnt=learnt, hold_out=("ball0",))


def test_a_patient_is_not_on_both_sides(study):
    for index in range(4):
        correct(study, f"ball{index}")
    together = r"^(ball)[01]"  # two cases of one patient
    learners, judges = chosen(study, hold_out=("ball0",), patient=together)
    assert learners == {"ball2", "ball3"}
    assert judges == {"ball0"}
    with pytest.raises(UserError, match="name each patient once"):
        chosen(study, cases=("ball1",), hold_out=("ball0",), patient=together)


def test_judges_are_reviewed_to_their_end(study):
    correct(study, "ball0")
    correct(study, "ball1", done=False)
    with pytest.raises(UserError, match="not reviewed to its end"):
        chosen(study, hold_out=("ball1",))
    with pytest.raises(UserError, match="neither a correction"):
        chosen(study, cases=("ball2",))


def test_a_second_readers_mask_is_no_lesson(study):
    case = store.find_case(study, "ball0")
    mask, role = ball(20)[1], store.Role.SECOND
    store.add_correction(study, case.id, mask, annotator="ben", role=role)
    assert store.find_case(study, "ball0").versions == 1
    assert not candidates(study, PATIENT)


def test_a_lesson_counts_only_what_was_reviewed_and_is_known(study):
    touched = np.zeros(SHAPE, np.bool_)
    touched[4:8] = True
    mask = ball(20)[1].copy()
    mask[5, 8, 8] = 9  # a structure that the model does not know
    case = correct(study, "ball0", mask, touched=touched, done=False)
    store.tick_slices(study, case.id, [12], annotator="anna")
    one = candidates(study, PATIENT)[0]
    given, reviewed = lesson(study, one, balls.TABLE)
    assert reviewed is not None
    assert reviewed[4:8].sum() == 4 * SHAPE[1] * SHAPE[2] - 1
    assert reviewed[12].all()
    assert not reviewed[[0, 9, 15]].any()
    assert given.max() <= 2


def test_the_outlook_counts_what_a_run_would_learn_from(parent, study):
    touched = np.zeros(SHAPE, np.bool_)
    touched[4:10] = True
    correct(study, "ball0", touched=touched, done=False)
    correct(study, "ball1")
    found = outlook(study, job_of(study))
    assert [(one.name, one.voxels, one.whole) for one in found.learn] == [
        ("ball0", touched.sum(), False)
    ]
    assert [one.name for one in found.hold_out] == ["ball1"]
    assert not (study.folder / "training").exists()


# Runs


def reviewed(project, count=4, mask=None):
    for index in range(count):
        correct(project, f"ball{index}", None if mask is None else mask(index))


@pytest.mark.slow
def test_a_child_is_kept_as_a_version_and_the_way_back_is_one_step(parent, study):
    reviewed(study)
    signs = []
    settings = ("finetuning.batch=1", "finetuning.overall_tolerance=0.01")
    job = job_of(study, settings=settings)  # four steps are few
    done = run(iter_finetune(job), signs.append)
    assert done.outcome == "kept", done.verdict["sentence"]
    assert done.model == "balls@1.0.0+ft1"

    child = find_model("balls")
    assert child.name == done.model
    assert child.card.parent == f"balls@1.0.0#{parent.card.sha256}"
    assert child.card.calibration is None
    told = child.card.finetuning
    assert told["project"] == study.manifest.id
    assert told["cases"] == 3
    assert told["verdict"]["kept"] is True
    assert child.card.sha256 != parent.card.sha256
    assert find_model("balls@1.0.0").card == parent.card  # nothing is overwritten
    mine = [one for one in tree_of(list_models()) if one.model.card.id == "balls"]
    assert [one.depth for one in mine] == [0, 1]

    live = [one for one in signs if isinstance(one, Learning)]
    assert live[-1].step == 4
    assert live[-1].scores.keys() == {"front", "back", "score"}
    assert any(one.loss for one in live)

    noted = store.training_runs(study)[0]
    assert noted.state == "kept"
    assert noted.result["sha256"] == child.card.sha256
    last = list(store.audit(study))[-1]
    assert (last.action, last.who, last.seed) == ("kept", "anna", 0)
    assert last.details["verdict"] == done.verdict["sentence"]
    for who in ("parent", "child"):
        assert (done.run / "held-out" / f"{done.held_out[0]}-{who}.nii.gz").is_file()

    before, now = roll_back("balls")
    assert (before.name, now.name) == (done.model, "balls@1.0.0")
    assert find_model("balls").name == "balls@1.0.0"
    assert find_model(done.model).card == child.card


def inverted(index):
    return np.where(ball(20 + index)[1] == 0, 1, 0).astype(np.uint8)


def shifted(index):
    return np.roll(ball(20 + index)[1], 4, axis=2)


@pytest.mark.slow
@pytest.mark.parametrize("poison", [inverted, shifted])
def test_poisoned_corrections_are_refused(parent, study, poison):
    reviewed(study, 3, poison)
    correct(study, "ball4")  # the judge is a true one
    settings = ("length.steps=50", "finetuning.rate=1.0", "finetuning.anchor=0")
    job = job_of(study, hold_out=("ball4",), settings=settings)
    done = run(iter_finetune(job))
    assert done.outcome == "refused"
    for one in done.verdict["classes"]:
        assert one["parent"] > 0.6
    assert "refused: worse than the tolerance of 0.01 Dice" in done.verdict["sentence"]
    assert find_model("balls").card == parent.card
    assert [one.card.version for one in list_models() if one.card.id == "balls"] == [
        "1.0.0"
    ]
    assert (done.path / "card.json").is_file()  # it is kept in the run's folder
    assert store.training_runs(study)[0].state == "refused"


@pytest.mark.slow
def test_the_anchor_keeps_a_child_near_its_parent(parent, study):
    from diffseg.models import load_weights

    reviewed(study)
    first = load_weights(parent)

    def apart(anchor):
        settings = ("length.steps=12", "finetuning.rate=1.0", "optimiser.ema=0.0")
        more = (*settings, f"finetuning.anchor={anchor}")
        done = run(iter_finetune(job_of(study, settings=more, model="balls@1.0.0")))
        child = json.loads((done.path / "card.json").read_text())
        assert child["finetuning"]["anchor"] == anchor
        from safetensors.torch import load_file

        found = load_file(done.path / "model.safetensors")
        return sum(float((found[k].float() - first[k]).square().sum()) for k in first)

    assert apart(1000.0) < 0.5 * apart(0.0)


@pytest.mark.slow
def test_cancelled_then_resumed_the_run_ends_as_if_it_had_not_been(parent, study):
    reviewed(study)
    work = iter_finetune(job_of(study, settings=("length.steps=8",)))
    for sign in work:
        if isinstance(sign, Learning) and sign.scores:
            break
    work.close()
    noted = store.training_runs(study)[0]
    assert noted.state == "cancelled"
    assert find_model("balls").card == parent.card
    folder = run_folder(study, noted.id)
    assert json.loads((folder / "state" / "state.json").read_text())["step"] == 4

    done = run(iter_finetune(job_of(study, model="", resume=True)))
    assert (done.run_id, done.steps) == (noted.id, 8)
    assert [row["step"] for row in read_log(folder / "log.jsonl")] == [4, 5, 8]
    actions = [one.action for one in store.audit(study)][-4:]
    assert actions == ["train", "cancelled", "resume", done.outcome]
    with pytest.raises(UserError, match="no fine-tuning"):
        run(iter_finetune(job_of(study, model="", resume=True)))


def test_a_run_whose_process_was_killed_is_told_to_be_broken_off(study):
    settings = {"job": {}, "host": study.journal_folder.name}
    facts = {"model": ("balls", "1.0.0", "00"), "annotator": "anna"}
    one = store.begin_run(study, settings=settings, cases=(), **facts)
    folder = run_folder(study, one.id)
    assert not is_broken_off(
        study, one
    )  # of what it was to learn from, nothing is there
    folder.mkdir(parents=True)
    (folder / "data.json").write_text("{}")
    assert is_broken_off(study, one)
    with alone_in(folder):
        assert not is_broken_off(study, one)
    far = store.begin_run(study, settings={**settings, "host": "x"}, cases=(), **facts)
    (run_folder(study, far.id)).mkdir()
    (run_folder(study, far.id) / "data.json").write_text("{}")
    assert not is_broken_off(study, far)
    assert not is_broken_off(study, store.end_run(study, one.id, "refused", {}))


@pytest.mark.slow
def test_partly_reviewed_cases_and_base_data_are_learnt_from(parent, study, tmp_path):
    touched = np.zeros(SHAPE, np.bool_)
    touched[4:10] = True
    correct(study, "ball0", touched=touched, done=False)
    correct(study, "ball1")
    base = tmp_path / "base"
    base.mkdir()
    image, mask = store.find_case(study, "ball2").paths[0], tmp_path / "m.nii.gz"
    shutil.copy(image, base / "a.nii.gz")
    import nibabel as nib

    nib.save(nib.Nifti1Image(ball(22)[1].T, np.eye(4)), mask)
    shutil.copy(mask, base / "a_mask.nii.gz")
    (base / "classes.json").write_text('{"2": "front", "1": "back"}')
    (base / "manifest.csv").write_text(
        "case,group,split,image,mask,labels\n"
        "a,a,train,a.nii.gz,a_mask.nii.gz,front;back\n"
    )
    done = run(iter_finetune(job_of(study, replay=str(base))))
    assert done.voxels == touched.sum()
    card = json.loads((done.path / "card.json").read_text())
    assert card["finetuning"]["replay"] is True
    assert card["finetuning"]["anchor"] == 0  # the base data are the anchor


@pytest.mark.slow
def test_a_run_that_fails_leaves_models_and_says_why(parent, study):
    reviewed(study)
    broken = ("optimiser.learning_rate=1e30", "optimiser.not_finite=2")
    job = job_of(study, settings=(*broken, "length.steps=40"))
    with pytest.raises(UserError):
        run(iter_finetune(job))
    assert store.training_runs(study)[0].state == "failed"
    assert find_model("balls").card == parent.card
