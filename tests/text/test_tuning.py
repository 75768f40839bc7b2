"""A model of words learns from a project, through the gate of any fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from beside import beside
from skimage.io import imread
from typer.testing import CliRunner

from diffseg.domain import Label, LabelTable
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.models import ModelFolder, add_model, find_model, load_weights, roll_back
from diffseg.progress import run
from diffseg.project import store
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.cache_files import load_cache
from diffseg_training.cli.finetune import finetune
from diffseg_training.finetuning.begun import run_folder
from diffseg_training.finetuning.gathering import Candidate
from diffseg_training.finetuning.job import Finetuned, FinetuneJob
from diffseg_training.finetuning.labelling import known_to, taught_with_labels
from diffseg_training.finetuning.outlook import outlook
from diffseg_training.finetuning.recipe import write_recipe
from diffseg_training.finetuning.run import iter_finetune
from diffseg_training.learning import Learning
from napari_diffseg.presenters.train_outlook import in_words, iter_prospect

pytestmark = pytest.mark.usefixtures("home")


tiny, pictures = beside(__file__, "tiny_diclip"), beside(__file__, "tiny_pictures")
WORDS = """\
templates: ["{}", "a {}", "a brain mri with a {}"]
classes: {lesion: [lesion], hair: [hair]}
background: [healthy brain, normal brain, head]
"""
TABLE = LabelTable(
    labels=(
        Label(name="lesion", value=1, color="#112233"),
        Label(name="hair", value=2, color="#445566"),
    )
)
SHOWN = ("lesion", "hair", "", "lesion;hair")
TINY = (
    "objective.cache={clusters: 2, background_clusters: 2}",
    "objective.adapter.prompts=3",
    "objective.head={width: 16, depth: 1, heads: 2}",
    "length.steps=6",
    "length.validations=2",
    "optimiser.batch=2",
    "loading.workers=0",
)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tiny.write_backbones(tmp_path_factory.mktemp("backbones"))
    # Words that are like some patch of a CLIP of random numbers.
    tiny.write_words(folder, WORDS)
    return folder


@pytest.fixture
def words(backbones: Path, tmp_path: Path) -> ModelFolder:
    """A model that has learnt nothing, among the user's."""
    made = tiny.made_model(backbones, tmp_path / "model", refinement=["affinity"])
    return add_model(made.path, "words")


@pytest.fixture
def study(tmp_path: Path) -> Iterator[store.Project]:
    """Eight pictures: four reviewed, two of which something is said, two of nothing."""
    root = pictures.write_pictures(
        tmp_path / "images", SHOWN, each=2, masks=True
    )  # fmt: skip
    folder = tmp_path / "study"
    with store.create_project(folder, labels=TABLE, annotator="anna") as made:
        for number in range(8):
            store.add_case(
                made, root / f"{number}.png", annotator="anna", name=f"p{number}"
            )
        for number in range(4):
            reviewed(made, number)
        for number in (4, 5):
            for name in ("lesion", "hair"):
                shown = "present" if name in SHOWN[number % 4] else "absent"
                say(made, number, name, shown)
        yield made


