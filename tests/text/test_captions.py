"""Facts from masks, captions from facts, and the tokenizers of their words."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from diffseg.errors import UserError
from diffseg_training.text.captions import UNTOLD, caption_of, vocabulary, where
from diffseg_training.text.facts import Facts, facts_of, sides_of, size_of
from diffseg_training.text.picture_sets import class_names, read_sets
from diffseg_training.text.tokenizers import (
    bert_tokenizer,
    clip_tokenizer,
    merged_pairs,
)

SETS = read_sets()
NAMES = class_names(SETS)
CONTEXT = 40


def value(name):
    """Value of a class in masks."""
    return 1 + NAMES.index(name)


def head(*, tumour=None, side=20):
    """A mask of LGG, and a tumour in a box of rows and columns."""
    mask = np.full((side, side), value("brain"))
    if tumour is not None:
        mask[tumour] = value("tumour")
    return mask


def any_mask(random):
    """A mask of any of the sets, with boxes of its structures."""
    one = SETS[int(random.integers(len(SETS)))]
    mask = np.full((40, 40), value(one.around))
    for structure in one.structures:
        if random.random() < 0.7:
            y, x = random.integers(0, 36, 2)
            n = int(random.integers(1, 30))
            mask[y : y + n, x : x + n] = value(structure.name)
    return mask


# Facts


def test_facts_of_a_mask_by_hand():
    mask = head(tumour=(slice(2, 5), slice(1, 4)))  # 9 of 400 pixels
    assert facts_of(mask, SETS, places=True).statements == {
        ("set", "lgg"),
        ("present", "tumour"),
        ("size", "tumour", "medium"),
        ("at", "tumour", "upper"),
        ("at", "tumour", "left"),
    }
    assert facts_of(mask, SETS, places=False).statements == {
        ("set", "lgg"),
        ("present", "tumour"),
    }
    assert facts_of(head(), SETS, places=True).statements == {
        ("set", "lgg"),
        ("absent", "tumour"),
    }


def test_a_flipped_picture_is_told_flipped():
    mask = head(tumour=(slice(12, 18), slice(1, 4)))
    told = [
        facts_of(one, SETS, places=True).words_of("at", "tumour")
        for one in (mask, mask[:, ::-1], mask[::-1], mask[::-1, ::-1])
    ]
    assert told == [
        ("left", "lower"),
        ("lower", "right"),
        ("left", "upper"),
        ("right", "upper"),
    ]


def test_what_lies_in_the_middle_is_in_the_centre():
    mask = np.zeros((21, 21), bool)
    mask[9:12, 9:12] = True
    assert sides_of(mask) == ("centre",)
    # A centre of mass at 0.4 of the extent is no side yet, and below it is.
    mask[:] = False
    mask[10, 8] = True  # (8 + 0.5) / 21 = 0.405
    assert sides_of(mask) == ("centre",)
    mask[10, 7] = True  # 0.381 on the mean
    assert sides_of(mask) == ("left",)
    with pytest.raises(ValueError, match="empty"):
        sides_of(mask & False)


def test_beyond_the_edge_is_no_part_of_the_picture():
    mask = head(tumour=(slice(2, 5), slice(1, 4)))
    mask[10:] = 0  # the half of it: 9 of 200 pixels are left
    assert ("size", "tumour", "large") in facts_of(mask, SETS, places=True).statements
    nothing = facts_of(np.zeros((4, 4), int), SETS, places=True)
    assert nothing == Facts(None, frozenset())
    assert caption_of(nothing, np.random.default_rng(0)).text == UNTOLD


def test_a_trace_of_a_structure_is_neither_present_nor_absent():
    mask = head(tumour=(slice(0, 1), slice(0, 1)), side=50)  # 1 of 2500
    assert facts_of(mask, SETS, places=True).statements == {("set", "lgg")}


def test_sizes_are_told_up_to_their_share():
    tumour = SETS[0].structures[0]
    shares = (0.001, 0.015, 0.0151, 0.04, 0.5, 1.0)
    told = [size_of(share, tumour) for share in shares]
    assert told == ["small", "small", "medium", "medium", "large", "large"]


def test_what_is_all_over_the_picture_has_no_side():
    mask = np.full((20, 20), value("retina"))
    mask[:, 3] = value("vessel")
    facts = facts_of(mask, SETS, places=True)
    assert facts.words_of("at", "vessel") == ()
    assert facts.words_of("size", "vessel") == ("thin",)


# Captions


def test_captions_are_true_and_of_known_words():
    words, random = set(vocabulary(SETS)), np.random.default_rng(0)
    said_by: dict[str, frozenset] = {}
    for _ in range(6000):
        facts = facts_of(any_mask(random), SETS, places=True)
        caption = caption_of(facts, random)
        assert facts.hold(caption.said)
        assert set(caption.text.split()) <= words
        assert len(caption.text.split()) <= CONTEXT - 2
        # The same words always say the same: else one of them would be false.
        assert said_by.setdefault(caption.text, caption.said) == caption.said
    assert len(said_by) > 1000


def test_a_caption_is_false_of_what_lacks_one_statement():
    random = np.random.default_rng(1)
    left = facts_of(head(tumour=np.s_[8:12, 1:4]), SETS, places=True)
    right = facts_of(head(tumour=np.s_[8:12, 16:19]), SETS, places=True)
    none = facts_of(head(), SETS, places=True)
    drawn = [caption_of(left, random) for _ in range(200)]
    sided = [one for one in drawn if "left" in one.text]
    assert sided
    assert not any(right.hold(one.said) for one in sided)
    assert all(right.hold(one.said) for one in drawn if "left" not in one.text)
    assert not any(none.hold(one.said) for one in drawn if "tumour" in one.text)


def test_absence_is_told():
    random, facts = np.random.default_rng(2), facts_of(head(), SETS, places=True)
    texts = {caption_of(facts, random).text for _ in range(3000)}
    assert {"healthy brain", "brain without a tumour", "brain mri with no tumour"} <= (
        texts
    )


def test_the_same_generator_gives_the_same_caption():
    facts = facts_of(head(tumour=np.s_[2:9, 3:8]), SETS, places=True)
    texts = [caption_of(facts, np.random.default_rng(5)).text for _ in range(2)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        (("centre",), "in the centre"),
        (("left",), "on the left"),
        (("lower",), "in the lower part"),
        (("right", "upper"), "in the upper right part"),
    ],
)
def test_sides_in_words(sides, words):
    assert where(sides) == words


def test_captions_load_without_torch():
    code = (
        "import sys, diffseg_training.text.captions\n"
        "from diffseg_training.text.picture_sets import read_sets\n"
        "read_sets(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


GOOD = """
- name: a
  title: A
  licence: CC0
  pictures: [drawing]
  around: paper
  normal: [blank]
  structures: [{name: disc, words: [disc], sizes: {small: 0.1, large: 1}}]
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("drawing", "drawing-board"), "'drawing-board' of set a is not words of let"),
        (("name: disc", "name: paper"), "name the class 'paper' twice"),
        (("around", "arround"), "arround"),
        (("pictures: [drawing]", "pictures: []"), "pictures"),
        (("- name", "name"), "YAML"),
    ],
)
def test_mistakes_in_words_are_told_in_one_line(change, message, tmp_path):
    file = tmp_path / "words.yaml"
    file.write_text(GOOD)
    assert class_names(read_sets(str(file))) == ("paper", "disc")
    file.write_text(GOOD.replace(*change))
    with pytest.raises(UserError, match=message) as caught:
        read_sets(str(file))
    assert "\n" not in str(caught.value)


