"""Orientation letters and the status line, for every way an image can lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from diffseg import Volume
from diffseg.domain import Label, LabelTable
from diffseg.project.annotation import Annotation
from diffseg.volume import Affine, Display
from napari_diffseg.layers.letters import OrientationLetters
from napari_diffseg.layers.places import shown_index, voxel_at, world_point
from napari_diffseg.session import Case, Session
from napari_diffseg.widgets.status import StatusLine, describe_place

pytestmark = pytest.mark.gui

RAS = np.diag([2.0, 3.0, 4.0, 1.0])
TILT = np.radians(12)
OBLIQUE = np.eye(4)
OBLIQUE[1:3, 1:3] = [[np.cos(TILT), -np.sin(TILT)], [np.sin(TILT), np.cos(TILT)]]


def case_of(affine: Any, shape: tuple[int, ...] = (4, 5, 6)) -> Case:
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    volume = Volume.from_array(voxels, affine)
    display = Display.of(volume.grid)
    table = LabelTable(labels=(Label(name="hippocampus", value=3),))
    return Case(volume, display, Annotation.empty(volume.shape), "case", table)


def viewer_of(case: Case) -> ViewerModel:
    viewer = ViewerModel()
    show = case.display
    viewer.add_image(
        show.view(case.volume.data[0]), scale=show.scale, translate=show.translate
    )
    return viewer


@pytest.fixture
def case() -> Case:
    return case_of(RAS)


def test_letters_follow_the_plane(qapp: Any, case: Case) -> None:
    viewer = viewer_of(case)
    letters = OrientationLetters(viewer)
    letters.show(case.display)
    assert letters.shown == {"top": "A", "bottom": "P", "left": "R", "right": "L"}
    viewer.dims.order = (1, 0, 2)
    assert letters.shown == {"top": "S", "bottom": "I", "left": "R", "right": "L"}
    viewer.dims.order = (2, 0, 1)
    assert letters.shown == {"top": "S", "bottom": "I", "left": "A", "right": "P"}


def test_letters_follow_the_camera(qapp: Any, case: Case) -> None:
    viewer = viewer_of(case)
    letters = OrientationLetters(viewer)
    letters.show(case.display)
    viewer.scene.camera.orientation2d = ("down", "left")
    assert letters.shown == {"top": "A", "bottom": "P", "left": "L", "right": "R"}
    viewer.scene.camera.orientation2d = ("up", "right")
    assert letters.shown == {"top": "P", "bottom": "A", "left": "R", "right": "L"}


def test_letters_go_in_3d_without_a_case_and_without_millimetres(
    qapp: Any, case: Case
) -> None:
    viewer = viewer_of(case)
    letters = OrientationLetters(viewer)
    nothing = {"top": "", "bottom": "", "left": "", "right": ""}
    assert letters.shown == nothing
    letters.show(case.display)
    viewer.dims.ndisplay = 3
    assert letters.shown == nothing
    viewer.dims.ndisplay = 2
    assert letters.shown != nothing
    letters.show(None)
    assert letters.shown == nothing
    letters.show(case_of(None).display)
    assert letters.shown == nothing


def test_letters_hold_with_a_layer_of_more_axes(qapp: Any, case: Case) -> None:
    viewer = viewer_of(case)
    letters = OrientationLetters(viewer)
    letters.show(case.display)
    viewer.add_image(np.zeros((2, 4, 5, 6)))
    assert letters.shown == {"top": "A", "bottom": "P", "left": "R", "right": "L"}


def test_obliqueness_is_told_in_degrees(qapp: Any, case: Case) -> None:
    viewer = viewer_of(case)
    letters = OrientationLetters(viewer)
    letters.show(case.display)
    assert letters.note == ""
    letters.show(case_of(OBLIQUE).display)
    assert letters.note == "oblique 12 deg"


def test_the_place_of_the_slice_is_told(qapp: Any, case: Case) -> None:
    viewer = viewer_of(case)
    letters = OrientationLetters(viewer)
    letters.show(case.display)
    # The shown axes run to the feet: the first plane is the highest.
    viewer.dims.set_point(0, case.display.translate[0])
    assert letters.place == "Axial  S 12.0 mm"
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_point(2, case.display.translate[2])
    assert letters.place == "Sagittal  R 10.0 mm"


def test_letters_go_for_good(qapp: Any, case: Case) -> None:
    viewer = viewer_of(case)
    before = set(viewer.canvas.overlays)
    letters = OrientationLetters(viewer)
    letters.show(case.display)
    letters.close()
    assert set(viewer.canvas.overlays) == before
    viewer.dims.order = (1, 0, 2)
    assert letters.shown["top"] == ""


@pytest.mark.parametrize("affine", [RAS, OBLIQUE, np.diag([-1.0, -1.0, 2.0, 1.0])])
def test_a_place_is_the_same_voxel_on_every_way(affine: Any) -> None:
    case = case_of(affine)
    grid, display = case.volume.grid, case.display
    for voxel in ((0, 0, 0), (3, 1, 5), (1, 4, 2)):
        shown = [int(a) for a in display.shown_indices([np.array(v) for v in voxel])]
        point = (float(shown[0]), float(shown[1]), float(shown[2]))
        world = world_point(display, point)
        back = shown_index(display, (9.0, *world))
        assert back == pytest.approx(point)
        assert voxel_at(display, point) == voxel
        mm = Affine(grid.affine.matrix) @ np.array(voxel[::-1], float)
        assert display.to_ras(point) == pytest.approx(tuple(mm))
    assert voxel_at(display, (0.0, 0.0, 6.0)) is None
    assert voxel_at(display, (-1.0, 0.0, 0.0)) is None


def test_status_tells_millimetres_voxel_intensity_and_label(case: Case) -> None:
    case.annotation.values[1, 2, 3] = 3
    shown = case.display.shown_indices([np.array(v) for v in (1, 2, 3)])
    text = describe_place(case, (shown[0] + 0.3, shown[1] - 0.3, float(shown[2])))
    assert text.split("    ") == [
        "R 6.0  A 6.0  S 4.0 mm",
        "voxel 3, 2, 1",
        f"intensity {1 * 30 + 2 * 6 + 3}",
        "hippocampus",
    ]


def test_status_tells_uncertainty_and_unnamed_labels(case: Case) -> None:
    class Doubtful:
        uncertainty = np.full((4, 5, 6), 0.25, np.float32)

    case.proposal = Doubtful()  # type: ignore[assignment]
    case.annotation.values[:] = 9
    text = describe_place(case, (0.0, 0.0, 0.0))
    assert "label 9" in text
    assert text.endswith("uncertainty 0.25")
    case.annotation.values[:] = 0
    assert "background" in describe_place(case, (0.0, 0.0, 0.0))
    assert describe_place(case, (0.0, 0.0, 60.0)) == ""


def test_status_of_a_picture_tells_a_pixel() -> None:
    volume = Volume.from_array(np.arange(30).reshape(1, 5, 6))
    volume = replace(volume, source=replace(volume.source, format="png"))
    flat = Case(volume, Display.of(volume.grid), Annotation.empty(volume.shape), "skin")
    assert describe_place(flat, (0.0, 2.0, 3.0)).startswith("pixel 3, 2    intensity")


def test_status_without_millimetres_tells_none() -> None:
    assert "mm" not in describe_place(case_of(None), (0.0, 0.0, 0.0))


def test_status_takes_the_place_of_naparis_and_only_there(
    qapp: Any, case: Case
) -> None:
    viewer, session = viewer_of(case), Session()
    session.add(case)
    shown: list[object] = []
    viewer.events.status.connect(lambda event: shown.append(event.value))
    line = StatusLine(viewer, session)
    viewer.cursor.position = world_point(case.display, (0.0, 0.0, 0.0))
    active = viewer.layers[0].get_status(viewer.cursor.position, world=True)
    viewer.status = active
    assert str(viewer.status).startswith("R 10.0  A 12.0  S 12.0 mm")
    assert shown[-1] == viewer.status
    viewer.status = "saved"
    assert viewer.status == "saved"
    viewer.cursor.position = (1e6, 0.0, 0.0)
    viewer.status = active
    assert viewer.status == active
    line.close()
    viewer.cursor.position = world_point(case.display, (0.0, 0.0, 0.0))
    viewer.status = "Ready"
    viewer.status = active
    assert viewer.status == active
