"""DiCLIP's adapter and head trained on image-level labels, with tiny models."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from beside import beside

from diffseg.cli import main
from diffseg.diffusion import generator
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN
from diffseg.errors import UserError
from diffseg.models import load_weights, text_diffusion
from diffseg.models.folder import read_folder
from diffseg.networks import build_network
from diffseg.networks.cache_adapter import normalised
from diffseg.networks.diclip import DiclipLearner
from diffseg.progress import run
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text import loading
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.segmenters.text.pseudo_masks import IGNORE
from diffseg.segmenters.text.retrieval import memory_of, static_scores
from diffseg_training.recipe import load_recipe
from diffseg_training.run import train_model
from diffseg_training.state import read_log
from diffseg_training.text.teaching import PseudoTeacher

pytestmark = pytest.mark.usefixtures("home")


tiny, pictures = beside(__file__, "tiny_diclip"), beside(__file__, "tiny_pictures")
WORDS = """\
templates: ["{}", "a {}", "a brain mri with a {}"]
classes: {lesion: [lesion], hair: [hair]}
background: [healthy brain, normal brain, head]
"""


def written_recipe(backbones: Path, **objective: Any) -> str:
    """A recipe of few steps, in a file."""
    told: dict[str, Any] = {
        "extends": "lgg-diclip",
        "name": "pictures-diclip",
        "title": "Pictures, by words",
        "patch": [40, 40],
        "preparation": {"channels": ["red", "green", "blue"], "size": [40, 40]},
        "objective": {
            "clip": str(backbones / "clip"),
            "diffusion": str(backbones / "sd"),
            "words": str(backbones / "words.yaml"),
            "options": {
                "side": 40,
                "box_threshold": 0.2,
                "refinement": ["affinity"],
                "similarity": "cosine",
                "streams": "recursive",
            },
            "cache": {"clusters": 2, "background_clusters": 2},
            "adapter": {"prompts": 3},
            "head": {"width": 16, "depth": 1, "heads": 2},
            **objective,
        },
        "optimiser": {"batch": 2, "learning_rate": 2.0e-3, "ema": 0.5},
        "length": {"minutes": 1.0, "steps": 6, "validations": 2, "validation_cases": 3},
        "loading": {"workers": 0},
        "trackers": [],
    }
    file = backbones / f"recipe{len(list(backbones.glob('recipe*')))}.yaml"
    file.write_text(yaml.safe_dump(told))
    return str(file)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tiny.write_backbones(tmp_path_factory.mktemp("backbones"))
    # Words that are like some patch of a CLIP of random numbers.
    tiny.write_words(folder, WORDS)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = pictures.write_pictures(tmp_path_factory.mktemp("data"))
    return folder


@pytest.fixture(scope="module")
def trained(
    backbones: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run to its end, its folder."""
    out = tmp_path_factory.mktemp("run") / "out"
    run(train_model(written_recipe(backbones), str(data), out, device="cpu"))
    return out


def loaded(folder: Path) -> Diclip:
    found = load_segmenter(folder, "cpu")
    assert isinstance(found, Diclip)
    return found


def test_labels_alone_make_a_model_with_adapter_and_head(trained: Path) -> None:
    card = read_folder(trained / "model").card
    network = card.network
    assert (network["answer"], network["cache"]) == ("head", True)
    assert network["adapter"]["keys"] == 6
    assert network["head"]["layers"] == 4
    assert card.metrics["trained_on"] == "image-level labels alone"
    assert card.labels.names == ("lesion", "hair")
    rows = read_log(trained / "log.jsonl")
    scores = [row["validation"] for row in rows if "validation" in row]
    assert len(scores) == 2
    assert all(np.isfinite(one["score"]) for one in scores)


def test_the_head_learns(trained: Path) -> None:
    rows = read_log(trained / "log.jsonl")
    losses = [row["validation"]["loss"] for row in rows if "validation" in row]
    assert losses[-1] < losses[0]


