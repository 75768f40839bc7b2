"""An image of unknown sides: as stored, without letters, planes' names and RAS mm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from diffseg import Volume
from diffseg.domain import Label, LabelTable
from diffseg.project.annotation import Annotation
from diffseg.volume import Display
from napari_diffseg.layers.letters import OrientationLetters
from napari_diffseg.layers.navigation import Navigator
from napari_diffseg.layers.places import slice_name, slice_words
from napari_diffseg.plugin.geometry import layer_keywords, origin_of
from napari_diffseg.presenters.facts import facts_of
from napari_diffseg.presenters.geometry import SIDES_UNKNOWN, spaced
from napari_diffseg.session import Case
from napari_diffseg.views import CaseFacts
from napari_diffseg.widgets.case_panel import CasePanel
from napari_diffseg.widgets.orthogonal import OrthogonalViews
from napari_diffseg.widgets.status import describe_place

SHAPE = (4, 5, 6)
AFFINE = np.diag([-2.0, 3.0, 4.0, 1.0])
NOTHING = {"top": "", "bottom": "", "left": "", "right": ""}
CR = "odd_files/pydicom/dicomdirtests/77654033/CR1/6154"


def volume_of(sides: bool = False, named: Any = ("", "", "")) -> Volume:
    voxels = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    volume = Volume.from_array(voxels, AFFINE)
    return replace(volume, grid=replace(volume.grid, has_sides=sides, named=named))


def case_of(volume: Volume) -> Case:
    table = LabelTable(labels=(Label(name="lesion", value=1),))
    note = Annotation.empty(volume.shape)
    return Case(volume, Display.of(volume.grid), note, "case", table)


def viewer_of(case: Case) -> ViewerModel:
    viewer, show = ViewerModel(), case.display
    viewer.add_image(
        show.view(case.volume.data[0]), scale=show.scale, translate=show.translate
    )
    return viewer


def test_it_is_shown_as_stored_and_true_to_its_millimetres() -> None:
    display = Display.of(volume_of().grid)
    assert display.turn.identity
    assert display.shown == display.grid
    assert display.scale == (4.0, 3.0, 2.0)
    assert display.unit == "mm"
    assert display.letters == ("", "", "")
    assert display.to_ras((1, 1, 1)) is None
    assert display.oblique_deg == 0
    known = Display.of(volume_of(sides=True).grid)
    assert not known.turn.identity
    assert known.letters == ("I", "P", "L")


def test_named_edges_are_written_and_nothing_else() -> None:
    display = Display.of(volume_of(named=("", "I", "L")).grid)
    assert display.ends == (("", ""), ("S", "I"), ("R", "L"))
    assert display.to_ras((1, 1, 1)) is None
    assert slice_name(display, 0) == "Plane"


def test_slices_are_numbered() -> None:
    display = Display.of(volume_of().grid)
    assert [slice_name(display, axis) for axis in range(3)] == [
        "Plane",
        "Row",
        "Column",
    ]
    assert slice_words(display, (2.0, 0.0, 0.0), 0) == "3 / 4"


def test_the_status_line_tells_no_millimetres() -> None:
    text = describe_place(case_of(volume_of()), (1.0, 2.0, 3.0))
    assert text.split("    ") == ["voxel 3, 2, 1", "intensity 45", "background"]


@pytest.mark.gui
def test_the_canvas_has_no_letters(qapp: Any) -> None:
    case = case_of(volume_of())
    viewer = viewer_of(case)
    letters = OrientationLetters(viewer)
    letters.show(case.display)
    assert letters.shown == NOTHING
    assert letters.note == ""
    assert letters.place.startswith("Plane  ")
    assert "mm" not in letters.place
    letters.close()


@pytest.mark.gui
def test_the_canvas_is_not_mirrored(qapp: Any) -> None:
    viewers = {}
    for sides in (True, False):
        case = case_of(volume_of(sides, ("", "", "") if sides else ("", "P", "L")))
        viewer = viewers[sides] = viewer_of(case)
        navigator = Navigator(viewer)
        navigator.radiological = False
        navigator.orient(case.display)
    turns = {k: str(v.scene.camera.orientation2d[1]) for k, v in viewers.items()}
    assert turns == {True: "left", False: "right"}


@pytest.mark.gui
def test_the_panes_are_not_mirrored(qtbot: Any) -> None:
    views = OrthogonalViews()
    qtbot.addWidget(views)
    views.set_radiological(False)
    for sides in (True, False):
        views.show_case(case_of(volume_of(sides, ("", "P", "L"))))
        assert any(pane.mirrored for pane in views.panes) is sides


def test_a_radiograph(data_dir: Path) -> None:
    case = case_of(Volume.read(data_dir / CR))
    facts = facts_of(case)
    assert facts.orientation == "as stored; only the sides at the edges are known"
    assert not facts.sides_known
    assert not facts.has_planes
    assert case.display.ends[1:] == (("S", "I"), ("R", "L"))
    assert case.display.ends[0] == ("", "")
    assert "mm" not in describe_place(case, (0.0, 1.0, 1.0))


def test_a_nifti_without_forms(data_dir: Path) -> None:
    case = case_of(Volume.read(data_dir / "odd_files/derived/no_sform_no_qform.nii.gz"))
    facts = facts_of(case)
    assert facts.orientation == "as stored; which side is which is not known"
    assert not facts.sides_known
    assert facts.has_planes
    assert any("is a guess" in line for line in facts.warnings)
    assert case.display.letters == ("", "", "")


def test_the_facts_leave_the_habit_to_its_check_box() -> None:
    facts = facts_of(case_of(volume_of(sides=True)))
    assert facts.orientation == "stored as LAS"
    assert facts.sides_known
    assert facts.has_planes


def test_a_spacing_given_by_hand_tells_no_sides() -> None:
    picture = Volume.from_array(np.zeros(SHAPE))
    given = spaced(picture, (4.0, 3.0, 2.0))
    assert given.grid.has_spacing
    assert not given.grid.has_sides
    assert SIDES_UNKNOWN in given.warnings
    assert Display.of(given.grid).letters == ("", "", "")
    assert spaced(volume_of(sides=True), (1.0, 1.0, 1.0)).grid.has_sides
    assert not spaced(volume_of(), (1.0, 1.0, 1.0)).grid.has_sides


def test_a_layers_way_back_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(np.zeros((6, 5, 4), np.float32), None)
    image.set_sform(AFFINE, 0)
    image.set_qform(AFFINE, 0)
    nib.save(image, path)
    volume = Volume.read(path)
    display = Display.of(volume.grid)
    assert display.turn.identity
    metadata = layer_keywords(volume, display)["metadata"]
    found = origin_of("a", display.shown.shape, metadata)
    assert found.note == ""
    assert found.display.turn == display.turn
    assert not found.display.sides_known


@pytest.mark.gui
@pytest.mark.parametrize(
    ("sides", "planes", "why"),
    [
        (True, True, ""),
        (False, True, "Shown as stored: which side is which is not known"),
        (True, False, "A single picture has no other planes"),
        (False, False, "A single picture has no other planes"),
    ],
)
def test_the_panel_offers_planes_where_they_have_a_meaning(
    qtbot: Any, sides: bool, planes: bool, why: str
) -> None:
    panel = CasePanel()
    qtbot.addWidget(panel)
    words = ("case", "", "4 x 5 x 6 voxels", "2 x 3 x 4 mm", "as stored", "NIfTI")
    panel.set_plane("coronal")
    panel.show_facts(CaseFacts(*words, sides_known=sides, has_planes=planes))
    segments = panel._planes
    axial = segments.button("axial")
    assert axial.isEnabled() is (sides and planes)
    assert why in axial.toolTip()
    # A plane that is not the patient's has none of the three names.
    assert segments.current == ("coronal" if sides else "")
    assert panel._radiological.isEnabled() is sides
    assert panel._radiological.isChecked() is sides
    panel.set_plane("sagittal")
    assert segments.current == ("sagittal" if sides else "")
    panel.show_facts(CaseFacts(*words))
    assert axial.isEnabled()
    assert panel._radiological.isEnabled()
    assert panel._radiological.isChecked()
    assert segments.current == "sagittal"
    told: list[bool] = []
    panel.radiological_toggled.connect(told.append)
    panel._radiological.click()
    panel.show_facts(CaseFacts(*words, sides_known=False))
    panel.show_facts(CaseFacts(*words))
    assert not panel._radiological.isChecked()
    assert told == [False]