def truth(project: store.Project, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    file = project.folder.parent / "images" / f"{number}_mask.png"
    return np.asarray(imread(file), np.uint8)[None]


def reviewed(
    project: store.Project, number: int, *, touched: Any = None, done: bool = True
) -> None:
    case = store.find_case(project, f"p{number}")
    mask = truth(project, number)
    store.add_correction(project, case.id, mask, annotator="anna", touched=touched)
    if done:
        store.set_review(project, case.id, store.State.DONE, reviewer="anna")


def say(project: store.Project, number: int, name: str, shown: str) -> None:
    from diffseg.domain import Presence

    case = store.find_case(project, f"p{number}")
    store.set_label(project, case.id, name, Presence(shown), annotator="anna")


def job_of(project: store.Project, **given: Any) -> FinetuneJob:
    settings = (*TINY, *given.pop("settings", ()))
    told = {"project": str(project.folder), "model": "words", "annotator": "anna"}
    return FinetuneJob(**{**told, "settings": settings, "device": "cpu", **given})


def tuned(project: store.Project, **given: Any) -> Finetuned:
    return run(iter_finetune(job_of(project, **given)))


KEPT: dict[str, Any] = {"tolerance": 0.99, "overall_tolerance": 0.99}


# What a case teaches


def test_cases_of_which_something_is_said_teach_beside_reviewed_ones(
    words: ModelFolder, study: store.Project, tmp_path: Path
) -> None:
    recipe = write_recipe(words, job_of(study), tmp_path)
    known = known_to(study, job_of(study).patient, recipe)
    assert [one.case.name for one in known] == [f"p{number}" for number in range(6)]
    assert [one.whole for one in known] == [True] * 4 + [False] * 2
    found = taught_with_labels(study, known[4], TABLE)
    assert (found.voxels, found.slices) == (0, 1)
    assert found.states is not None
    assert found.states.tolist() == [[PRESENT, ABSENT]]
    flagged = store.find_case(study, "p4")
    store.set_review(study, flagged.id, store.State.FLAGGED, reviewer="anna")
    left = known_to(study, job_of(study).patient, recipe)
    assert "p4" not in [one.case.name for one in left]


def test_what_was_drawn_tells_of_slices_and_is_believed_over_words(
    words: ModelFolder, study: store.Project
) -> None:
    def states(number: int) -> list[list[int]]:
        case = store.find_case(study, f"p{number}")
        newest = store.newest_correction(study, case.id)
        one = Candidate(case, newest, None, "g", False)
        found = taught_with_labels(study, one, TABLE)
        assert found.states is not None
        return [[int(one) for one in row] for row in found.states]

    assert states(0) == [[PRESENT, ABSENT]]
    assert states(3) == [[PRESENT, PRESENT]]
    say(study, 0, "lesion", "absent")
    assert states(0) == [[PRESENT, ABSENT]]
    # Of half an image a structure that was not drawn there may be elsewhere.
    half = np.zeros((1, 40, 40), np.bool_)
    half[:, :, :1] = True
    reviewed(study, 6, touched=half, done=False)
    assert states(6) == [[UNKNOWN, UNKNOWN]]
    say(study, 6, "hair", "absent")
    assert states(6) == [[UNKNOWN, ABSENT]]


# The command


@pytest.mark.slow
def test_the_command_gives_a_model_its_first_head(
    words: ModelFolder, study: store.Project
) -> None:
    app = typer.Typer()
    app.command()(finetune)
    options = [part for one in TINY for part in ("--set", one)]
    given = [str(study.folder), "--model", "words", "--device", "cpu", *options]
    gate = ["--tolerance", "0.99", "--overall-tolerance", "0.99"]
    said = CliRunner().invoke(app, [*given, *gate, "--annotator", "anna", "--json"])
    assert said.exit_code == 0, said.exception
    told = json.loads(said.stdout)
    assert (told["outcome"], told["model"]) == ("kept", "words@1.0+ft1")
    assert len(told["held_out"]) == 1
    assert len(told["learnt"]) == 5
    assert told["voxels"] == 3 * 40 * 40
    child = find_model("words")
    assert child.card.version == "1.0+ft1"
    network = child.card.network
    assert (network["answer"], network["cache"]) == ("head", True)
    assert network["words"] == words.card.network["words"]
    facts = child.card.finetuning
    assert facts is not None
    assert (facts["cases"], facts["labelled"], facts["blend"]) == (5, 2, 1.0)
    assert "corrections of 3 cases and image-level labels of 2 more" in child.card.data
    assert child.card.labels == words.card.labels
    # What it learnt from is not told by name.
    assert not any(f"p{number}" in (child.path / "card.json").read_text()
                   for number in range(8))  # fmt: skip
    cache = load_cache(child.path / "cache")
    kinds = {one.origin for key in cache.images for one in key}
    assert kinds == {"labelled", "correction"}
    ids = {one.id.partition(":")[0] for key in cache.images for one in key}
    assert ids <= set(told["learnt"])
    assert not (run_folder(study, told["run_id"]) / "features").exists()
    # It is a version as any other: it proposes, and there is a way back.
    found = load_segmenter(child.path, "cpu")
    assert isinstance(found, Diclip)
    assert found.propose(tiny.request()).probability.shape == (2, 1, 40, 56)
    roll_back("words")
    assert find_model("words").card == words.card


@pytest.mark.slow
def test_a_second_run_goes_on_from_the_first_one_s_head(
    words: ModelFolder, study: store.Project
) -> None:
    first = tuned(study, **KEPT)
    reviewed(study, 7)
    parent = find_model("words")
    second = tuned(study, settings=("length.steps=1",), **KEPT)
    assert second.parent == first.model == "words@1.0+ft1"
    assert second.model == "words@1.0+ft2"
    assert set(first.held_out) < set(second.held_out)  # who judged judges again
    assert not set(second.held_out) & set(first.learnt)
    child = find_model("words")
    assert child.card.network["adapter"] == parent.card.network["adapter"]
    before, after = load_weights(parent), load_weights(child)
    assert before.keys() == after.keys()
    # One step away, and not begun anew.
    apart = [float((before[k] - after[k]).abs().max()) for k in before]
    assert 0 < max(apart) < 0.02
    assert child.card.finetuning is not None
    assert child.card.finetuning["labelled"] == 2


@pytest.mark.slow
def test_a_child_that_is_worse_is_refused(
    words: ModelFolder, study: store.Project
) -> None:
    # Whoever accepted what the model itself proposed cannot be pleased better.
    case = store.find_case(study, "p3")
    proposed = load_segmenter(words.path, "cpu").propose(
        tiny.request(store.open_source(case))
    )
    mask = np.asarray(proposed.mask, np.uint8)
    store.add_correction(study, case.id, mask, annotator="anna")
    done = tuned(study, hold_out=("p3",))
    assert done.outcome == "refused"
    assert done.verdict["sentence"].startswith("refused: ")
    assert find_model("words").card == words.card
    assert (done.path / "card.json").is_file()
    assert store.training_runs(study)[0].state == "refused"


@pytest.mark.slow
def test_a_run_that_was_left_goes_on(words: ModelFolder, study: store.Project) -> None:
    work = iter_finetune(job_of(study))
    for sign in work:
        if isinstance(sign, Learning) and sign.stage == "validate":
            break
    work.close()
    noted = store.training_runs(study)[0]
    assert noted.state == "cancelled"
    assert find_model("words").card == words.card
    taught = run_folder(study, noted.id) / "taught" / "model" / "card.json"
    stamp = taught.stat().st_mtime_ns
    done = run(iter_finetune(job_of(study, model="", resume=True)))
    assert (done.run_id, done.steps) == (noted.id, 6)
    assert taught.stat().st_mtime_ns == stamp


# What is refused


def test_a_project_without_a_judge_is_refused(
    words: ModelFolder, tmp_path: Path
) -> None:
    root = pictures.write_pictures(tmp_path / "images", each=1, masks=True)
    with store.create_project(
        tmp_path / "study", labels=TABLE, annotator="anna"
    ) as made:
        store.add_case(made, root / "0.png", annotator="anna", name="p0")
        with pytest.raises(UserError, match="no case of the project is corrected"):
            tuned(made)
        say(made, 0, "lesion", "present")
        with pytest.raises(UserError, match="no held-out case to judge by"):
            tuned(made)
        assert not list((made.folder / "training").glob("*"))


@pytest.mark.parametrize(
    ("learn", "told"),
    [
        (("p4",), "what would be learnt from: hair is present in no slice"),
        (("p2",), "lesion is present in no slice"),
        (("p6",), "nothing is known of any slice of these cases"),
    ],
)
def test_labels_that_show_nothing_are_refused_in_one_line(
    words: ModelFolder, study: store.Project, learn: tuple[str, ...], told: str
) -> None:
    reviewed(study, 6, touched=np.zeros((1, 40, 40), np.bool_), done=False)
    given = job_of(study, cases=learn, hold_out=("p3",))
    with pytest.raises(UserError, match=told) as caught:
        run(iter_finetune(given))
    assert "\n" not in str(caught.value)
    assert not list((study.folder / "training").glob("*"))
    if learn != ("p6",):  # nothing to learn from is no line of the outlook, but a list
        with pytest.raises(UserError, match=told):
            outlook(study, given)


def test_what_does_not_fit_is_refused(words: ModelFolder, study: store.Project) -> None:
    with pytest.raises(UserError, match="leave out --replay") as caught:
        tuned(study, replay="base")
    assert caught.value.option == "--replay"
    with pytest.raises(UserError, match="makes no model of the method diclip"):
        tuned(study, recipe="hippocampus-mri")


def test_a_text_to_image_model_that_is_gone_is_told(
    words: ModelFolder, study: store.Project
) -> None:
    import shutil

    shutil.rmtree(words.path / "diffusion")
    with pytest.raises(UserError, match="diffusion"):
        tuned(study)


# The outlook, and what is learnt


def test_the_window_is_told_of_voxels_and_of_labels(
    words: ModelFolder, study: store.Project
) -> None:
    found = run(iter_prospect(job_of(study)))
    assert found.refused == ""
    assert in_words(found.cases) == (
        "learns from 5 cases, 4,800 reviewed voxels and labels of 2 slices; judged by "
        "1 held out"
    )
    refused = run(iter_prospect(job_of(study, cases=("p4",), hold_out=("p3",))))
    assert refused.refused.startswith("what would be learnt from: hair is present in")


def test_the_outlook_counts_voxels_and_slices(
    words: ModelFolder, study: store.Project
) -> None:
    found = outlook(study, job_of(study))
    assert len(found.hold_out) == 1
    drawn = [one for one in found.learn if one.voxels]
    said = [one for one in found.learn if not one.voxels]
    assert [one.voxels for one in drawn] == [1600] * 3
    assert [(one.name, one.slices) for one in said] == [("p4", 1), ("p5", 1)]


def test_what_was_drawn_takes_the_place_of_a_pseudo_mask() -> None:
    from diffseg.segmenters.text.pseudo_masks import IGNORE
    from diffseg_training.text.drawn import Overlap, drawn_of, laid_over

    pseudo = torch.tensor([[[1, 1], [2, IGNORE]]])
    classes = torch.tensor([[[0, 2], [1, 1]]])
    known = torch.tensor([[[True, False], [False, True]]])
    drawn = drawn_of(classes, known)
    assert laid_over(pseudo, drawn).tolist() == [[[0, 1], [2, 1]]]
    assert torch.equal(laid_over(pseudo, None), pseudo)
    assert drawn_of(torch.zeros(2, 0, dtype=torch.int64), None) is None
    # Of two known pixels one is found rightly, and one is missed.
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1] = torch.tensor([[9.0, 9.0], [9.0, -9.0]])
    overlap = Overlap(("lesion", "hair"))
    assert drawn is not None
    overlap.add(logits, drawn)
    assert overlap.scores() == {"lesion": 0.0, "hair": 1.0, "score": 0.5}


