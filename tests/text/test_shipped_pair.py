"""The CLIP and the text-to-image model that ship: found by name, and put together."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffseg import Request, Volume
from diffseg.domain.prompts import prompt_kinds, prompts_for, shipped_prompts
from diffseg.errors import UserError
from diffseg.metrics import dice
from diffseg.models import list_models, verify_model
from diffseg.models.clip_weights import load_clip
from diffseg.models.text_diffusion import load_text_diffusion
from diffseg.resources import resource, shipped_part
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly
from diffseg.segmenters.text.prompts import check_words
from diffseg.volume import read_mask

pytestmark = pytest.mark.usefixtures("home")

CLIP, DIFFUSION = "small-clip", "small-text-diffusion"


def test_no_file_is_larger_than_may_ship_and_each_tells_its_licence() -> None:
    for name in (CLIP, DIFFUSION):
        folder = resource("parts", name)
        for path in folder.rglob("*"):
            assert path.is_dir() or path.stat().st_size <= 16_000_000
        told = (folder / "README.md").read_text(encoding="utf-8")
        assert "CC BY-NC-SA 4.0, and research and education only" in told


def test_it_tells_its_words_apart() -> None:
    clip = load_clip(CLIP)
    assert clip.patch == (8, 8)
    texts = ["a brain mri with a tumour", "dermoscopic image of skin with a mole"]
    with torch.inference_mode():
        found = clip.embedded_texts(texts)
    likeness = torch.nn.functional.cosine_similarity(found[0], found[1], dim=0)
    assert float(likeness) < 0.9


@pytest.mark.parametrize("kind", [k for k in prompt_kinds() if k.startswith("small-")])
def test_it_reads_every_word_that_ships_for_it(kind: str) -> None:
    book = shipped_prompts(kind)
    tokenizer = load_clip(CLIP).tokenizer
    check_words(tokenizer, prompts_for(list(book.classes)[:1], book))


def test_words_that_it_does_not_know_are_refused_before_a_model_is_made(
    tmp_path: Path,
) -> None:
    parts = Assembly(
        clip=CLIP, diffusion=DIFFUSION, labels=("lesion",), prompts="dermoscopy"
    )
    with pytest.raises(UserError, match="not in this CLIP's vocabulary") as error:
        assemble(tmp_path / "made", "skin", parts)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()


def test_it_draws_a_latent() -> None:
    model = load_text_diffusion(DIFFUSION)
    picture = model.vae.decode(torch.zeros(1, 4, 16, 16)).sample
    assert picture.shape == (1, 3, 64, 64)


def test_an_unknown_name_is_told_which_there_are() -> None:
    with pytest.raises(UserError, match="give one of small-clip, "):
        load_clip("clip-nobody-has")
    with pytest.raises(UserError, match="did you mean 'small-text-diffusion'"):
        load_text_diffusion("small-text-difusion")


def test_a_path_is_no_name(tmp_path: Path) -> None:
    assert shipped_part(CLIP, "open_clip_config.json") is not None
    assert shipped_part(CLIP, "model_index.json") is None
    assert shipped_part(f"../parts/{CLIP}", "open_clip_config.json") is None
    assert shipped_part("", "open_clip_config.json") is None


def test_a_model_of_it_names_it_even_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / CLIP).mkdir()
    words = tmp_path / "words.yaml"
    words.write_text(
        "title: Lesions\ntemplates: ['{}']\nclasses: {lesion: [lesion, mole]}\n"
        "background: [healthy skin]\n"
    )
    parts = Assembly(CLIP, ("lesion",), DIFFUSION, words=words, members=1)
    made = assemble(tmp_path / "model", "words", parts)
    assert made.card.network["clip"]["at"] == CLIP
    assert made.card.network["diffusion"]["at"] == DIFFUSION
    assert not made.card.folders
    image = np.random.default_rng(0).integers(0, 255, (3, 1, 64, 64)).astype(np.uint8)
    request = Request(Volume.from_array(image), text="lesion", members=1)
    found = load_segmenter(made.path, "cpu").propose(request)
    assert found.probability.shape == (1, 1, 64, 64)


def test_the_model_that_ships_finds_what_a_word_means(data_dir: Path) -> None:
    model = next(one for one in list_models() if one.card.id == "lesion-words")
    verify_model(model)
    assert model.card.metrics["val"]["dice"] > model.card.metrics["text alone"]["dice"]
    folder = data_dir / "ph2"
    if not folder.is_dir():
        pytest.skip(f"no ph2 in {data_dir}")
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        val = [row for row in csv.DictReader(file) if row["split"] == "val"]
    segmenter, found = load_segmenter(model.path, "cpu"), []
    for row in val[:4]:
        request = Request(Volume.read(folder / row["image"]), text="mole", members=1)
        mask = segmenter.propose(request).mask[0] == 1
        found.append(dice(mask, read_mask(folder / row["mask"])[0] > 0))
    assert np.mean([one or 0.0 for one in found]) > 0.4
    with pytest.raises(UserError, match="not in this CLIP's vocabulary: 'yacht'"):
        segmenter.propose(replace(request, text="lesion=yacht"))
