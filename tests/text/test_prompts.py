"""Words for classes: shipped, laid over, refused, and as directions of CLIP's space."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from beside import beside
from torch.nn import functional

from diffseg.domain.prompts import (
    PromptBook,
    Prompts,
    prompt_kinds,
    prompts_for,
    read_prompts,
    shipped_prompts,
)
from diffseg.errors import UserError
from diffseg.models.clip_weights import Clip, load_clip
from diffseg.segmenters.text.prompts import check_words, embedded_prompts

tiny = beside(__file__, "tiny_clip")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("clip")
    tiny.write_folder(folder)
    return load_clip(folder)


@pytest.fixture(scope="module")
def biomedical(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("biomedical")
    tiny.write_biomedical(folder)
    with tiny.small_timm_vit():
        return load_clip(folder)


@pytest.mark.parametrize("kind", prompt_kinds())
def test_what_ships_is_valid_and_known_to_clip(kind: str, clip: Clip) -> None:
    book = shipped_prompts(kind)
    assert book.templates
    assert book.classes
    # The small pair knows no more words than a caption of its own takes.
    assert len(book.background) >= (2 if kind.startswith("small-") else 5)
    for name in book.classes:
        prompts = prompts_for([name], book)
        assert prompts.background  # some is left, whatever is asked for
        check_words(clip.tokenizer, prompts)
        clip.tokenizer([text for w in prompts.words[0] for text in prompts.texts(w)])


def test_the_usual_classes_have_words() -> None:
    kinds = {"ct", "dermoscopy", "fundus", "microscopy", "mri", "natural"}
    small = {kind for kind in prompt_kinds() if kind.startswith("small-")}
    assert set(prompt_kinds()) - small == kinds
    assert {kind.removeprefix("small-") for kind in small} < kinds
    for kind, name in [
        ("mri", "tumour"),
        ("mri", "hippocampus"),
        ("ct", "liver"),
        ("dermoscopy", "lesion"),
        ("fundus", "optic disc"),
        ("microscopy", "nucleus"),
        ("natural", "bird"),
    ]:
        assert name in shipped_prompts(kind).classes
    assert "glioma" in shipped_prompts("mri").classes["tumour"]
    with pytest.raises(UserError, match=r"'mr'.*did you mean 'mri'"):
        shipped_prompts("mr")


def test_they_load_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from diffseg.domain.prompts import prompts_for, shipped_prompts; "
        "print(prompts_for(['Tumour'], shipped_prompts('mri')).words[0][0])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "tumour"


def test_classes_are_found_however_they_are_written() -> None:
    book = shipped_prompts("fundus")
    prompts = prompts_for(["Optic_Disc", "optic-cup"], book)
    assert prompts.names == ("Optic_Disc", "optic-cup")
    assert prompts.words[0] == book.classes["optic disc"]
    # What is asked for is no background, though the book has it there.
    assert "optic disc" in book.background
    assert "optic disc" not in prompts.background
    assert "blood vessel" in prompts.background
    assert prompts_for(["Pineal_gland"], book).words == (("pineal gland",),)
    assert prompts.texts("optic disc")[0] == "a fundus photograph showing optic disc."


def test_a_file_of_one_s_own_is_laid_over(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("classes:\n  Tumour: [high grade glioma]\nbackground: [skull]\n")
    below = shipped_prompts("mri")
    book = read_prompts(file).over(below)
    assert book.templates == below.templates
    assert book.background == ("skull",)
    assert book.classes["tumour"] == ("high grade glioma",)
    assert book.classes["hippocampus"] == below.classes["hippocampus"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("templates: ['a photo']", "must have {} once"),
        ("templates: ['{} and {}']", "must have {} once"),
        ("templates: ['{a} {}']", "must have {} once"),
        ("template: ['{}']", "'template' is not known; did you mean 'templates'"),
        ("classes: {tumour: ['  ']}", "holds '  ', which is no word"),
        ("classes: {tumour: []}", "class 'tumour' has no word"),
        ("classes: {tumour: [no]}", "holds False, which is no word; .* quotes"),
        ("classes: [tumour]", "classes must be a table"),
        ("background: {a: b}", "background must be a list"),
        ("[1, 2", "not YAML"),
        ("- one", "are no table"),
    ],
)
def test_wrong_files_are_refused_in_one_line(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_prompts(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_prompts(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no class is named"),
        (["  "], "says nothing"),
        (["1"], "says nothing .* classes: {1: "),
        (["label_2"], "says nothing"),
        (["tumour", "Tumor"], "'tumour' and 'Tumor' are both called"),
        (["liver", "liver"], "named twice"),
    ],
)
def test_classes_that_no_text_tells_apart_are_refused(
    names: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prompts_for(names, shipped_prompts("ct"))


def test_without_a_template_nothing_is_asked() -> None:
    with pytest.raises(UserError, match="no template"):
        prompts_for(["liver"], PromptBook((), {}, ()))


def test_a_class_is_the_mean_direction_of_all_its_texts(clip: Clip) -> None:
    prompts = Prompts(
        ("tumour", "bird"),
        (("tumour", "glioma"), ("bird",)),
        ("skull", "air"),
        ("a photo of {}.", "{} here"),
    )
    found = embedded_prompts(clip, prompts)
    assert found.names == ("tumour", "bird")
    assert (found.foreground.shape, found.background.shape) == ((2, 12), (2, 12))
    assert torch.equal(found.texts, torch.cat([found.foreground, found.background]))
    torch.testing.assert_close(found.texts.norm(dim=-1), torch.ones(4))
    sums = torch.zeros(12)
    for text in (
        "a photo of tumour.",
        "tumour here",
        "a photo of glioma.",
        "glioma here",
    ):
        one = clip.embedded_texts([text])[0]
        sums += one / one.norm()
    torch.testing.assert_close(found.foreground[0], functional.normalize(sums, dim=0))
    one, two = clip.embedded_texts(["a photo of air.", "air here"])
    mean = one / one.norm() + two / two.norm()
    torch.testing.assert_close(found.background[1], mean / mean.norm())


def test_many_texts_are_embedded_in_parts_alike(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = prompts_for(["tumour", "hippocampus"], shipped_prompts("mri"))
    whole = embedded_prompts(clip, prompts).texts
    monkeypatch.setattr("diffseg.segmenters.text.prompts._BATCH", 3)
    torch.testing.assert_close(embedded_prompts(clip, prompts).texts, whole)


def test_words_that_clip_does_not_know_are_named(biomedical: Clip) -> None:
    known = Prompts(("brain",), (("brain",),), ("skin",), ("a photo of {}",))
    assert embedded_prompts(biomedical, known).texts.shape == (2, 12)
    for prompts, message in [
        (
            Prompts(("x",), (("brain", "zebra fish"),), (), ("{}",)),
            "'x'.*'zebra', 'fish'",
        ),
        (Prompts(("x",), (("brain",),), ("gnu",), ("{}",)), "background.*'gnu'"),
        (Prompts(("x",), (("brain",),), (), ("oh {}",)), "template.*'oh'"),
    ]:
        with pytest.raises(UserError, match=message):
            embedded_prompts(biomedical, prompts)


def test_without_background_there_are_no_rows(clip: Clip) -> None:
    found = embedded_prompts(clip, Prompts(("a",), (("bird",),), (), ("{}",)))
    assert found.background.shape == (0, 12)