def test_a_case_s_drawing_is_changed_with_its_image() -> None:
    from diffseg.domain.slice_labels import SliceLabels
    from diffseg_training.labelled import LabelledExample
    from diffseg_training.recipe import load_recipe
    from diffseg_training.slice_draws import SliceDraws

    given = ["patch=[40, 40]", "preparation.size=[40, 40]"]
    recipe = load_recipe("lgg-diclip", given)
    classes = torch.zeros(1, 40, 40, dtype=torch.uint8)
    classes[:, 5:20, 3:11] = 1
    said = SliceLabels(("tumour",), np.array([[PRESENT]], np.uint8))
    one = LabelledExample("a", "a", classes[None].float(), said, classes=classes)
    draws = SliceDraws(recipe, [one])
    flipped = set()
    for position in range(8):
        sample = draws.sample(position)
        assert torch.equal(sample.image[0].round().long(), sample.classes)
        flipped.add(bool(sample.classes[:, :20].any()))
    assert flipped == {True, False}
    plain = SliceDraws(recipe, [replace(one, classes=None)])
    assert plain.sample(0).classes.numel() == 0
    # A slice of which nothing is known is shown where some of it was reviewed.
    unknown = SliceLabels(("tumour",), np.array([[UNKNOWN]], np.uint8))
    touched = torch.full((1, 40, 40), 128, dtype=torch.uint8)
    touched[0, 0, 0] = 0
    other = replace(one, case="b", labels=unknown, classes=touched)
    draws = SliceDraws(recipe, [one, other])
    assert {draws.sample(at).case for at in range(20)} == {"a", "b"}
    none = replace(other, classes=torch.full_like(touched, 128))
    draws = SliceDraws(recipe, [one, none])
    assert {draws.sample(at).case for at in range(20)} == {"a"}


