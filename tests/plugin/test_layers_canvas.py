"""Cases in a real viewer: layers that vanish, proposals, planes, tools, a box."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes

from diffseg.domain import Label, LabelTable, Proposal, Region
from diffseg.domain.preview import Preview
from diffseg.domain.proposal import Provenance
from diffseg.project.annotation import Annotation, proposed_change
from diffseg.volume import Display, Volume
from napari_diffseg.layers.canvas import NapariCanvas
from napari_diffseg.layers.contours import nested_lines
from napari_diffseg.session import Case

pytestmark = pytest.mark.gui

SHAPE = (8, 12, 10)  # planes, rows, columns of the source: RAS, 1 x 1.5 x 2 mm
RAS = np.diag([1.0, 1.5, 2.0, 1.0])
TABLE = LabelTable(
    labels=(
        Label(name="anterior", value=1, color="#E69F00"),
        Label(name="posterior", value=2, color="#0072B2"),
    )
)


def case_of(name="case01", affine=RAS, shape=SHAPE, seed=0) -> Case:
    voxels = np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)
    volume = Volume.from_array(voxels, affine, name)
    annotation = Annotation.empty(volume.shape)
    return Case(volume, Display.of(volume.grid), annotation, name, TABLE)


def propose(case: Case, members: int = 0) -> Proposal:
    rng = np.random.default_rng(3)
    shape = case.volume.shape
    probability = np.zeros((2, *shape), np.float32)
    probability[0, 2:6, 3:9, 2:8] = 0.6
    probability[0, 3:5, 4:8, 3:7] = 0.97
    mask = (probability[0] > 0.5).astype(np.uint8)
    kept = None
    if members:
        kept = np.stack([mask * (rng.random(shape) < 0.8) for _ in range(members)])
    made = Provenance(
        {"id": "m", "version": "1", "sha256": "ab"}, 5, 8, 1, "cpu", 1, {}
    )
    case.proposal = Proposal(
        mask, probability, probability[0] * 0.5, TABLE, case.volume.grid,
        case.volume.source, made, members=kept,
    )  # fmt: skip
    return case.proposal


class Opened:
    """A viewer with its canvas, and what the canvas told."""

    def __init__(self, viewer, wait) -> None:
        self.viewer, self.wait = viewer, wait
        self.canvas = NapariCanvas(viewer)
        self.told: list[tuple] = []
        for name in (
            "case_deleted", "case_selected", "image_added", "image_renamed", "edited",
            "dirty", "moved", "box_drawn", "tool_changed", "label_changed",
        ):  # fmt: skip
            signal = getattr(self.canvas, name)
            signal.connect(lambda *args, name=name: self.told.append((name, *args)))

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def layer(self, role: str):
        found = [
            layer
            for layer in self.viewer.layers
            if layer.metadata.get("diffseg", {}).get("role") == role
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def happened(self, name: str) -> list[tuple]:
        self.wait(5)
        return [said[1:] for said in self.told if said[0] == name]


@pytest.fixture
def opened(qtbot):
    """The viewer's model alone, which is quick; see `shown` for a window."""
    return Opened(ViewerModel(), qtbot.wait)


@pytest.fixture
def shown(make_napari_viewer, qtbot):
    return Opened(make_napari_viewer(), qtbot.wait)


def test_a_case_is_an_image_and_a_mask_in_millimetres(opened):
    case = case_of()
    opened.canvas.show_case(case)
    assert opened.names() == ["case01", "case01 [mask]"]
    for layer in opened.viewer.layers:
        assert tuple(layer.scale) == case.display.scale == (2.0, 1.5, 1.0)
        assert tuple(layer.translate) == case.display.translate
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
        assert layer.axis_labels == ("plane", "row", "column")
        said = layer.metadata["diffseg"]
        assert (said["case"], said["shape"]) == (case.id, list(SHAPE))
        np.testing.assert_array_equal(said["affine"], RAS)
    mask = opened.layer("mask")
    assert opened.viewer.layers.selection.active is mask
    assert np.shares_memory(mask.data, case.annotation.values)
    # Patient's right (low columns of an L-running axis) on the left of the screen.
    np.testing.assert_array_equal(
        opened.layer("image").data, case.volume.data[0][::-1, ::-1, ::-1]
    )
    assert not opened.happened("case_selected")


