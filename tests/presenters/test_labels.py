"""Image-level labels, names and values of structures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Label, LabelTable, Presence
from diffseg.errors import UserError
from diffseg.project.entries import Origin, Said
from napari_diffseg.presenters.tables import (
    counts_of,
    extended,
    labels_for,
    merged,
    slice_labels_for,
    used_values,
)
from napari_diffseg.session import Entry


@pytest.fixture
def opened(window: Any, image: Path) -> Any:
    window.desk.open(str(image))
    return window


def rows(window: Any) -> list[tuple[int, str, Presence]]:
    shown = window.views.labels.last("show_labels")[0]
    return [(label.value, label.name, presence) for label, presence in shown]


def test_the_models_structures_are_shown(opened: Any) -> None:
    unknown = Presence.UNKNOWN
    assert rows(opened) == [(1, "anterior", unknown), (2, "posterior", unknown)]
    assert opened.views.labels.last("show_labels")[1:] == (1, True)


def test_presence_has_three_states(opened: Any) -> None:
    opened.views.labels.presence_given.emit("anterior", Presence.ABSENT)
    assert rows(opened)[0][2] is Presence.ABSENT
    assert opened.journal.last("replace")[2] == opened.case.labels
    opened.views.labels.presence_given.emit("anterior", Presence.UNKNOWN)
    assert not opened.case.labels


def test_renaming_keeps_what_was_said(opened: Any, card: Any) -> None:
    opened.views.labels.presence_given.emit("anterior", Presence.PRESENT)
    opened.views.labels.renamed.emit(1, "head")
    assert rows(opened)[0] == (1, "head", Presence.PRESENT)
    assert opened.canvas.last("show_table") == (opened.case,)
    assert opened.journal.last("replace")[1].names == ("head", "posterior")
    # the model still hears its own name
    said = labels_for(opened.case, card)
    assert dict(said) == {"anterior": Presence.PRESENT}


def test_marked_slices_go_to_a_model_that_hears_them(opened: Any, card: Any) -> None:
    planes = opened.case.volume.shape[0]
    slices = np.zeros(planes, np.uint8)
    slices[1:3] = 1
    said = {"anterior": Said(Presence.PRESENT, slices)}
    opened.case.entry = Entry(Origin("a"), said=said)
    assert slice_labels_for(opened.case, card) is None
    uses = card.capabilities | {"slice_labels"}
    able = card.model_copy(update={"capabilities": uses})
    found = slice_labels_for(opened.case, able)
    assert found is not None
    assert found.names == ("anterior", "posterior")
    assert found.of("anterior").tolist() == slices.tolist()
    assert not found.of("posterior").any()
    opened.case.entry = Entry(Origin("a"))
    assert slice_labels_for(opened.case, able) is None


def test_a_name_that_is_taken_is_refused(opened: Any) -> None:
    opened.views.labels.renamed.emit(1, "posterior")
    assert "another structure is called 'posterior'" in opened.troubles[-1]
    assert rows(opened)[0][1] == "anterior"  # the view goes back


def test_colours(opened: Any) -> None:
    opened.views.labels.recolored.emit(2, "#112233")
    assert opened.case.table.labels[1].color == "#112233"
    opened.views.labels.recolored.emit(2, "pink")
    assert opened.case.table.labels[1].color == "#112233"
    assert "#rrggbb" in opened.troubles[-1]


def test_a_new_structure_is_painted_with(opened: Any) -> None:
    opened.views.labels.added.emit("cyst")
    assert rows(opened)[-1][:2] == (3, "cyst")
    assert opened.canvas.last("set_label") == (3,)
    assert opened.views.labels.last("show_labels")[1] == 3


def test_the_active_label_goes_both_ways(opened: Any) -> None:
    opened.views.labels.label_chosen.emit(2)
    assert opened.canvas.last("set_label") == (2,)
    opened.canvas.label_changed.emit(1)
    assert opened.views.labels.last("show_labels")[1] == 1


def test_what_is_painted_gets_a_name(opened: Any) -> None:
    opened.canvas.label_changed.emit(9)
    assert len(opened.case.table) == 2  # leafing through labels names none
    opened.draw((0, 0, 0), 9)
    assert rows(opened)[-1][:2] == (9, "structure 9")


def test_another_model_takes_over_an_empty_mask(opened: Any) -> None:
    opened.views.labels.renamed.emit(1, "head")
    opened.views.model.model_chosen.emit("tumour")
    assert opened.case.table.names == ("tumour",)


def test_another_model_does_not_rename_what_is_drawn(opened: Any) -> None:
    opened.draw((0, 0, 0), 2)
    opened.views.model.model_chosen.emit("tumour")
    assert opened.case.table.names == ("tumour", "posterior")  # 1 was not in use
    opened.draw((0, 0, 1), 1)
    opened.views.model.model_chosen.emit("hippocampus-mri")
    assert opened.case.table.names == ("tumour", "posterior")
    assert "'tumour' as label 1" in opened.troubles[-1]
    assert "'anterior'" in opened.troubles[-1]
    opened.views.propose.run_requested.emit()
    assert not opened.runner.jobs  # refused, in words
    opened.views.labels.renamed.emit(1, "anterior")
    opened.views.propose.run_requested.emit()
    assert len(opened.runner.jobs) == 1


def test_tables_merge_where_they_agree(card: Any) -> None:
    own = (Label(name="posterior", value=2, color="#000001"),)
    more = (*own, Label(name="cyst", value=5), Label(name="unused", value=1))
    table = merged(LabelTable(labels=more), (2, 5), card)
    assert table.names == ("anterior", "posterior", "cyst")
    assert table.labels[1].color == "#000001"
    with pytest.raises(UserError, match="numbers 2"):
        merged(LabelTable(labels=(Label(name="posterior", value=4),)), (4,), card)


def test_values_in_use_are_counted() -> None:
    values = np.zeros((3, 4, 5), np.uint8)
    values[0, 0, :2], values[2, 3, 4] = 7, 255
    assert used_values(values) == (7, 255)
    assert counts_of(values)[[0, 7, 255]].tolist() == [57, 2, 1]


def test_tables_are_full_at_255() -> None:
    labels = tuple(Label(name=str(v), value=v) for v in range(1, 256))
    with pytest.raises(UserError, match="at most 255"):
        extended(LabelTable(labels=labels), "one more")


def test_a_locked_case_is_not_edited(opened: Any) -> None:
    opened.case.locked = "open in another window"
    opened.session.change(opened.case, "table")
    assert opened.views.labels.last("show_labels")[2] is False


def test_a_version_with_another_table_swaps_nothing(
    make_window: Any, make_card: Any, image: Path
) -> None:
    newer = make_card("hippocampus-mri", "posterior", "anterior", version="2")
    window = make_window(newer)
    window.desk.open(str(image))
    window.draw((1, 1, 1), 1)
    window.views.model.model_chosen.emit("hippocampus-mri@2")
    assert window.case.table.names == ("anterior", "posterior")
    assert "which model hippocampus-mri calls 'posterior'" in window.troubles[-1]
    window.views.propose.run_requested.emit()
    assert not window.runner.jobs


def test_steps_of_another_table_cannot_be_done_again(opened: Any) -> None:
    opened.views.model.model_chosen.emit("tumour")
    assert opened.canvas.all("forget_history") == [(opened.case,)]


def test_steps_outlive_a_new_row(opened: Any) -> None:
    opened.views.labels.added.emit("tail")
    opened.views.labels.renamed.emit(1, "head")
    assert not opened.canvas.all("forget_history")
