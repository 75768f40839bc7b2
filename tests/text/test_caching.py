"""Caches of a model: from labelled images, drawn ones, and a person's corrections."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from beside import beside
from numpy.typing import NDArray

from diffseg.cli import main
from diffseg.domain import Label, LabelTable
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.models import ModelFolder
from diffseg.models.folder import read_folder
from diffseg.progress import run
from diffseg.project import store
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache
from diffseg.segmenters.text.cache_files import load_cache
from diffseg.segmenters.text.cache_looking import CacheLooker, CacheSlice
from diffseg.segmenters.text.cached_model import write_cached
from diffseg_training.settings.diclip import Caching
from diffseg_training.text.caching import CacheJob, iter_cache, iter_cached_model

pytestmark = pytest.mark.usefixtures("home")

Captured = pytest.CaptureFixture[str]


tiny, pictures = beside(__file__, "tiny_diclip"), beside(__file__, "tiny_pictures")


@pytest.fixture
def source(backbones: Path, tmp_path: Path) -> ModelFolder:
    model: ModelFolder = tiny.made_model(
        backbones, tmp_path / "model", refinement=["affinity"]
    )
    return model


def loaded(folder: ModelFolder) -> Diclip:
    found = load_segmenter(folder.path, "cpu")
    assert isinstance(found, Diclip)
    return found


def cache_in(folder: ModelFolder | Path) -> KeyValueCache:
    path = folder if isinstance(folder, Path) else folder.path
    return load_cache(path / "cache")


def picture(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((3, 40, 40), np.float32)


def of_states(name: str, *states: int, seed: int = 0) -> CacheSlice:
    import torch

    shown = torch.from_numpy(picture(seed))
    return CacheSlice(
        shown, CachedImage(name, "labelled"), states=np.array(states, np.uint8)
    )


# What a slice gives


def looked(model: Diclip, one: CacheSlice) -> tuple[list[int], NDArray[np.float32]]:
    looker = CacheLooker(model.network, ("lesion", "hair"), model.store)
    work = looker.means(one)
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value.classes.tolist(), stop.value.features


def test_labels_alone_give_means_of_what_is_present(source: ModelFolder) -> None:
    model = loaded(source)
    both, _ = looked(model, of_states("a", PRESENT, ABSENT))
    assert both == [0, 1]
    none, features = looked(model, of_states("b", ABSENT, ABSENT))
    assert none == [0]
    # Of a slice without any class the background is the mean of all its patches.
    work = CacheLooker(model.network, ("lesion", "hair"), model.store)
    seen = None
    looking = work._looker.look(of_states("b", ABSENT, ABSENT).image, work._noise)
    while seen is None:
        try:
            next(looking)
        except StopIteration as stop:
            seen = stop.value
    unit = seen.patches[0] / seen.patches[0].norm(dim=1, keepdim=True)
    np.testing.assert_allclose(features[0], unit.mean(0).numpy(), atol=1e-5)


def test_an_unknown_class_may_be_in_the_background_which_is_left_out(
    source: ModelFolder,
) -> None:
    found, _ = looked(loaded(source), of_states("a", PRESENT, UNKNOWN))
    assert found == [1]


def test_a_mask_is_taken_as_it_is_and_what_was_not_reviewed_is_not(
    source: ModelFolder,
) -> None:
    import torch

    model = loaded(source)
    classes = np.zeros((40, 40), np.uint8)
    classes[:16, :16] = 2
    classes[24:, 24:] = 1
    known = np.zeros((40, 40), bool)
    known[:, :20] = True
    image = torch.from_numpy(picture())
    origin = CachedImage("c", "correction")
    whole, _ = looked(model, CacheSlice(image, origin, classes=classes))
    assert whole == [0, 1, 2]
    part, _ = looked(model, CacheSlice(image, origin, classes=classes, known=known))
    assert part == [0, 2]


# Whole caches


def test_a_data_set_of_labels_becomes_a_cache_and_no_mask_is_read(
    source: ModelFolder, tmp_path: Path, capsys: Captured
) -> None:
    data = pictures.write_pictures(tmp_path / "data")
    out = tmp_path / "cached"
    asked = ["models", "cache", str(source.path), "--id", "cached", "--data", str(data)]
    assert main([*asked, "--clusters", "2", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == {"labelled": 6, "generated": 0, "correction": 0}
    assert told["keys"]["lesion"] == told["keys"]["hair"] == 2
    assert told["keys"]["background"] > 0
    cache = cache_in(out)
    train = {str(number) for number in range(6)}
    assert {one.id for group in cache.images for one in group} <= train
    # Each shows in the window what it is.
    named = {one.thumbnail for group in cache.images for one in group}
    assert named == set(cache.pictures)
    assert "" not in named
    made = read_folder(out)
    assert made.card.parent is not None
    assert made.card.parent.startswith("tiny@")
    with_it, without = (
        loaded(one).propose(tiny.request(text="lesion")) for one in (made, source)
    )
    assert not np.array_equal(with_it.probability, without.probability)
    assert main(["models", "verify", str(out)]) == 0


@pytest.mark.parametrize("drawn", [False, True])
def test_of_a_class_without_keys_words_go_on_telling(
    source: ModelFolder, tmp_path: Path, capsys: Captured, drawn: bool
) -> None:
    data = pictures.write_pictures(tmp_path / "data")
    out = tmp_path / "cached"
    asked = ["models", "cache", str(source.path), "--id", "cached"]
    given = ["--generate", "2", "--drawing-steps", "2"] if drawn else ["--data", data]
    asked += [*map(str, given), "--classes", "lesion", "--out", str(out), "--json"]
    assert main(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["keys"]["hair"] == 0
    assert told["keys"]["lesion"] > 0
    # Images that show hair alone are no background of lesions.
    assert told["images"] == {"labelled": 4 * (not drawn), "generated": 2 * drawn,
                              "correction": 0}  # fmt: skip
    lesion, hair = (
        [loaded(one).propose(tiny.request(text=text)).probability for one in
         (source, read_folder(out))]
        for text in ("lesion", "hair")
    )  # fmt: skip
    assert not np.array_equal(*lesion)
    np.testing.assert_array_equal(*hair)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--classes", "lesion,nail"], "'nail' is no class of the model"),
        (["--classes", "hair", "--weighting", "softmax"], "weighting softmax"),
    ],
)
def test_classes_that_cannot_be_cached_alone_are_one_line(
    source: ModelFolder, tmp_path: Path, capsys: Captured, more: list[str], told: str
) -> None:
    data = pictures.write_pictures(tmp_path / "data")
    asked = ["models", "cache", str(source.path), "--id", "cached", "--data", str(data)]
    assert main([*asked, *more, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told in said


def test_of_a_correction_only_the_cached_class_counts(source: ModelFolder) -> None:
    import torch

    classes = np.zeros((40, 40), np.uint8)
    classes[:16, :16], classes[24:, 24:] = 1, 2
    image = torch.from_numpy(picture())
    one = CacheSlice(image, CachedImage("a", "correction"), classes=classes)
    cache, _ = run(iter_cache(loaded(source), Caching(classes=("hair",)), (), [one]))
    assert cache.classes.tolist() == [0, 2]
    every, _ = run(iter_cache(loaded(source), Caching(), (), [one]))
    # What shows the other class is no background, either.
    np.testing.assert_array_equal(cache.keys, every.keys[[0, 2]])


def test_it_is_added_among_the_models(
    source: ModelFolder, tmp_path: Path, capsys: Captured
) -> None:
    data = pictures.write_pictures(tmp_path / "data")
    asked = ["models", "cache", str(source.path), "--id", "words", "--data", str(data)]
    assert main(asked) == 0
    assert "words@1.0 has a cache" in capsys.readouterr().out
    assert main(["models", "show", "words"]) == 0


def test_the_text_to_image_model_draws_what_there_are_no_images_of(
    source: ModelFolder, tmp_path: Path
) -> None:
    how = Caching(generated=2, drawing_steps=2, clusters=None, background_clusters=None)
    job = CacheJob(how)
    made, told = run(iter_cached_model(source, job, tmp_path / "m", "drawn", "cpu"))
    cache = cache_in(made)
    assert told["images"]["generated"] == 4
    assert {one.origin for group in cache.images for one in group} == {"generated"}
    names = {one.id for group in cache.images for one in group}
    assert any(name.startswith("an image of lesion #0.") for name in names)
    again, _ = run(iter_cached_model(source, job, tmp_path / "n", "drawn", "cpu"))
    np.testing.assert_array_equal(cache.keys, cache_in(again).keys)


def test_a_class_without_an_image_is_refused_and_nothing_is_left(
    source: ModelFolder, tmp_path: Path, capsys: Captured
) -> None:
    data = pictures.write_pictures(tmp_path / "data", ("lesion", ""))
    out = tmp_path / "cached"
    asked = ["models", "cache", str(source.path), "--id", "cached", "--data", str(data)]
    assert main([*asked, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "no image shows hair" in told
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "home", "model"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "nothing is given to build the cache from"),
        (["--generate", "-1"], "--generate is -1"),
        (["--data", "/nowhere"], "dataset /nowhere does not exist"),
        (["--generate", "1", "--weighting", "mean"], "--weighting is 'mean'"),
        (["--data", "DATA", "--clusters", "0"], "--clusters is 0"),
        (["--project", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_status_2(
    source: ModelFolder, tmp_path: Path, capsys: Captured, more: list[str], told: str
) -> None:
    asked = ["models", "cache", str(source.path), "--id", "cached", *more]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told in said
    assert not (tmp_path / "out").exists()


def test_other_methods_and_trained_answers_take_no_cache(
    source: ModelFolder, backbones: Path, tmp_path: Path, capsys: Captured
) -> None:
    asked = ["models", "cache", "lesion-dermoscopy", "--id", "c", "--generate", "1"]
    assert main(asked) == 2
    assert "is of the method" in capsys.readouterr().err


def test_a_class_that_waits_for_words_has_no_cache(
    backbones: Path, tmp_path: Path
) -> None:
    labels = ("lesion", "object")
    mute = tiny.made_model(backbones, tmp_path / "mute", labels=labels)
    with pytest.raises(UserError, match="'object' has no words of its own"):
        CacheLooker(loaded(mute).network, labels, loaded(mute).store)


# Corrections


def annotated(folder: Path, shift: int = 0) -> store.Project:
    """A project of two photos, one of which is corrected."""
    from skimage.io import imsave

    project = store.create_project(
        folder / "study", labels=tiny_table(), annotator="anna"
    )
    for number in range(2):
        path = folder / f"photo{number}.png"
        values = (picture(number).transpose(1, 2, 0) * 255).astype(np.uint8)
        imsave(path, values)
        store.add_case(project, path, annotator="anna", name=f"photo{number}")
    corrected(project, shift)
    return project


def tiny_table() -> LabelTable:
    return LabelTable(
        labels=tuple(
            Label(name=name, value=value, color=color)
            for value, name, color in ((1, "lesion", "#ff0000"), (2, "hair", "#00ff00"))
        )
    )


def corrected(project: store.Project, shift: int, name: str = "photo0") -> None:
    mask = np.zeros((1, 40, 40), np.uint8)
    mask[0, shift : shift + 16, :16] = 1
    mask[0, 24:, 24:] = 2
    case = store.find_case(project, name)
    store.add_correction(project, case.id, mask, annotator="anna")
    store.set_review(project, case.id, store.State.DONE, reviewer="anna")


def grown_by(source: ModelFolder, project: Path, out: Path) -> KeyValueCache:
    job = CacheJob(Caching(), project=project)
    made, _ = run(iter_cached_model(source, job, out, "grown", "cpu"))
    return cache_in(made)


def test_a_cache_grows_with_corrections_which_take_the_place_of_older_ones(
    source: ModelFolder, tmp_path: Path
) -> None:
    data = pictures.write_pictures(tmp_path / "data")
    job = CacheJob(Caching(clusters=2, background_clusters=2), data=data)
    first, _ = run(iter_cached_model(source, job, tmp_path / "first", "a", "cpu"))
    before = cache_in(first)
    with annotated(tmp_path) as project:
        case = store.find_case(project, "photo0").id
        after = grown_by(first, project.folder, tmp_path / "second")
        count = len(before.keys)
        np.testing.assert_array_equal(after.keys[:count], before.keys)
        assert after.classes[count:].tolist() == [0, 1, 2]
        assert {one.id for group in after.images[count:] for one in group} == {
            f"{case}:0"
        }
        corrected(project, 20)
        second = read_folder(tmp_path / "second")
        third = grown_by(second, project.folder, tmp_path / "third")
    assert len(third.keys) == len(after.keys)
    assert not np.array_equal(third.keys[count + 1], after.keys[count + 1])
    np.testing.assert_allclose(third.keys[count + 2], after.keys[count + 2], atol=1e-6)


def test_corrections_alone_make_a_cache_and_those_who_judge_are_left_out(
    source: ModelFolder, tmp_path: Path
) -> None:
    with annotated(tmp_path) as project:
        alone = grown_by(source, project.folder, tmp_path / "alone")
        assert alone.classes.tolist() == [0, 1, 2]
        corrected(project, 4, "photo1")
        held = store.find_case(project, "photo1").id
        settings = {"job": "finetune", "held_out": [held]}
        store.begin_run(
            project, model=("tiny", "1.0", "0" * 64), settings=settings, cases=[],
            annotator="anna",
        )  # fmt: skip
        job = CacheJob(Caching(), project=project.folder)
        made, told = run(iter_cached_model(source, job, tmp_path / "b", "b", "cpu"))
    assert told["held_out"] == 1
    assert cache_in(made).keys_of(f"{held}:0") == ()


def test_a_key_of_several_images_is_not_taken_apart(
    source: ModelFolder, tmp_path: Path
) -> None:
    import torch

    model = loaded(source)
    classes = np.zeros((40, 40), np.uint8)
    classes[:16, :16], classes[24:, 24:] = 1, 2

    def slices(*names: str) -> list[CacheSlice]:
        return [
            CacheSlice(
                torch.from_numpy(picture(seed)),
                CachedImage(name, "correction"),
                classes=classes,
            )
            for seed, name in enumerate(names)
        ]

    how = Caching(clusters=1, background_clusters=1)
    cache, _ = run(iter_cache(model, how, slices("a:0", "b:0")))
    made = write_cached(source, cache, tmp_path / "made", "made")
    with pytest.raises(UserError, match="is the mean of several images"):
        run(iter_cache(loaded(made), how, (), slices("a:0")))