def test_the_thickest_axis_is_leafed_through_at_first(opened):
    opened.canvas.show_case(case_of(affine=np.diag([1.0, 4.0, 1.0, 1.0])))
    assert opened.viewer.dims.order == (1, 0, 2)
    assert opened.canvas.plane == "coronal"


def test_a_picture_has_pixels_and_one_plane(opened):
    rng = np.random.default_rng(0)
    volume = Volume.from_array(rng.random((30, 40), np.float32), name="photo")
    case = Case(
        volume, Display.of(volume.grid), Annotation.empty(volume.shape), "photo"
    )
    opened.canvas.show_case(case)
    mask = opened.layer("mask")
    assert [str(unit) for unit in mask.units] == ["pixel"] * 3
    opened.canvas.set_brush(case, 0.5, three_d=False)
    mask.paint((0, 10, 20), 1)
    assert case.annotation.values[0, 10, 20] == 1
    opened.canvas.set_radiological(False)
    assert str(opened.viewer.scene.camera.orientation2d[1]) == "right"
    assert opened.canvas.slice_region(case) == Region((0, 1), (0, 30), (0, 40))


def test_every_channel_is_an_image(opened):
    rng = np.random.default_rng(0)
    volume = Volume.from_array(rng.random((3, *SHAPE), np.float32), RAS, "multi")
    case = Case(volume, Display.of(volume.grid), Annotation.empty(SHAPE), "multi")
    opened.canvas.show_case(case)
    assert opened.names() == [
        "multi", "multi [channel 2]", "multi [channel 3]", "multi [mask]",
    ]  # fmt: skip
    seen = [layer.visible for layer in opened.viewer.layers]
    assert seen == [True, False, False, True]


def test_a_proposal_adds_three_hidden_layers_once(opened):
    case = case_of()
    opened.canvas.show_case(case)
    proposal = propose(case)
    opened.canvas.show_proposal(case)
    names = ["case01", "case01 [probability]", "case01 [uncertainty]"]
    names += ["case01 [mask]", "case01 [contours]"]
    assert opened.names() == names
    for role in ("probability", "uncertainty", "contours"):
        assert not opened.layer(role).visible
        said = opened.layer(role).metadata["diffseg"]
        assert (said["model"], said["version"], said["sha256"]) == ("m", "1", "ab")
        assert (said["seed"], said["members"], said["steps"]) == (5, 8, 1)
    lines = case.display.native_view(opened.layer("contours").data)
    levels = sum((proposal.probability[0] >= p).astype(int) for p in (0.05, 0.5, 0.95))
    np.testing.assert_array_equal(lines, levels)
    assert "not kept" in opened.layer("contours").metadata["diffseg"]["lines"]
    assert opened.viewer.layers.selection.active is opened.layer("mask")
    before = opened.layer("uncertainty")
    before.gamma = 0.5
    opened.canvas.show_proposal(case)
    assert opened.names() == names
    assert opened.layer("uncertainty") is before
    case.proposal = None
    opened.canvas.show_proposal(case)
    assert opened.names() == ["case01", "case01 [mask]"]


def test_members_give_the_contours_where_they_were_kept(opened):
    case = case_of()
    opened.canvas.show_case(case)
    proposal = propose(case, members=20)
    opened.canvas.show_proposal(case)
    votes = (proposal.members == 1).sum(axis=0)
    expected = (votes >= 1).astype(int) + (votes >= 10) + (votes >= 19)
    lines = case.display.native_view(opened.layer("contours").data)
    np.testing.assert_array_equal(lines, expected)
    assert "20 members" in opened.layer("contours").metadata["diffseg"]["lines"]


def test_each_level_has_one_line(opened):
    case = case_of(shape=(8, 40, 40))
    opened.canvas.show_case(case)
    propose(case)
    opened.canvas.show_proposal(case)
    lines = opened.layer("contours")
    nested = np.zeros((40, 40), np.uint8)
    nested[5:35, 5:35], nested[10:30, 10:30] = 1, 2
    drawn = lines._calculate_contour(nested, (slice(0, 40), slice(0, 40)))
    assert drawn[20].tolist() == [0] * 5 + [1] + [0] * 4 + [2] + [0] * 18 + [2] + (
        [0] * 4 + [1] + [0] * 5
    )