@pytest.mark.parametrize("planes", [1, 3])
def test_a_slice_is_in_a_cache_by_what_was_drawn_or_by_its_labels(
    words: ModelFolder, planes: int
) -> None:
    from diffseg.domain.slice_labels import SliceLabels
    from diffseg_training.labelled import LabelledExample
    from diffseg_training.text.tuning import slices_for_cache

    states = np.array([[PRESENT, ABSENT]] * planes, np.uint8)
    said = SliceLabels(("lesion", "hair"), states)
    image = torch.rand(3, planes, 40, 40)
    marked = torch.full((planes, 40, 40), 128, dtype=torch.uint8)
    drawn = marked.clone()
    drawn[0] = 0
    drawn[0, 4:20, 4:20] = 1
    examples = [
        LabelledExample("a", "a", image, said, classes=drawn),
        LabelledExample("b", "b", image, said, classes=marked),
    ]
    labelled, corrected = slices_for_cache(words.card, examples, None)
    assert [one.origin.id for one in corrected] == ["a:0"]
    assert corrected[0].known is None
    if planes == 1:
        assert [one.origin.id for one in labelled] == ["b"]
    else:
        wanted = ["a:1", "a:2", "b:0", "b:1", "b:2"]
        assert [one.origin.id for one in labelled] == wanted