# Tokenizers


def test_byte_pairs_merge_by_hand():
    # l-o is in three words, then lo with w</w> in two, and so on.
    assert merged_pairs(["low", "lot", "slow"]) == (
        ("l", "o"),
        ("lo", "w</w>"),
        ("lo", "t</w>"),
        ("s", "low</w>"),
    )
    assert merged_pairs(["a"]) == ()


@pytest.mark.parametrize("make", [bert_tokenizer, clip_tokenizer])
def test_every_word_is_one_token(make):
    words = vocabulary(SETS)
    tokenizer = make(words, CONTEXT)
    ids = tokenizer(words)
    assert ids.shape == (len(words), CONTEXT)
    assert len(ids[:, 1].unique()) == len(words)
    start, end = ids[0, 0], ids[0, 2]
    assert (ids[:, 0] == start).all()
    assert (ids[:, 2] == end).all()
    assert tokenizer.inner.unk_token_id not in ids[:, 1]


@pytest.mark.parametrize("make", [bert_tokenizer, clip_tokenizer])
def test_words_that_were_never_learnt_are_told(make):
    tokenizer = make(vocabulary(SETS), 8)
    with pytest.raises(UserError, match=r"'tumor' of text .* was never learnt.*tumour"):
        tokenizer(["a tumor on the left"])
    assert tokenizer.unknown("a green Tumour") == ("green",)
    with pytest.raises(UserError, match="has 7 words; at most 6"):
        tokenizer(["a tumour on the left with vessels"])


def test_tokenizers_come_back_from_their_folders(tmp_path):
    from open_clip.tokenizer import HFTokenizer
    from transformers import CLIPTokenizer

    texts = ["a small tumour in the upper left part", "Nuclei"]
    own = bert_tokenizer(vocabulary(SETS), CONTEXT)
    own.inner.save_pretrained(tmp_path / "bert")
    read = HFTokenizer(str(tmp_path / "bert"), context_length=CONTEXT)
    assert torch.equal(read(texts), own(texts))
    own = clip_tokenizer(vocabulary(SETS), CONTEXT)
    own.inner.save_pretrained(tmp_path / "clip")
    again = CLIPTokenizer.from_pretrained(tmp_path / "clip", local_files_only=True)
    ids = again(texts, padding="max_length", max_length=CONTEXT).input_ids
    assert ids == own(texts).tolist()