def test_a_head_proposes_where_there_is_no_text_to_image_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = read_folder(trained / "model").card.network
    assert network["diffusion"]["at"].startswith("file:")
    assert not (trained / "model" / "diffusion").exists()

    def forbidden(*given: object) -> None:
        raise AssertionError(f"the text-to-image model was loaded: {given}")

    monkeypatch.setattr(loading, "load_text_diffusion", forbidden)
    found = loaded(trained / "model").propose(tiny.request())
    assert found.probability.shape == (2, 1, 40, 56)
    assert found.probability.max() > 0
    # The same card, answered by maps, would look at it.
    maps = tmp_path / "maps"
    with pytest.raises(AssertionError, match="was loaded"):
        loaded(answering(trained, maps, "maps"))


def answering(trained: Path, target: Path, answer: str) -> Path:
    """A copy of the trained model that answers otherwise."""
    import shutil

    shutil.copytree(trained / "model", target)
    told = json.loads((target / "card.json").read_text())
    told["network"]["answer"] = answer
    (target / "card.json").write_text(json.dumps(told))
    return target


def test_the_adapter_answers_where_maps_are_asked_for(
    trained: Path, tmp_path: Path
) -> None:
    model = loaded(answering(trained, tmp_path / "maps", "maps"))
    found = model.propose(tiny.request(text="lesion"))
    plain = loaded(trained / "cached" / "model").propose(tiny.request(text="lesion"))
    assert not np.array_equal(found.probability, plain.probability)


def test_an_interrupted_run_goes_on_to_the_same_weights(
    trained: Path, backbones: Path, data: Path, tmp_path: Path
) -> None:
    recipe, out = written_recipe(backbones), tmp_path / "out"
    work = train_model(recipe, str(data), out, device="cpu")
    for progress in work:
        if progress.stage == "validate":
            break
    work.close()
    assert not (out / "model").exists()
    stamp = (out / "cached" / "done.json").stat().st_mtime_ns
    run(train_model(recipe, str(data), out, device="cpu", resume=True))
    assert (out / "cached" / "done.json").stat().st_mtime_ns == stamp
    one, other = (
        load_weights(read_folder(folder / "model")) for folder in (out, trained)
    )
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5)


