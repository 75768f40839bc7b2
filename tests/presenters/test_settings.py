"""Whether a proposal can run, told before anybody presses the button."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import (
    ImageLabels,
    Localisation,
    Preparation,
    Presence,
    TemplateBox,
)
from diffseg.engine.events import Failed
from diffseg.errors import UserError
from diffseg.volume import Affine, Volume
from napari_diffseg.presenters.fitness import check_fit, doubts_of, without_name


def ready(window: Any) -> tuple[bool, str]:
    return window.views.propose.last("set_ready")


def box() -> Localisation:
    left = TemplateBox(name="left", low_mm=(-44, -47, -33), high_mm=(-10, 3, 1))
    return Localisation(boxes=(left,), largest_mm=(5, 5, 5))


def changed(card: Any, **preparation: Any) -> Any:
    new = card.preparation.model_copy(update=preparation)
    return card.model_copy(update={"preparation": new})


def as_if(window: Any, *, ct: bool = False, **what: Any) -> Any:
    """The case with another volume."""
    case = window.case
    if ct:
        what["source"] = replace(case.volume.source, modality="CT")
    case.volume = replace(case.volume, **what)
    return case


@pytest.fixture
def opened(window: Any, image: Path) -> Any:
    window.desk.open(str(image))
    return window


def test_all_is_well(opened: Any, card: Any) -> None:
    assert ready(opened) == (True, "")
    assert opened.views.propose.last("show_doubts") == ((),)


def test_other_channels_are_told_before_the_run(opened: Any, card: Any) -> None:
    wanted = changed(card, channels=("t1", "t2"))
    opened.session.set_model(wanted, "m@1")
    can, why = ready(opened)
    assert not can
    assert "has 1 channel, model" in why
    assert "wants 2 (t1, t2)" in why


def test_every_structure_absent_is_nothing_to_look_for(opened: Any, card: Any) -> None:
    case = opened.case
    names = [label.name for label in case.table.each()]
    assert len(names) > 1
    case.labels = ImageLabels(dict.fromkeys(names[1:], Presence.ABSENT))
    opened.session.change(case, "labels")
    assert ready(opened)[0]
    case.labels = ImageLabels(dict.fromkeys(names, Presence.ABSENT))
    opened.session.change(case, "labels")
    assert not ready(opened)[0]
    assert "every structure is said to be absent" in ready(opened)[1]


def test_a_region_that_cannot_be_looked_for(opened: Any, card: Any) -> None:
    wanted = card.model_copy(update={"localisation": box()})
    case = opened.case
    check_fit(case, wanted, whole=True)
    case.volume = Volume.from_array(np.zeros((6, 8, 10)))
    with pytest.raises(UserError, match="no millimetres: draw a box"):
        check_fit(case, wanted, whole=True)
    check_fit(case, wanted, whole=False)
    case.volume = Volume.from_array(np.zeros((1, 8, 10)), Affine.identity())
    with pytest.raises(UserError, match="is one slice"):
        check_fit(case, wanted, whole=True)
    case.volume = Volume.from_array(np.zeros((4, 5, 5)))
    check_fit(case, wanted, whole=True)  # no larger than the region itself


def test_doubts_are_told_and_stop_nothing(opened: Any, card: Any) -> None:
    case = as_if(opened, ct=True)
    opened.session.set_model(card, "m@1")
    assert ready(opened) == (True, "")
    (lines,) = opened.views.propose.last("show_doubts")
    assert lines == ("this image is CT, the model was made for MR",)
    case.volume = Volume.from_array(np.zeros((1, 8, 10)))
    mm = changed(card, spacing_mm=(1.0, 1.0, 2.0))
    assert mm.preparation.dims == Preparation().dims == 3
    one, two = doubts_of(case, mm)
    assert "one slice" in one
    assert "voxels of 1 x 1 x 2 mm" in two


def test_the_name_of_an_image_is_not_told_twice(opened: Any) -> None:
    case = opened.case
    name = case.volume.name
    assert without_name(case, f"{name}: no brain found") == "no brain found"
    assert without_name(case, f"{name}s are many") == f"{name}s are many"
    opened.runner.plans[-1][1](Failed(f"{name}: no brain found", 2))
    assert opened.views.propose.last("set_plan") == ("no estimate: no brain found",)