def test_lines_that_run_together_take_turns():
    levels = np.zeros((60, 60), np.uint8)
    levels[10:50, 10:50] = 3  # all three end at one place
    drawn = nested_lines(levels)
    edges = [drawn[10, 10:50], drawn[49, 10:50], drawn[10:50, 10], drawn[10:50, 49]]
    for edge in edges:
        counts = np.bincount(edge, minlength=4)
        assert counts[0] == 0
        assert counts[1:].min() >= 8
    slanting = np.tril(np.full((60, 60), 2, np.uint8))
    for one in (slanting, slanting[:, ::-1]):
        line = nested_lines(one)
        assert set(np.unique(line)) == {0, 1, 2}
    apart = np.zeros((60, 60), np.uint8)
    apart[10:50, 10:50], apart[20:40, 20:40], apart[25:35, 25:35] = 1, 2, 3
    drawn = nested_lines(apart, thickness=2)
    assert drawn[30, :30].tolist() == (
        [0] * 10 + [1] * 2 + [0] * 8 + [2] * 2 + [0] * 3 + [3] * 2 + [0] * 3
    )


def test_what_is_shown_of_a_proposal(opened):
    case = case_of()
    canvas = opened.canvas
    canvas.show_case(case)
    canvas.show_as(case, "uncertainty")  # nothing was proposed: the mask stays
    assert opened.layer("mask").visible
    proposal = propose(case, members=4)
    canvas.show_proposal(case)
    canvas.set_tool("paint")
    seen = {
        role: opened.layer(role)
        for role in ("mask", "contours", "uncertainty", "probability")
    }

    def visible() -> set[str]:
        return {role for role, layer in seen.items() if layer.visible}

    canvas.show_as(case, "uncertainty")
    assert visible() == {"mask", "uncertainty"}
    assert seen["mask"].contour == 1
    canvas.show_as(case, "contours")
    assert visible() == {"contours"}
    assert str(seen["mask"].mode) == "pan_zoom"
    assert opened.happened("tool_changed") == [("pan",)]
    canvas.show_as(case, "member", 2)
    assert visible() == set()
    member = opened.layer("member")
    assert not member.editable
    np.testing.assert_array_equal(
        case.display.native_view(member.data), proposal.members[2]
    )
    canvas.show_as(case, "member", 3)
    np.testing.assert_array_equal(
        case.display.native_view(opened.layer("member").data), proposal.members[3]
    )
    canvas.show_as(case, "mask")
    assert visible() == {"mask"}
    assert not member.visible
    assert seen["mask"].contour == 0


def test_outline_opacity_and_hiding(opened):
    case = case_of()
    canvas = opened.canvas
    canvas.show_case(case)
    propose(case)
    canvas.show_proposal(case)
    canvas.set_outline(True)
    mask = opened.layer("mask")
    assert mask.contour == 1
    canvas.set_outline(False)
    canvas.set_opacity(0.3)
    assert (mask.contour, mask.opacity) == (0, pytest.approx(0.3))
    opened.layer("probability").visible = True
    canvas.set_hidden(True)
    assert [layer.visible for layer in opened.viewer.layers].count(True) == 1
    canvas.set_hidden(True)
    canvas.set_hidden(False)
    assert mask.visible
    assert opened.layer("probability").visible
    assert not opened.layer("uncertainty").visible


def test_slices_appear_while_a_proposal_is_made(opened):
    case = case_of(affine=np.diag([-1.0, 1.0, 1.0, 1.0]))
    canvas = opened.canvas
    canvas.show_case(case)
    canvas.begin_preview(case)
    layer = opened.layer("proposing")
    assert layer.name == "case01 [proposing]"
    assert not layer.editable
    region = Region((2, 4), (1, 5), (3, 9))
    some = np.ones(region.shape, np.uint8)
    canvas.show_preview(case, Preview("", region=region, mask=some, uncertainty=some))
    native = case.display.native_view(layer.data)
    assert (native[region.slices] == 1).all()
    assert native.sum() == some.size
    assert not case.annotation.values.any()
    opened.viewer.layers.remove(layer)
    canvas.show_preview(case, Preview("", region=region, mask=some, uncertainty=some))
    canvas.end_preview(case.id)
    canvas.begin_preview(case)
    canvas.end_preview(case.id)
    assert opened.names() == ["case01", "case01 [mask]"]


