"""Words: a flat picture has pixels, and what was said once is not said again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffseg.domain import Region
from diffseg.engine.events import Finished
from diffseg.errors import UserError
from napari_diffseg.presenters.fitness import check_fit
from napari_diffseg.presenters.words import counted, extent_of


@pytest.fixture
def picture(window: Any, tmp_path: Path) -> Any:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "skin.png")
    window.canvas.answers["slice_region"] = lambda case: Region(
        (0, 1), (0, 20), (0, 30)
    )
    window.desk.open(str(tmp_path / "skin.png"))
    return window


def wanting(card: Any, *channels: str, dims: int = 3, id: str = "") -> Any:
    preparation = card.preparation.model_copy(
        update={"channels": channels, "dims": dims}
    )
    return card.model_copy(update={"preparation": preparation, "id": id or card.id})


def everything_said(window: Any) -> str:
    """All words that any panel was given, paths left out."""
    said = [text for text in window.said if "/" not in text]
    for panel in vars(window.views).values():
        for name, values in panel.calls:
            if name == "show_structures" and not values[0]:
                continue
            if name not in ("set_path", "show_done", "show_card", "show"):
                said += [value for value in values if isinstance(value, str)]
            if name == "show_place" and values[0] is not None:
                said.append(values[0].reason)
    return "\n".join(said)


def test_a_picture_has_pixels_wherever_it_is_spoken_of(
    picture: Any, card: Any, propose: Any
) -> None:
    colour = wanting(card, "red", "green", "blue", dims=2)
    picture.session.set_model(colour, "m@1")
    (facts,) = picture.views.case.last("show_facts")
    assert facts.size == "30 x 20 pixels"
    assert picture.views.correct.last("set_brush")[1] == "pixels"
    picture.draw((0, 2, slice(2, 5)), 2)
    picture.views.propose.answers["ask_replace"] = False
    picture.views.propose.scope_chosen.emit("slice")
    note = picture.views.propose.last("set_scope")[1]
    assert note == "the slice that is shown (30 x 20 pixels)"
    picture.views.propose.run_requested.emit()
    mask = np.zeros((1, 20, 30), np.uint8)
    mask[0, 2:9, 3:9] = 1
    doubt = np.zeros(mask.shape, np.float32)
    doubt[0, 2:4, 3:6] = 0.9
    picture.runner.tell(Finished(propose(picture.case, mask, card, uncertainty=doubt)))
    assert picture.views.propose.last("ask_replace") == (3, "pixel")
    assert "pixels changed; 3 pixels that you drew are kept" in picture.said[-1]
    rows, note, word = picture.views.result.last("show_structures")
    assert rows
    assert word == "pixel"
    assert "alone (30 x 20 pixels)" in note
    place = picture.views.review.last("show_place")[0]
    assert place.reason.endswith("6 pixels in doubt")
    picture.views.export.run_requested.emit()
    assert "posterior 3 pixels" in picture.views.export.last("show_done")[0]
    assert "voxel" not in everything_said(picture)


def test_that_there_are_no_millimetres_is_said_once(picture: Any) -> None:
    (facts,) = picture.views.case.last("show_facts")
    said = "\n".join([facts.spacing, facts.orientation, *facts.warnings])
    assert said.count("millimetres") == 1
    (line,) = facts.warnings
    assert line.startswith("how large anything is in mm is unknown: give the spacing")
    assert "ml" not in line.replace("mm", "")  # a picture has no volumes
    picture.views.case.spacing_given.emit(1.0, 0.5, 0.25)
    (facts,) = picture.views.case.last("show_facts")
    assert not any("unknown" in one for one in facts.warnings)


def test_a_volume_without_millimetres_is_told_what_it_lacks(window: Any) -> None:
    from tests.presenters.test_case import layer_of

    window.canvas.image_added.emit(layer_of(np.zeros((4, 5, 6))))
    (facts,) = window.views.case.last("show_facts")
    assert facts.size == "6 x 5 x 4 voxels"
    assert "volumes in ml and sides of the patient are unknown" in facts.warnings[0]


@pytest.mark.parametrize(
    ("others", "advice"),
    [
        ((), "no model in the list takes such an image; add one that does"),
        (("skin",), "models in the list that take such an image: skin"),
        (
            ("a", "b", "b", "c", "d", "e"),
            "models in the list that take such an image: a, b, c and 2 more",
        ),
    ],
)
def test_a_colour_picture_is_told_which_models_take_it(
    picture: Any, card: Any, others: tuple[str, ...], advice: str
) -> None:
    colour = ("red", "green", "blue")
    cards = [wanting(card, *colour, dims=2, id=id) for id in others]
    cards += [wanting(card, "image"), wanting(card, *colour, dims=3, id="volumes")]
    with pytest.raises(UserError) as caught:
        check_fit(picture.case, card, whole=True, others=lambda: cards)
    said = str(caught.value)
    assert said.startswith("the image has 3 channels, model hippocampus-mri wants 1 ")
    assert said.endswith(f": {advice}")
    assert "as one image" not in said


def test_of_too_few_channels_the_others_may_be_opened_too(
    window: Any, image: Path, card: Any
) -> None:
    window.desk.open(str(image))
    two = wanting(card, "t1", "t2")
    with pytest.raises(UserError, match="open the files of its channels as one image"):
        check_fit(window.case, two, whole=True)
    with pytest.raises(UserError, match=r"as one image, or choose hippocampus-mri$"):
        check_fit(window.case, two, whole=True, others=lambda: [two, card])


def test_the_window_asks_its_own_list(picture: Any, card: Any) -> None:
    picture.session.set_model(wanting(card, "image"), "m@1")
    can, why = picture.views.propose.last("set_ready")
    assert not can
    assert why.endswith("no model in the list takes such an image; add one that does")


def test_a_slice_is_asked_for_alone_where_the_model_sees_whole_images(
    window: Any, card: Any, image: Path
) -> None:
    window.desk.open(str(image))
    given = {"dims": 2, "context": 2}
    asked = []
    for size in (None, (16, 16)):
        preparation = card.preparation.model_copy(update={**given, "size": size})
        window.session.set_model(
            card.model_copy(update={"preparation": preparation}), f"m@{size}"
        )
        window.views.propose.scope_chosen.emit("slice")
        window.views.propose.run_requested.emit()
        asked.append(window.runner.jobs[-1][0].request.region.z)
        window.views.propose.cancel_requested.emit()
    assert asked == [(0, 5), (2, 3)]


def test_numbers_and_extents_in_words() -> None:
    assert counted(1, "pixel") == "1 pixel"
    assert counted(1234, "voxel") == "1,234 voxels"
    assert extent_of((1, 4, 6), "pixel") == "6 x 4 pixels"
    assert extent_of((1, 4, 6), "voxel") == "6 x 4 x 1 voxels"
