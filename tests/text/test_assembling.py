"""The folder of a model that reads words: made, added, verified, and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from beside import beside

from diffseg.domain.diclip import DiclipConfig
from diffseg.errors import UserError
from diffseg.models import add_model, read_folder, verify_model
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly, Trained
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache
from diffseg.segmenters.text.cache_files import save_cache
from diffseg.segmenters.text.loading import backbone_identities

pytestmark = pytest.mark.usefixtures("home")


tiny = beside(__file__, "tiny_diclip")


def one_line(error: UserError) -> str:
    assert "\n" not in str(error)
    return str(error)


def edited(folder: Path, **network: Any) -> None:
    """Write other words under a card's network."""
    card = json.loads((folder / "card.json").read_text())
    card["network"] |= network
    (folder / "card.json").write_text(json.dumps(card))


def test_a_folder_is_whole_in_itself(backbones: Path, tmp_path: Path) -> None:
    made = tiny.made_model(backbones, tmp_path / "model")
    names = {path.name for path in made.path.iterdir()}
    assert names == {"card.json", "model.safetensors", "clip", "diffusion"}
    assert made.card.network["clip"]["at"] == "./clip"
    assert made.card.network["diffusion"]["at"] == "./diffusion"
    assert made.card.folders.keys() == {"clip", "diffusion"}
    assert "text" in made.card.capabilities
    # Elsewhere, and with what it was made of gone, it is the same model.
    moved = shutil.move(made.path, tmp_path / "moved")
    own = tiny.write_backbones(tmp_path / "own")
    other = tiny.made_model(own, tmp_path / "other")
    shutil.rmtree(own)
    asked = tiny.request(text="lesion")
    one, two = (
        load_segmenter(path, "cpu").propose(asked) for path in (Path(moved), other.path)
    )
    assert np.array_equal(one.probability, two.probability)


def test_folders_may_be_referred_to(backbones: Path, tmp_path: Path) -> None:
    made = tiny.made_model(backbones, tmp_path / "model", copy=False)
    assert {path.name for path in made.path.iterdir()} == {
        "card.json",
        "model.safetensors",
    }
    assert made.card.network["clip"]["at"] == f"file:{backbones / 'clip'}"
    assert (
        load_segmenter(made.path, "cpu").propose(tiny.request(text="hair")).mask.any()
    )


def test_what_was_pulled_is_referred_to_by_name(
    backbones: Path, tmp_path: Path, home: Path
) -> None:
    weights = home / "weights"
    tiny.write_clip("biomedical", weights / "biomedclip")
    shutil.copytree(backbones / "sd", weights / "sd-2.1-base")
    for name in ("biomedclip", "sd-2.1-base"):
        (weights / name / "pulled.json").write_text("{}")
    with tiny.readable("biomedical"):
        made = tiny.made_model(
            backbones,
            tmp_path / "m",
            clip="biomedclip",
            diffusion="sd-2.1-base",
            similarity="surgery",
            refinement=("pixels",),
        )
        assert made.card.network["clip"]["at"] == "biomedclip"
        assert made.card.network["diffusion"]["at"] == "sd-2.1-base"
        assert not made.card.folders
        found = load_segmenter(made.path, "cpu").propose(tiny.request(text="lesion"))
        assert found.probability.any()
        # Another model under the same name is not the one that the card means.
        shutil.rmtree(weights / "sd-2.1-base")
        tiny.write_diffusion("sd2", weights / "sd-2.1-base")
        (weights / "sd-2.1-base" / "pulled.json").write_text("{}")
        with pytest.raises(UserError, match="was made with text-to-image") as caught:
            load_segmenter(made.path, "cpu")
    assert "sd-2.1-base" in one_line(caught.value)


def test_what_is_not_here_says_what_and_how(tmp_path: Path, backbones: Path) -> None:
    for changes in ({"clip": "openai-vitb16"}, {"diffusion": "sd-2.1-base"}):
        with pytest.raises(UserError, match="is not here") as caught:
            tiny.made_model(backbones, tmp_path / "m", **changes)
        told = one_line(caught.value)
        (name,) = changes.values()
        for word in (f"diffseg models pull {name}", "https://", "B", "--from"):
            assert word in told
    assert not (tmp_path / "m").exists()


def test_it_is_added_and_verified_with_its_folders(
    backbones: Path, tmp_path: Path
) -> None:
    made = tiny.made_model(backbones, tmp_path / "model")
    added = add_model(made.path, "words")
    verify_model(added)
    assert load_segmenter("words", "cpu").card.id == "words"
    file = added.path / "diffusion" / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text().replace("0.012", "0.013"))
    with pytest.raises(UserError, match=r"checksum of folder .*diffusion differs"):
        verify_model(added)
    with pytest.raises(UserError, match="checksum of folder"):
        load_segmenter("words", "cpu")
    shutil.rmtree(added.path / "diffusion")
    with pytest.raises(UserError, match="diffusion is not there"):
        load_segmenter("words", "cpu")


def test_other_weights_than_the_cards_are_refused(
    backbones: Path, tmp_path: Path
) -> None:
    own = tiny.write_backbones(tmp_path / "own")
    made = tiny.made_model(own, tmp_path / "model", copy=False)
    tiny.write_clip("openai", own / "clip", seed=4)
    with pytest.raises(UserError, match="was made with CLIP") as caught:
        load_segmenter(made.path, "cpu")
    assert str(own / "clip") in one_line(caught.value)


def cache_for(config: DiclipConfig, **changes: Any) -> KeyValueCache:
    fields: dict[str, Any] = {
        "keys": np.eye(3, 12, dtype=np.float32),
        "classes": np.arange(3),
        "names": tiny.LABELS,
        "texts": np.eye(2, 12, dtype=np.float32),
        "images": tuple((CachedImage(f"i{n}"),) for n in range(3)),
        "backbones": backbone_identities(config),
    }
    return KeyValueCache(**{**fields, **changes})