def test_a_proposal_can_be_undone_in_the_viewer(opened):
    case = case_of()
    opened.canvas.show_case(case)
    opened.layer("mask").paint((1, 2, 2), 2)
    drawn = case.annotation.values.copy()
    opened.told.clear()
    wanted = np.ones(SHAPE, np.uint8)
    opened.canvas.apply(case, proposed_change(case.annotation, wanted))
    assert (case.annotation.values[drawn == 0] == 1).all()
    assert (case.annotation.values[drawn > 0] == 2).all()
    assert opened.happened("dirty")
    assert not opened.happened("edited")
    opened.canvas.undo()
    np.testing.assert_array_equal(case.annotation.values, drawn)
    assert opened.happened("edited") == [(case.id,)]
    opened.canvas.redo()
    assert (case.annotation.values > 0).all()


def test_the_keys_of_napari_undo_too(shown):
    case = case_of()
    shown.canvas.show_case(case)
    shown.layer("mask").paint((1, 2, 2), 2)
    shown.viewer.window._qt_viewer._key_map_handler.press_key("Control-Z")
    assert not case.annotation.values.any()
    assert not case.annotation.touched.any()


def test_a_deleted_mask_comes_back_as_it_was_drawn(opened):
    case = case_of()
    canvas = opened.canvas
    canvas.show_case(case)
    opened.layer("mask").paint((1, 2, 2), 2)
    drawn, touched = case.annotation.values.copy(), case.annotation.touched.copy()
    opened.viewer.layers.remove(opened.layer("mask"))
    canvas.set_tool("paint")
    assert not opened.happened("case_deleted")
    mask = opened.layer("mask")
    np.testing.assert_array_equal(case.display.native_view(mask.data), drawn)
    np.testing.assert_array_equal(case.annotation.touched, touched)
    assert str(mask.mode) == "paint"
    assert opened.viewer.layers.index(mask) == 1
    mask.paint((1, 5, 5), 1)
    assert (case.annotation.values == 1).any()
    canvas.undo()
    np.testing.assert_array_equal(case.annotation.values, drawn)


def test_a_deleted_mask_comes_back_with_tool_brush_and_what_can_be_undone(opened):
    case = case_of()
    canvas, layers = opened.canvas, opened.viewer.layers
    canvas.show_case(case)
    canvas.set_brush(case, 3.0, three_d=True)
    canvas.set_tool("erase")
    first = opened.layer("mask")
    first.paint((1, 2, 2), 2)
    layers.remove(first)
    opened.wait(5)  # soon, of its own accord
    again = opened.layer("mask")
    assert layers.selection.active is again
    assert (str(again.mode), again.brush_size) == ("erase", first.brush_size)
    assert again.n_edit_dimensions == 3
    canvas.undo()
    assert not case.annotation.values.any()
    canvas.redo()
    assert case.annotation.values.any()
    layers.remove(again)
    canvas.undo()  # at once
    assert not case.annotation.values.any()
    canvas.forget_history(case)
    canvas.redo()
    assert not case.annotation.values.any()
    layers.clear()
    opened.wait(5)
    assert opened.names() == []


def test_a_case_that_is_shown_anew_can_still_be_undone(opened):
    case = case_of()
    canvas = opened.canvas
    canvas.show_case(case)
    opened.layer("mask").paint((1, 2, 2), 2)
    volume = Volume.from_array(case.volume.data[0], np.diag([2.0, 2.0, 2.0, 1.0]))
    canvas.forget_case(case.id)
    case.volume, case.display = volume, Display.of(volume.grid)
    canvas.show_case(case)
    canvas.undo()
    assert not case.annotation.values.any()
    canvas.redo()
    canvas.forget_case(case.id)
    opened.wait(5)  # closed, not shown anew
    canvas.show_case(case)
    canvas.undo()
    assert case.annotation.values.any()