def test_epochs_do_not_look_again(
    backbones: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(written_recipe(backbones))
    assert recipe.augmentation.flip_axes == (1,)
    quiet = recipe.augmentation.model_dump(exclude={"flip_axes", "outside"})
    assert not any(quiet.values())
    out = tmp_path / "out"
    calls: list[str] = []
    before = text_diffusion.load_text_diffusion

    def counting(*given: Any) -> Any:
        model = before(*given)
        tiny.counted(model.unet, "unet", calls)
        return model

    monkeypatch.setattr(loading, "load_text_diffusion", counting)
    more = ["length.steps=24", "length.validations=1", "optimiser.batch=4"]
    run(train_model(written_recipe(backbones), str(data), out, more, device="cpu"))
    # Six pictures, each as it is and flipped, for cache and training; three of val;
    # one of nothing, by which memory is told. Of 96 that were shown.
    assert 0 < len(calls) <= 6 + 12 + 3 + 2


def loss_of(trained: Path, *more: str) -> tuple[Any, DiclipLearner]:
    """The loss of the run's model, and networks that have learnt nothing."""
    from diffseg_training.objectives import make_loss

    given = trained / "cached" / "model"
    told = [f"objective.model={given}", "objective.clip=null", *more]
    torch.manual_seed(0)
    network = build_network("diclip", **fresh(trained))
    assert isinstance(network, DiclipLearner)
    return make_loss(load_recipe("lgg-diclip", told), network), network


def test_the_loss_is_the_weighed_sum_of_its_parts(trained: Path) -> None:
    from diffseg_training.objectives import Batch

    images = torch.stack([image(seed) for seed in range(2)])
    said = torch.tensor([[PRESENT, ABSENT], [PRESENT, PRESENT]])
    batch = Batch(images, said[:, :0], [generator(0, i) for i in range(2)], None, said)
    loss, network = loss_of(trained)
    network.eval()
    total, terms = loss(network, batch)
    assert set(terms) == {"segmentation", "adapter", "affinity"}
    wanted = terms["segmentation"] + 0.1 * terms["adapter"] + 0.1 * terms["affinity"]
    assert float(total.detach()) == pytest.approx(wanted, rel=1e-5)
    total.backward()
    assert all(one.grad is not None for one in network.head.parameters())
    assert all(one.grad is not None for one in network.adapter.parameters())
    plain, network = loss_of(trained, "objective.affinity=0")
    assert set(plain(network, batch)[1]) == {"segmentation", "adapter"}
    # Alone or in a batch, an image has the same mask: the mean over pixels of two.
    for pseudo in ("static", "dynamic"):
        either, network = loss_of(
            trained, f"objective.pseudo={pseudo}", "objective.balanced=false"
        )
        network.eval()
        both = float(either(network, batch)[1]["segmentation"])
        alone = [
            float(
                either(
                    network,
                    Batch(
                        images[i : i + 1], said[:0], [generator(0, i)], None,
                        said[i : i + 1],
                    ),
                )[1]["segmentation"]
            )
            for i in range(2)
        ]  # fmt: skip
        assert both == pytest.approx(sum(alone) / 2, rel=1e-4)


def test_the_adapter_s_own_masks_can_teach(
    backbones: Path, data: Path, tmp_path: Path
) -> None:
    recipe = written_recipe(backbones, pseudo="dynamic", band=[0.3, 0.6])
    out, more = tmp_path / "out", ["length.steps=2"]
    assert run(train_model(recipe, str(data), out, more, device="cpu"))["steps"] == 2


def test_words_may_stand_in_the_recipe(
    backbones: Path, data: Path, tmp_path: Path
) -> None:
    words = yaml.safe_load((backbones / "words.yaml").read_text())
    words["classes"]["lesion"] = ["lesion", "mass"]
    recipe, out = written_recipe(backbones, words=words), tmp_path / "out"
    run(train_model(recipe, str(data), out, ["length.steps=2"], device="cpu"))
    told = read_folder(out / "model").card.network["words"]
    assert told["classes"] == {"lesion": ["lesion", "mass"], "hair": ["hair"]}


def test_a_model_with_a_cache_is_taken_as_it_is(
    trained: Path, backbones: Path, data: Path, tmp_path: Path
) -> None:
    given = str(trained / "cached" / "model")
    recipe = written_recipe(
        backbones, model=given, clip=None, diffusion=None, words=None, options={}
    )
    out = tmp_path / "out"
    run(train_model(recipe, str(data), out, ["length.steps=2"], device="cpu"))
    one, other = (read_folder(Path(f) / "cached" / "model") for f in (out, trained))
    assert one.card.folders["cache"] == other.card.folders["cache"]
    network = read_folder(out / "model").card.network
    assert network["words"] == other.card.network["words"]
    assert network["box_threshold"] == 0.2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("objective.clip=null", "give clip, or model"),
        ("objective.band=[0.6,0.2]", "the lower first"),
        ("preparation.size=null", "sees whole slices"),
        ("network.adapter={keys: 3}", "follow from its backbones"),
        ("objective.clip=/nowhere", "/nowhere"),
        ("product=part", "writes a model of its own"),
        ("objective.options={layer: 3}", "network.layer"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_status_2(
    backbones: Path, data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], more: str, told: str,
) -> None:  # fmt: skip
    recipe, out = written_recipe(backbones), str(tmp_path / "out")
    asked = ["train", recipe, "--data", str(data), "--out", out, "--set", more]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told in said


def test_other_classes_than_the_model_s_are_refused(
    trained: Path, backbones: Path, tmp_path: Path
) -> None:
    others = pictures.write_pictures(tmp_path / "o", ("cell", ""), names=("cell",))
    given = str(trained / "cached" / "model")
    recipe = written_recipe(backbones, model=given, clip=None)
    with pytest.raises(UserError, match="is of the classes lesion, hair"):
        run(train_model(recipe, str(others), tmp_path / "out", device="cpu"))


# What an image teaches


def teacher(trained: Path, tmp_path: Path, **given: Any) -> PseudoTeacher:
    model = loaded(trained / "cached" / "model")
    return PseudoTeacher(model, FeatureStore(tmp_path / "kept", 10**8), **given)


def image(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 40, 40, generator=generator(seed))


def test_a_pseudo_mask_holds_what_is_present_and_nothing_else(
    trained: Path, tmp_path: Path
) -> None:
    teaches = teacher(trained, tmp_path)

    def classes(*states: int) -> set[int]:
        found = teaches.taught(image(), torch.tensor(states)).classes
        assert found.shape == (40, 40)
        return set(np.unique(found.numpy()).tolist())

    assert classes(ABSENT, ABSENT) == {0}
    assert classes(PRESENT, ABSENT) == {0, 1}
    assert classes(ABSENT, PRESENT) == {0, 2}
    assert 2 not in classes(PRESENT, UNKNOWN)
    assert classes(PRESENT, UNKNOWN) == {1, IGNORE}
    assert classes(UNKNOWN, UNKNOWN) == {IGNORE}


def test_a_band_leaves_out_what_is_not_sure(trained: Path, tmp_path: Path) -> None:
    said = torch.tensor([PRESENT, PRESENT])
    sure = teacher(trained, tmp_path, band=(0.2, 0.8)).taught(image(), said).classes
    every = teacher(trained, tmp_path).taught(image(), said).classes
    assert (sure == IGNORE).any()
    assert not (every == IGNORE).any()
    kept = (sure != IGNORE) & (sure != 0)
    assert (sure[kept] == every[kept]).all()


def test_what_is_taught_is_kept_and_a_learning_adapter_s_masks_are_not(
    trained: Path, tmp_path: Path
) -> None:
    teaches, said = teacher(trained, tmp_path), torch.tensor([PRESENT, PRESENT])
    first = teaches.taught(image(), said)
    again = teacher(trained, tmp_path).taught(image(), said)
    assert torch.equal(first.classes, again.classes)
    for one, other in zip(first.raw, again.raw, strict=True):
        assert torch.equal(one, other)
    network = build_network("diclip", **fresh(trained))
    assert isinstance(network, DiclipLearner)
    adapter = network.adapter
    with torch.no_grad():
        adapter.answer.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    adapter.similarity.weight.data.zero_()
    teaches.taught(image(), said, adapter)
    adapter.train()
    one = teaches.taught(image(), said, adapter).classes
    assert adapter.training
    assert torch.equal(one, teaches.taught(image(), said, adapter).classes)


def fresh(trained: Path) -> dict[str, Any]:
    network = read_folder(trained / "model").card.network
    return {"adapter": network["adapter"], "head": network["head"]}


def test_before_it_has_learnt_the_adapter_says_what_the_cache_does(
    trained: Path,
) -> None:
    _, network = loss_of(trained)
    given = trained / "cached" / "model"
    cache = loaded(given).network.cache
    assert cache is not None
    patches = torch.randn(1, 5, 12, generator=generator(0))
    count = len(cache.keys)
    network.eval()
    hidden = network.adapter.similarity(normalised(patches))[..., :count].relu()
    found = hidden @ network.adapter.answer.weight[:, :count].T
    torch.testing.assert_close(found, static_scores(memory_of(cache), patches))


def test_present_labels_alone_are_enough(backbones: Path, tmp_path: Path) -> None:
    root = pictures.write_pictures(tmp_path / "d", ("lesion;hair",))
    with (root / "manifest.csv").open() as file:
        assert {row["labels"] for row in csv.DictReader(file)} == {"lesion;hair"}
    recipe, out = written_recipe(backbones), tmp_path / "out"
    told = run(train_model(recipe, str(root), out, ["length.steps=2"], device="cpu"))
    assert told["steps"] == 2