def test_a_cache_of_other_backbones_options_or_classes_is_refused(
    backbones: Path, tmp_path: Path
) -> None:
    plain = tiny.made_model(backbones, tmp_path / "plain")
    config = DiclipConfig.model_validate(plain.card.network)
    cache = tmp_path / "cache"
    save_cache(cache_for(config), cache)
    made = tiny.made_model(backbones, tmp_path / "with", cache=cache)
    assert made.card.folders.keys() == {"clip", "diffusion", "cache"}
    for changes, word in (
        ({"clip": str(tiny.write_clip("openai", tmp_path / "c", seed=2))}, "clip"),
        ({"diffusion": str(tiny.write_diffusion("sd2", tmp_path / "d"))}, "diffusion"),
        ({"groups": 4}, "options"),
        ({"labels": ("hair", "lesion")}, "classes"),
    ):
        with pytest.raises(UserError, match=word) as caught:
            tiny.made_model(backbones, tmp_path / "no", cache=cache, **changes)
        one_line(caught.value)
        assert not (tmp_path / "no").exists()
    # And in a folder whose card was changed by hand.
    edited(made.path, groups=4)
    with pytest.raises(UserError, match="was built with options"):
        load_segmenter(made.path, "cpu")


def test_parts_that_do_not_fit_are_refused(backbones: Path, tmp_path: Path) -> None:
    made = tiny.made_model(backbones, tmp_path / "model")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"layer": 3}, "network.layer: Extra inputs"),
        ({"layers": 0}, "network.layers"),
        ({"adapter": {}}, "an adapter needs the cache"),
        ({"answer": "head"}, "there is no head"),
        ({"head": {"layers": 4, "features": 16, "classes": 2}}, "weights of its head"),
        ({"head": {"layers": 4, "classes": 3}}, "its head is of 3 classes"),
        ({"diffusion": None}, "there is no text-to-image model"),
        ({"refinement": ["pixels", "affinity"]}, "refinement: each once"),
        ({"timesteps": []}, "network.timesteps"),
    ]
    original = (made.path / "card.json").read_text()
    for changes, told in cases:
        edited(made.path, **changes)
        with pytest.raises(UserError, match=told) as caught:
            load_segmenter(made.path, "cpu")
        one_line(caught.value)
        (made.path / "card.json").write_text(original)
    stray = Trained({"layers": 4, "classes": 2}, {"a": torch.zeros(1)})
    with_stray = tiny.made_model(backbones, tmp_path / "stray", head=stray)
    with pytest.raises(UserError, match="are not those of its card"):
        load_segmenter(with_stray.path, "cpu")


def test_a_card_that_no_diclip_can_be_of_is_refused(
    backbones: Path, tmp_path: Path
) -> None:
    made = tiny.made_model(backbones, tmp_path / "model")
    card = json.loads((made.path / "card.json").read_text())
    for field, value, told in (
        ("dims", 3, "sees whole slices"),
        ("flips", [[], [2]], "sees whole slices"),
        ("intensity", {"kind": "zscore"}, "intensities of 0 to 1"),
    ):
        changed = {**card, "preparation": {**card["preparation"], field: value}}
        (made.path / "card.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=told):
            load_segmenter(made.path, "cpu")


def test_options_that_a_backbone_cannot_take_are_told(
    backbones: Path, tmp_path: Path
) -> None:
    for number, (changes, told) in enumerate(
        (
            ({"layers": 9}, "9 layers cannot be enhanced"),
            ({"timesteps": (2000,)}, "timesteps are"),
            ({"attention_layers": ("up_blocks.9",)}, "has no attention"),
        )
    ):
        made = tiny.made_model(backbones, tmp_path / f"{number}", **changes)
        with pytest.raises(UserError, match=told) as caught:
            load_segmenter(made.path, "cpu").propose(tiny.request(text="hair"))
        one_line(caught.value)


def test_small_backbones_are_shown_their_own_sizes(
    backbones: Path, tmp_path: Path
) -> None:
    made = tiny.made_model(backbones, tmp_path / "a", side=32)
    assert made.card.network["seen"] is None  # 64 pixels are more than 32
    fields = {"clip": str(backbones / "clip"), "diffusion": str(backbones / "sd")}
    parts = Assembly(labels=("lesion",), **fields)
    assert assemble(tmp_path / "b", "b", parts).card.network["side"] == 32


def test_kinds_of_images_have_words_and_windows(
    backbones: Path, tmp_path: Path
) -> None:
    made = tiny.made_model(
        backbones, tmp_path / "ct", prompts="ct", words=None, labels=("liver", "object")
    )
    words = made.card.network["words"]
    assert words["classes"] == {"liver": ["liver", "hepatic parenchyma"], "object": []}
    assert "a CT scan showing {}." in words["templates"]
    assert made.card.preparation.intensity.low == -160
    assert read_folder(made.path).card == made.card
    with pytest.raises(UserError, match="no prompts ship for images of kind 'xray'"):
        tiny.made_model(backbones, tmp_path / "no", prompts="xray")
    with pytest.raises(UserError, match="are both called 'tumour'"):
        tiny.made_model(
            backbones, tmp_path / "no", labels=("tumour", "mass lesion"),
            words=tiny.write_words(
                tmp_path, "classes: {mass lesion: [tumour], tumour: [tumour]}\n"
            ),
        )  # fmt: skip


def test_nothing_is_written_over(backbones: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    with pytest.raises(UserError, match="is in the way"):
        tiny.made_model(backbones, tmp_path / "full")
    assert (tmp_path / "full" / "mine").read_text() == "kept"