def test_what_the_hand_holds_is_what_the_mask_does(opened):
    case = case_of()
    canvas = opened.canvas
    canvas.show_case(case)
    propose(case)
    canvas.show_proposal(case)
    mask = opened.layer("mask")
    canvas.set_tool("paint")
    canvas.show_as(case, "contours")
    canvas.show_as(case, "mask")
    assert opened.happened("tool_changed") == [("pan",)]
    assert str(mask.mode) == "pan_zoom"
    canvas.set_tool("paint")
    canvas.set_hidden(True)
    canvas.set_tool("erase")
    assert str(mask.mode) == "pan_zoom"
    canvas.set_hidden(False)
    assert str(mask.mode) == "erase"
    assert opened.happened("tool_changed") == [("pan",)]


def test_hiding_goes_from_case_to_case(opened):
    canvas = opened.canvas
    first, second = case_of("one"), case_of("two")
    canvas.show_case(first)
    canvas.set_hidden(True)
    canvas.show_case(second)
    masks = [layer for layer in opened.viewer.layers if isinstance(layer, Labels)]
    assert not any(mask.visible for mask in masks)
    propose(second)
    canvas.show_proposal(second)
    canvas.show_as(second, "uncertainty")
    assert not any(mask.visible for mask in masks)
    canvas.set_hidden(False)
    assert [mask.visible for mask in masks] == [False, True]
    canvas.look_at(first)
    assert [mask.visible for mask in masks] == [True, False]
    canvas.show_as(second, "mask")  # not looked at: the tool in hand stays
    assert not opened.happened("tool_changed")


def test_closing_a_case_ends_its_preview(opened):
    case = case_of()
    canvas = opened.canvas
    assert not gc.get_freeze_count()
    for close_first in (True, False):
        canvas.show_case(case)
        canvas.begin_preview(case)
        assert gc.get_freeze_count()
        for call in (canvas.forget_case, canvas.end_preview)[
            :: 1 if close_first else -1
        ]:
            call(case.id)
            assert not gc.get_freeze_count()


def test_maps_of_an_answer_that_nobody_took_go_with_it(opened):
    case = case_of()
    canvas = opened.canvas
    ready = canvas._overlays._ready
    canvas.show_case(case)
    answer = propose(case)
    case.proposal = None
    canvas.prepare_proposal(case, answer)
    assert len(ready) == 1
    del answer
    assert not ready
    answer = propose(case)
    canvas.prepare_proposal(case, answer)
    canvas.forget_case(case.id)
    assert not ready


def test_images_that_were_there_before_can_be_told(qtbot):
    viewer = ViewerModel()
    before = viewer.add_image(np.zeros((4, 5, 6)))
    viewer.add_labels(np.zeros((4, 5, 6), int))
    opened = Opened(viewer, qtbot.wait)
    opened.canvas.show_case(case_of())
    assert not opened.happened("image_added")
    opened.canvas.tell_images()
    assert opened.happened("image_added") == [(before,)]


def test_a_press_takes_the_voxel_in_hand(opened):
    class Press:
        button = 1

    case = case_of()
    opened.canvas.show_case(case)
    start, step = np.array(case.display.translate), np.array(case.display.scale)
    Press.position = tuple(start + np.array((3.0, 4.3, 4.6)) * step)
    for call in opened.viewer.mouse_drag_callbacks:
        call(opened.viewer, Press)
    opened.canvas.set_plane("coronal")
    place = (np.array(opened.viewer.dims.point) - start) / step
    assert place[1] == pytest.approx(4.0)


def test_deleting_the_image_tells_it_once_also_with_all_others(shown):
    first, second = case_of("one"), case_of("two")
    for case in (first, second):
        shown.canvas.show_case(case)
    shown.canvas.case_deleted.connect(shown.canvas.forget_case)
    shown.viewer.layers.selection.active = shown.viewer.layers["one"]
    shown.viewer.layers.remove_selected()
    assert shown.happened("case_deleted") == [(first.id,)]
    assert shown.names() == ["two", "two [mask]"]
    shown.viewer.layers.select_all()
    shown.viewer.layers.remove_selected()
    assert shown.happened("case_deleted") == [(first.id,), (second.id,)]
    assert not shown.viewer.layers
    shown.canvas.look_at(second)
    shown.canvas.show_case(second)
    assert shown.names() == ["two", "two [mask]"]
    del shown.viewer.layers[:]
    assert len(shown.happened("case_deleted")) == 3


