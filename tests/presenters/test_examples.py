"""Examples of a model: read once they are looked at, left out, and brought back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from diffseg.domain.cache_keys import CacheKey, KeyImage
from diffseg.errors import UserError


def key(index: int, label: str) -> CacheKey:
    image = KeyImage(f"i{index}", "", "generated", 1.0)
    return CacheKey(index, label, (image,), label != "background")


class Keys:
    """A cache of three keys, and versions of a model that lost some."""

    def __init__(self, catalogue: Any) -> None:
        self.catalogue = catalogue
        self.dropped: list[tuple[int, ...]] = []
        self.read: list[str] = []

    def read_keys(self, model: Any) -> list[CacheKey]:
        self.read.append(model.name)
        return [key(0, "background"), key(1, "tumour"), key(2, "tumour")]

    def drop_keys(self, model: Any, indices: tuple[int, ...]) -> Any:
        if len(indices) == 3:
            raise UserError("these are all the keys of tumour")
        self.dropped.append(indices)
        made = SimpleNamespace(
            name="words@1+keys1",
            card=model.card.model_copy(
                update={"version": "1+keys1", "parent": f"{model.name}#{'0' * 64}"}
            ),
        )
        self.catalogue.models.append(made)
        return made


@pytest.fixture
def looked(make_window: Any, make_card: Any) -> Any:
    card = make_card("words", "tumour", network={"cache": True})
    window = make_window(card)
    presenter = window.desk.learning.examples
    window.keys = presenter._caches = Keys(presenter._catalogue)
    window.views.model.model_chosen.emit("words")
    return window


def test_only_a_model_with_a_cache_has_examples(looked: Any) -> None:
    assert looked.views.cache.last("show_there") == (True,)
    assert not looked.keys.read  # not before somebody looks
    looked.views.cache.looked.emit(True)
    keys, colors = looked.views.cache.last("show_keys")
    assert [one.index for one in keys] == [0, 1, 2]
    table = looked.session.model.labels
    assert colors == ["#999999", *[table.labels[0].color] * 2]
    assert looked.views.cache.last("show_state")[0] == "3 examples, of 3 images"
    looked.views.cache.looked.emit(False)
    looked.views.cache.looked.emit(True)
    assert looked.keys.read == ["words@1"]
    looked.views.model.model_chosen.emit("tumour")
    assert looked.views.cache.last("show_there") == (False,)


def test_what_is_left_out_makes_a_version_that_is_used(looked: Any) -> None:
    looked.views.cache.looked.emit(True)
    looked.background.held = True
    looked.views.cache.drop_requested.emit((2,))
    line, why_not, _ = looked.views.cache.last("show_state")
    assert line == "leaving out 1 example ..."
    assert "wait" in why_not
    looked.views.cache.drop_requested.emit((1,))  # not twice at once
    looked.background.held = False
    looked.background.go_on()
    assert looked.keys.dropped == [(2,)]
    assert looked.session.model_name == "words@1+keys1"
    assert "without 1 example" in looked.said[-1]
    assert looked.keys.read == ["words@1", "words@1+keys1"]
    assert looked.views.cache.last("show_state")[1:] == ("", "words@1")
    looked.views.cache.undo_requested.emit()
    assert looked.session.model_name == "words@1"
    assert looked.views.cache.last("show_state")[2] == ""


def test_what_cannot_be_left_out_is_told_and_all_stays(looked: Any) -> None:
    looked.views.cache.looked.emit(True)
    looked.views.cache.drop_requested.emit((0, 1, 2))
    assert "all the keys of tumour" in looked.troubles[-1]
    assert looked.session.model_name == "words@1"
    assert looked.views.cache.last("show_state") == ("3 examples, of 3 images", "", "")


def test_another_model_that_was_chosen_meanwhile_stays(looked: Any) -> None:
    looked.background.held = True
    looked.views.cache.drop_requested.emit((2,))
    looked.views.model.model_chosen.emit("tumour")
    looked.background.held = False
    looked.background.go_on()
    assert looked.session.model_name == "tumour@1"


@pytest.mark.parametrize(
    ("network", "why"), [({"answer": "head"}, "head"), ({"adapter": {}}, "adapter")]
)
def test_where_it_would_change_nothing_it_says_so(
    make_window: Any, make_card: Any, network: dict[str, Any], why: str
) -> None:
    window = make_window(make_card("words", "a", network={"cache": True, **network}))
    presenter = window.desk.learning.examples
    presenter._caches = Keys(presenter._catalogue)
    window.views.model.model_chosen.emit("words")
    window.views.cache.looked.emit(True)
    assert why in window.views.cache.last("show_state")[1]
