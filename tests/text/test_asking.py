"""Which classes and which words a text asks for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from diffseg.domain import ImageLabels
from diffseg.domain.asking import Asked, asked_of, spoken
from diffseg.domain.prompts import PromptBook
from diffseg.errors import UserError

NAMES = ("skin lesion", "hair", "object")
BOOK = PromptBook(
    ("an image of {}",),
    {"skin lesion": ("lesion", "mole"), "hair": ("hair",), "object": ()},
    ("skin", "ruler"),
)


def asked(text: str | None, labels: str = "", present: tuple[str, ...] = ()) -> Asked:
    return asked_of(NAMES, BOOK, text, ImageLabels.parse(labels), present)


def words(found: Asked) -> dict[str, tuple[str, ...]]:
    assert found.prompts is not None
    return dict(zip(found.prompts.names, found.prompts.words, strict=True))


def test_a_class_is_asked_for_by_its_name_however_it_is_written() -> None:
    for text in ("skin lesion", " Skin_Lesion ", "SKIN-lesion,"[:-1]):
        found = asked(text)
        assert found.wanted == (0,)
        assert words(found)["skin lesion"] == ("lesion", "mole")
        assert found.indices == (0, 1)  # what has words; object has none


def test_a_word_that_means_a_class_is_said_alone() -> None:
    found = asked("Mole")
    assert found.wanted == (0,)
    assert words(found)["skin lesion"] == ("Mole",)


def test_words_of_ones_own_and_several_classes_at_once() -> None:
    found = asked("hair=dark lines, skin lesion=red spot,skin lesion=brown  spot")
    assert found.wanted == (0, 1)
    assert words(found) == {
        "skin lesion": ("red spot", "brown spot"),
        "hair": ("dark lines",),
    }


def test_words_that_mean_no_class_go_to_one_without_words() -> None:
    found = asked("air bubble")
    assert found.wanted == (2,)
    assert words(found)["object"] == ("air bubble",)
    with pytest.raises(UserError, match=r"'gel' means no class .* as skin lesion="):
        asked("air bubble,gel")


def test_labels_say_what_is_looked_for_too() -> None:
    assert asked(None, "hair").wanted == (1,)
    assert asked("skin lesion", "hair").wanted == (0, 1)
    assert asked(None).wanted == (0, 1)
    assert asked(None, "hair=absent").wanted == (0,)
    assert asked("hair", "hair=absent").wanted == ()
    assert asked(None, "", ("hair",)).wanted == (1,)


def test_what_is_absent_everywhere_needs_no_words() -> None:
    everything = ",".join(f"{name}=absent" for name in NAMES)
    assert asked(None, everything) == Asked(None, (), ())


def test_background_words_are_none_that_were_asked_for() -> None:
    found = asked("hair=ruler")
    assert found.prompts is not None
    assert found.prompts.background == ("skin",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the text is empty"),
        ("  ", "the text is empty"),
        ("hair,,hair", "has an empty part"),
        ("hair=", "has an empty part"),
        ("=dark", "has an empty part"),
        ("nail=dark", "'nail' is no class of the model: skin lesion, hair, object"),
        ("skin lesion=spot,hair=spot", "are both called 'spot'"),
        ("hair=mole,skin lesion", "are both called 'mole'"),
    ],
)
def test_what_says_nothing_is_refused_in_one_line(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        asked(text)
    assert "\n" not in str(caught.value)


def test_a_class_without_words_that_is_present_is_refused() -> None:
    with pytest.raises(UserError, match="class 'object' has no words of its own"):
        asked(None, "object")


def test_a_text_is_taken_apart() -> None:
    assert spoken("a, b=c d") == ((None, "a"), ("b", "c d"))


def test_it_loads_without_torch() -> None:
    code = (
        "import sys, diffseg.domain.diclip, diffseg.segmenters.text.asking\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