def test_renaming_the_image_renames_its_sisters(opened):
    case = case_of()
    opened.canvas.show_case(case)
    propose(case)
    opened.canvas.show_proposal(case)
    opened.viewer.layers["case01"].name = "patient"
    assert opened.happened("image_renamed") == [(case.id, "patient")]
    assert "patient [mask]" in opened.names()
    assert not [name for name in opened.names() if name.startswith("case01")]
    opened.viewer.layers["patient [mask]"].name = "mine"
    assert opened.happened("image_renamed") == [(case.id, "patient")]


def test_images_from_elsewhere_are_told_and_copies_of_ours_are_not(opened):
    case = case_of()
    opened.canvas.show_case(case)
    layer = opened.viewer.add_image(np.zeros(SHAPE, np.float32), name="other")
    opened.viewer.add_labels(np.zeros(SHAPE, np.uint8))
    ours = opened.layer("image")
    data, keywords, kind = ours.as_layer_data_tuple()
    opened.viewer.add_layer(Image(data, **keywords))
    assert opened.happened("image_added") == [(layer,)]
    assert kind == "image"


def test_an_image_from_elsewhere_becomes_a_case_in_its_place(shown):
    layer = shown.viewer.add_image(np.zeros(SHAPE, np.float32), name="other")
    assert shown.happened("image_added") == [(layer,)]
    shown.canvas.replace_image(case_of("other"), layer)
    assert shown.names() == ["other", "other [mask]"]


def test_going_from_case_to_case_keeps_what_was_seen(opened):
    canvas = opened.canvas
    first = case_of("one")
    second = case_of("two", affine=np.diag([1.0, 4.0, 1.0, 1.0]))
    canvas.show_case(first)
    propose(first)
    canvas.show_proposal(first)
    canvas.show_as(first, "uncertainty")
    canvas.go_to(first, (3, 4, 5))
    where = opened.viewer.dims.point
    canvas.show_case(second)
    seen = {layer.name for layer in opened.viewer.layers if layer.visible}
    assert seen == {"two", "two [mask]"}
    assert canvas.plane == "coronal"
    canvas.look_at(first)
    seen = {layer.name for layer in opened.viewer.layers if layer.visible}
    assert seen == {"one", "one [mask]", "one [uncertainty]"}
    assert (canvas.plane, opened.viewer.dims.point) == ("axial", where)
    opened.told.clear()
    opened.viewer.layers.selection.active = opened.viewer.layers["two [mask]"]
    assert opened.happened("case_selected") == [(second.id,)]


def test_planes_mirror_and_places(opened):
    case = case_of()
    canvas, dims = opened.canvas, opened.viewer.dims
    camera = opened.viewer.scene.camera
    canvas.show_case(case)
    canvas.go_to(case, (2, 7, 1))
    shown = tuple(size - 1 - i for size, i in zip(SHAPE, (2, 7, 1), strict=True))
    assert canvas.index(case) == shown
    world = np.multiply(shown, case.display.scale) + case.display.translate
    for plane, order in (
        ("coronal", (1, 0, 2)), ("sagittal", (2, 0, 1)), ("axial", (0, 1, 2)),
    ):  # fmt: skip
        canvas.set_plane(plane)
        assert (canvas.plane, dims.order) == (plane, order)
        assert canvas.index(case) == shown
        assert camera.center[1:] == pytest.approx(world[list(order[1:])])
        region = canvas.slice_region(case)
        assert region.shape[order[0]] == 1
        assert region.ranges[order[0]][0] == (2, 7, 1)[order[0]]
        canvas.set_radiological(False)
        mirrored = "right" if plane == "sagittal" else "left"
        assert str(camera.orientation2d[1]) == mirrored
        canvas.set_radiological(True)
        assert str(camera.orientation2d[1]) == "right"
    canvas.set_radiological(False)
    dims.ndisplay = 3
    assert str(camera.orientation2d[1]) == "right"
    assert opened.happened("moved")


