"""Words: what they are taken for is told where they are typed, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffseg.domain import Presence
from diffseg.domain.diclip import DiclipConfig
from diffseg.engine.events import Failed

WORDS = {
    "templates": ["a photo of {}."],
    "classes": {"lesion": ["lesion", "mole", "nevus", "melanoma", "spot"], "hair": []},
}


@pytest.fixture
def reading(make_window: Any, make_card: Any, image: Path) -> Any:
    """A window with a case and a model that knows words of one class of two."""
    config = DiclipConfig.model_validate(
        {
            "clip": {"at": "c", "identity": "0" * 64},
            "diffusion": {"at": "d", "identity": "1" * 64},
            "words": WORDS,
        }
    )
    card = make_card(
        "words",
        "lesion",
        "hair",
        method="diclip",
        network=config.model_dump(mode="json"),
        capabilities=frozenset({"text", "labels", "region"}),
    )
    window = make_window(card)
    window.desk.open(str(image))
    window.views.model.model_chosen.emit("words")
    window.views.propose.settings_changed.emit(2, 1, 0)
    return window


def shown(window: Any) -> tuple[Any, ...]:
    last: tuple[Any, ...] = window.views.prompt.last("show_prompt")
    return last


def line(window: Any) -> tuple[str, bool]:
    said: tuple[str, bool] = window.views.prompt.last("say_prompt")
    return said


def test_the_field_is_shown_for_models_that_read_words(reading: Any) -> None:
    known = ("lesion", "mole", "nevus", "melanoma", "spot")
    assert shown(reading) == (True, "", known)
    reading.views.model.model_chosen.emit("tumour")
    assert shown(reading) == (False, "", ())


def test_what_would_be_looked_for_is_told(reading: Any) -> None:
    said = "looks for lesion (mole, nevus, melanoma and 1 more)"
    assert line(reading) == (f"{said}. hair: say in words what it is", False)
    reading.views.prompt.prompt_given.emit(" mole ")
    assert line(reading) == (
        "looks for lesion (mole). hair: say in words what it is",
        False,
    )
    reading.views.prompt.prompt_given.emit("lesion, hair=dark line")
    assert line(reading) == (f"{said} and hair (dark line)", False)
    reading.views.propose.run_requested.emit()
    assert reading.runner.jobs[-1][0].request.text == "lesion, hair=dark line"


def test_ticks_join_the_words(reading: Any) -> None:
    reading.views.prompt.prompt_given.emit("hair=dark line")
    assert line(reading)[0] == "looks for hair (dark line)"
    reading.views.labels.presence_given.emit("lesion", Presence.PRESENT)
    assert line(reading)[0].startswith("looks for lesion (mole, ")
    reading.views.labels.presence_given.emit("lesion", Presence.ABSENT)
    assert line(reading)[0] == "looks for hair (dark line)"
    reading.views.prompt.prompt_given.emit("mole")
    assert line(reading)[0].startswith("nothing is looked for")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lesion,,hair", "empty part"),
        ("lesion=spot, hair=spot", "both called 'spot'"),
        ("boat=spot", "no class of the model"),
    ],
)
def test_what_is_wrong_is_told_there_and_stops_a_run(
    reading: Any, text: str, why: str
) -> None:
    reading.views.prompt.prompt_given.emit(text)
    said, trouble = line(reading)
    assert trouble
    assert why in said
    assert shown(reading)[1] == text  # nothing is lost
    ready, why_not = reading.views.propose.last("set_ready")
    assert not ready
    assert why_not == said
    reading.views.propose.run_requested.emit()
    assert not reading.runner.jobs
    reading.views.prompt.prompt_given.emit("mole")
    assert not line(reading)[1]
    assert reading.views.propose.last("set_ready")[0]


def test_what_the_model_says_of_words_is_told_there_too(reading: Any) -> None:
    reading.views.prompt.prompt_given.emit("lesion=病")
    why = "words of class 'lesion' are not in this CLIP's vocabulary: '病'"
    reading.runner.plans[-1][1](Failed(why, 2))
    assert line(reading) == (why, True)
    assert reading.views.propose.last("set_plan") == (why,)
    reading.views.prompt.prompt_given.emit("mole")
    reading.runner.plans[-1][1](Failed("the image has two channels", 2))
    assert not line(reading)[1]


def test_too_many_steps_are_told_before_a_run(reading: Any) -> None:
    reading.views.propose.settings_changed.emit(2, 5, 0)
    ready, why_not = reading.views.propose.last("set_ready")
    assert not ready
    assert "looks at 3 timesteps" in why_not


def test_words_stay_with_their_case_while_another_model_is_used(
    reading: Any, make_image: Any
) -> None:
    reading.views.prompt.prompt_given.emit("mole")
    reading.views.model.model_chosen.emit("tumour")
    reading.views.propose.run_requested.emit()
    assert reading.runner.jobs[-1][0].request.text is None
    reading.views.propose.cancel_requested.emit()
    reading.views.model.model_chosen.emit("words")
    assert shown(reading)[1] == "mole"
    first = reading.case.id
    reading.desk.open(str(make_image("other.nii.gz")))
    assert shown(reading)[1] == ""
    reading.views.case.case_chosen.emit(first)
    assert shown(reading)[1] == "mole"


def test_what_was_typed_last_is_of_the_case_before(
    reading: Any, make_image: Any
) -> None:
    first, view = reading.case, reading.views.prompt
    view.answers["settle"] = lambda: view.prompt_given.emit("mole")
    reading.desk.open(str(make_image("other.nii.gz")))
    assert (first.prompt, reading.case.prompt) == ("mole", "")
    view.answers["settle"] = lambda: view.prompt_given.emit("hair=line")
    reading.views.case.close_requested.emit()
    assert reading.case is first  # the other one is gone, and its words with it
    assert first.prompt == "mole"


def test_another_method_may_read_words_of_its_own(
    make_window: Any, make_card: Any, image: Path
) -> None:
    card = make_card("reader", "organ", capabilities=frozenset({"text"}))
    window = make_window(card)
    window.desk.open(str(image))
    window.views.model.model_chosen.emit("reader")
    assert shown(window) == (True, "", ())
    window.views.prompt.prompt_given.emit(" the left kidney ")
    window.views.propose.run_requested.emit()
    assert window.runner.jobs[-1][0].request.text == "the left kidney"
