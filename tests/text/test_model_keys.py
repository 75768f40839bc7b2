"""Keys of a model: looked at, dropped into a version, and the way back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside import beside

from diffseg.cli import main
from diffseg.domain.diclip import DiclipConfig
from diffseg.errors import UserError
from diffseg.models import ModelFolder, add_model, find_model, roll_back, verify_model
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache
from diffseg.segmenters.text.cache_files import load_cache, save_cache
from diffseg.segmenters.text.cache_pictures import pictured
from diffseg.segmenters.text.loading import backbone_identities
from diffseg.segmenters.text.model_keys import drop_keys, has_keys, read_keys

pytestmark = pytest.mark.usefixtures("home")

KEYS, WIDTH = 6, 12


tiny = beside(__file__, "tiny_diclip")


def cache_of(config: DiclipConfig) -> KeyValueCache:
    """Background, lesion, hair and once more, each of one image with a picture."""
    source = np.random.default_rng(3)
    texts = source.standard_normal((2, WIDTH)).astype(np.float32)
    named = [CachedImage(f"i{n}", "labelled", source=f"{n}.png") for n in range(KEYS)]
    planes = [np.full((3, 6, 8), n / KEYS, np.float32) for n in range(KEYS)]
    images, pictures = pictured(named, planes)
    return KeyValueCache(
        keys=source.standard_normal((KEYS, WIDTH)).astype(np.float32),
        classes=np.arange(KEYS) % 3,
        names=tiny.LABELS,
        texts=texts / np.linalg.norm(texts, axis=1, keepdims=True),
        images=tuple((one,) for one in images),
        backbones=backbone_identities(config),
        pictures=pictures,
    )


@pytest.fixture
def model(backbones: Path, tmp_path: Path) -> ModelFolder:
    """A model with a cache, among the user's."""
    plain = tiny.made_model(backbones, tmp_path / "plain")
    config = DiclipConfig.model_validate(plain.card.network)
    save_cache(cache_of(config), tmp_path / "cache")
    tiny.made_model(
        backbones,
        tmp_path / "out",
        cache=tmp_path / "cache",
        about={"metrics": {"dice": 0.5}},
    )
    return add_model(tmp_path / "out", "words")


def contents(folder: Path) -> dict[str, bytes]:
    files = (one for one in folder.rglob("*") if one.is_file())
    return {str(one.relative_to(folder)): one.read_bytes() for one in files}


def test_keys_tell_their_class_their_images_and_show_them(model: ModelFolder) -> None:
    assert has_keys(model.card)
    keys = read_keys(model)
    assert [key.label for key in keys] == ["background", "lesion", "hair"] * 2
    assert [key.foreground for key in keys] == [False, True, True] * 2
    image = keys[4].images[0]
    assert (image.id, image.source, image.origin) == ("i4", "4.png", "labelled")
    assert image.picture is not None
    assert image.picture.shape == (6, 8, 3)
    assert (image.picture == round(255 * 4 / 6)).all()


def test_dropping_makes_a_version_and_leaves_the_model(model: ModelFolder) -> None:
    before = contents(model.path)
    new = drop_keys(model, [4, 4])
    assert new.name == "words@1.0+keys1"
    assert contents(model.path) == before
    verify_model(new)
    assert [key.images[0].id for key in read_keys(new)] == [
        "i0",
        "i1",
        "i2",
        "i3",
        "i5",
    ]
    assert find_model("words").name == new.name
    assert (new.card.metrics, new.card.calibration) == ({}, None)
    further = drop_keys(new, [0])
    assert further.name == "words@1.0+keys2"
    assert len(load_cache(further.path / "cache").pictures) == 4
    assert roll_back("words")[1].name == new.name
    assert roll_back("words")[1].name == model.name


def test_the_next_proposal_is_without_it(model: ModelFolder) -> None:
    asked = tiny.request(text="lesion")
    first = load_segmenter("words", "cpu").propose(asked)
    drop_keys(model, [4])
    second = load_segmenter("words", "cpu").propose(asked)
    assert second.provenance.model["version"] == "1.0+keys1"
    assert not np.array_equal(first.probability, second.probability)
    roll_back("words")
    third = load_segmenter("words", "cpu").propose(asked)
    assert np.array_equal(first.probability, third.probability)


@pytest.mark.parametrize(
    ("indices", "why"),
    [
        ([], "no key is chosen"),
        ([6], "no key 6; give 0 to 5"),
        ([-1], "no key -1"),
        ([1, 4], "all the keys of lesion"),
        ([0, 3, 5], "all the keys of background"),
    ],
)
def test_what_cannot_be_dropped_is_told_and_nothing_is_made(
    model: ModelFolder, indices: list[int], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        drop_keys(model, indices)
    assert find_model("words").name == model.name
    assert [one.name for one in model.path.parent.iterdir()] == [model.path.name]


def test_a_model_outside_has_no_way_back(model: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diffseg models add"):
        drop_keys(find_model(tmp_path / "out"), [4])


def test_a_head_or_an_adapter_answers_whatever_is_dropped(model: ModelFolder) -> None:
    network = {**model.card.network, "adapter": {"features": 12}}
    trained = replace(model, card=model.card.model_copy(update={"network": network}))
    with pytest.raises(UserError, match="the adapter of model words answers"):
        drop_keys(trained, [4])


def test_a_model_without_a_cache_says_so(backbones: Path, tmp_path: Path) -> None:
    plain = tiny.made_model(backbones, tmp_path / "plain")
    assert not has_keys(plain.card)
    with pytest.raises(UserError, match="holds no cache of keys"):
        read_keys(plain)


def test_reading_keys_loads_no_torch(model: ModelFolder) -> None:
    code = (
        "import sys; from diffseg.engine import caches; "
        "from diffseg.engine.catalogue import find_model; "
        "assert len(caches.read_keys(find_model('words'))) == 6; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_lists_and_drops(
    model: ModelFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    def said(*words: str) -> Any:
        assert main(["models", "keys", "words", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    listed = said()
    assert [one["class"] for one in listed["keys"]][:3] == [
        "background",
        "lesion",
        "hair",
    ]
    assert listed["keys"][4]["images"][0]["source"] == "4.png"
    assert said("--drop", "4,5")["version"] == "1.0+keys1"
    assert len(said()["keys"]) == 4
    assert main(["models", "keys", "words"]) == 0
    assert "i3 (3.png)" in capsys.readouterr().out
    for wrong, why in (("4,x", "'x'"), ("9", "no key 9"), ("", "names no key")):
        assert main(["models", "keys", "words", "--drop", wrong]) == 2
        assert why in capsys.readouterr().err