def test_tools_labels_and_the_brush(opened):
    case = case_of()
    canvas = opened.canvas
    canvas.show_case(case)
    mask = opened.layer("mask")
    for tool, mode in (
        ("paint", "paint"), ("erase", "erase"), ("fill", "fill"),
        ("polygon", "polygon"), ("pick", "pick"), ("pan", "pan_zoom"),
    ):  # fmt: skip
        canvas.set_tool(tool)
        assert str(mask.mode) == mode
    assert not opened.happened("tool_changed")
    mask.mode = "paint"
    assert opened.happened("tool_changed") == [("paint",)]
    canvas.set_label(2)
    assert mask.selected_label == 2
    assert not opened.happened("label_changed")
    mask.selected_label = 1
    assert opened.happened("label_changed") == [(1,)]
    canvas.set_brush(case, 3.0, three_d=True)
    assert mask.n_edit_dimensions == 3
    mask.paint((4, 6, 5), 1)
    lies = np.argwhere(mask.data) - (4, 6, 5)
    reach = np.abs(lies * case.display.scale).max(axis=0)
    assert (reach >= 3.0 - np.array(case.display.scale)).all()
    assert (reach <= 3.0 + 0.5).all()
    canvas.set_brush(case, 3.0, three_d=False)
    mask.paint((1, 6, 5), 2)
    assert np.unique(np.argwhere(mask.data == 2)[:, 0]).tolist() == [1]


def test_the_table_names_and_colours_the_mask(opened):
    case = case_of()
    opened.canvas.show_case(case)
    mask = opened.layer("mask")
    mask.paint((1, 2, 2), 2)
    assert mask.get_color(2) == pytest.approx([0, 0x72 / 255, 0xB2 / 255, 1], abs=1e-3)
    case.table = LabelTable(labels=(Label(name="tumour", value=2, color="#00FF00"),))
    opened.canvas.show_table(case)
    assert mask.get_color(2) == pytest.approx([0, 1, 0, 1], abs=1e-3)
    assert mask.features["structure"].tolist()[1:] == ["tumour"]
    assert mask.selected_label == 2


def test_a_locked_case_cannot_be_painted(opened):
    case = case_of()
    case.locked = "open in another window"
    opened.canvas.show_case(case)
    opened.canvas.set_tool("paint")
    mask = opened.layer("mask")
    assert not mask.editable
    assert str(mask.mode) == "pan_zoom"
    case.locked = None
    opened.canvas.look_at(case)
    assert str(mask.mode) == "paint"


def test_a_window_is_set(opened):
    case = case_of()
    opened.canvas.show_case(case)
    opened.canvas.set_window(case, -1000.0, 2000.0)
    assert tuple(opened.layer("image").contrast_limits) == (-1000.0, 2000.0)
    opened.viewer.layers.remove("case01")
    opened.canvas.set_window(case, 0.0, 1.0)


def test_a_box_is_drawn_and_redrawn(opened):
    case = case_of(affine=np.eye(4), shape=(40, 50, 60))
    canvas = opened.canvas
    canvas.show_case(case)
    assert canvas.box_region(case) is None
    canvas.start_box(case)
    assert canvas.box_region(case) is None
    layer = opened.layer("region")
    assert isinstance(layer, Shapes)
    assert opened.viewer.layers.selection.active is layer

    def draw(low, high) -> None:
        corners = [low, (low[0], low[1], high[2]), high, (high[0], high[1], low[2])]
        if low[0] != high[0]:
            corners = [low, (low[0], *high[1:]), high, (high[0], *low[1:])]
        layer.add_rectangles(np.array(corners, float))

    draw((20, 10, 10), (20, 20, 14))
    assert opened.happened("box_drawn") == [(case.id,)]
    # Half the larger side, 5 mm, above and below; RAS runs against what is shown.
    assert canvas.box_region(case) == Region((14, 25), (29, 40), (45, 50))
    draw((20, 12, 10), (20, 20, 14))
    assert len(layer.data) == 1
    assert canvas.box_region(case).y == (29, 38)
    draw((18, 15, 11), (30, 15, 13))  # in a coronal slice: gives the depth
    assert len(layer.data) == 2
    assert canvas.box_region(case) == Region((9, 22), (29, 38), (46, 49))
    opened.viewer.layers.remove(layer)
    assert canvas.box_region(case) is None


def go_on_whatever_happens(opened, times):
    rng = np.random.default_rng(11)
    canvas, layers = opened.canvas, opened.viewer.layers
    case = case_of()
    canvas.show_case(case)
    proposal = propose(case, members=3)
    region = Region((0, 2), (0, 3), (0, 4))
    some = np.ones(region.shape, np.uint8)
    preview = Preview("", region=region, mask=some, uncertainty=some)
    change = proposed_change(case.annotation, proposal.mask)
    calls = [
        lambda: canvas.look_at(case),
        lambda: canvas.show_table(case),
        lambda: canvas.begin_preview(case),
        lambda: canvas.show_preview(case, preview),
        lambda: canvas.end_preview(case.id),
        lambda: canvas.show_proposal(case),
        lambda: canvas.show_as(case, "contours"),
        lambda: canvas.show_as(case, "uncertainty"),
        lambda: canvas.show_as(case, "member", 1),
        lambda: canvas.show_as(case, "mask"),
        lambda: canvas.apply(case, change),
        lambda: canvas.set_hidden(bool(rng.integers(2))),
        lambda: canvas.set_tool("paint"),
        lambda: canvas.set_brush(case, 2.0, three_d=True),
        lambda: canvas.set_plane("sagittal"),
        lambda: canvas.go_to(case, (1, 2, 3)),
        lambda: canvas.slice_region(case),
        lambda: canvas.start_box(case),
        lambda: canvas.box_region(case),
        lambda: canvas.undo(),
        lambda: canvas.redo(),
    ]
    for _ in range(times):
        calls[int(rng.integers(len(calls)))]()
        kept = case.annotation.values.copy()
        if len(layers):
            layer = layers[int(rng.integers(len(layers)))]
            deed = int(rng.integers(5))
            if deed == 0:
                layers.remove(layer)
            elif deed == 1:
                layer.name = f"renamed {rng.integers(3)}"
            elif deed == 2:
                layers.move(int(rng.integers(len(layers))), 0)
            elif deed == 3:
                layer.visible = not layer.visible
        np.testing.assert_array_equal(case.annotation.values, kept)
    canvas.show_case(case)
    mask = opened.layer("mask")
    assert isinstance(mask, Labels)
    assert np.shares_memory(mask.data, case.annotation.values)
    canvas.forget_case(case.id)
    canvas.forget_case(case.id)
    assert not len(layers)


def test_whatever_the_user_does_to_layers_the_canvas_goes_on(opened):
    go_on_whatever_happens(opened, 150)


def test_so_does_the_window(shown):
    go_on_whatever_happens(shown, 20)


def test_metadata_can_be_written_by_anybody(opened, tmp_path: Path):
    import json

    case = case_of()
    opened.canvas.show_case(case)
    propose(case)
    opened.canvas.show_proposal(case)
    for layer in opened.viewer.layers:
        json.dumps(layer.metadata)


def test_another_mask_lies_as_lines_over_the_one_in_hand(opened):
    case = case_of()
    opened.canvas.show_case(case)
    values = np.zeros(case.volume.shape, np.uint8)
    values[1, 2:4, 2:4] = 1
    opened.canvas.show_compared(case, values, "model after")
    assert opened.names()[-1] == "case01 [model after]"
    layer = opened.viewer.layers[-1]
    assert (layer.contour, layer.visible, layer.editable) == (1, True, False)
    assert np.array_equal(case.display.native_view(np.asarray(layer.data)), values)
    opened.canvas.show_compared(case, values, "model before")
    assert opened.names()[-1] == "case01 [model before]"
    assert len(opened.viewer.layers) == 3
    opened.canvas.end_compared(case.id)
    assert opened.names() == ["case01", "case01 [mask]"]
