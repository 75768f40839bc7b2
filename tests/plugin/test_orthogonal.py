"""The other planes: what is painted, where, and what the mouse tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QImage, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from diffseg import Volume
from diffseg.domain import Label, LabelTable
from diffseg.project.annotation import Annotation
from diffseg.volume import Display
from napari_diffseg.layers.colours import CONTOUR_COLORS
from napari_diffseg.plugin.widths import Widths
from napari_diffseg.session import Case
from napari_diffseg.widgets.linking import Link
from napari_diffseg.widgets.orthogonal import OrthogonalViews
from napari_diffseg.widgets.panes import PlanePane
from napari_diffseg.widgets.pictures import grey_image, outlined, stretched

pytestmark = pytest.mark.gui

SHAPE = (10, 20, 30)  # planes, rows, columns as shown
SCALE = (3.0, 2.0, 1.0)
# Axes as they are shown (feet, back, left), so that voxels can be told by eye.
AS_SHOWN = np.diag([-1.0, -2.0, -3.0, 1.0])
LEFT = Qt.MouseButton.LeftButton


def case_of(
    shape: tuple[int, ...] = SHAPE, affine: Any = AS_SHOWN, value: float = 0.0
) -> Case:
    volume = Volume.from_array(np.full(shape, value, np.float32), affine)
    display = Display.of(volume.grid)
    table = LabelTable(labels=(Label(name="a", value=1, color="#FF0000"),))
    return Case(volume, display, Annotation.empty(volume.shape), "case", table)


@pytest.fixture
def case() -> Case:
    return case_of()


@pytest.fixture
def views(qtbot: Any, case: Case) -> OrthogonalViews:
    made = OrthogonalViews()
    qtbot.addWidget(made)
    made.show_case(case)
    made.set_window(0.0, 1.0)
    made.resize(300, 600)
    made.show()
    qtbot.waitExposed(made)
    return made


def pane(views: OrthogonalViews, plane: str) -> PlanePane:
    return views.findChild(PlanePane, f"diffseg.views.{plane}")


def color_at(
    pane: PlanePane, image: QImage, shown: tuple[float, float, float]
) -> QColor:
    place = pane.place_of(shown)
    return image.pixelColor(round(place.x()), round(place.y()))


def picture(pane: PlanePane) -> QImage:
    return pane.grab().toImage()


def visible(views: OrthogonalViews) -> set[str]:
    return {pane.plane for pane in views.panes if pane.isVisible()}


def test_the_planes_that_the_canvas_does_not_show(views: OrthogonalViews) -> None:
    assert visible(views) == {"coronal", "sagittal"}
    views.set_main_plane("sagittal")
    assert visible(views) == {"axial", "coronal"}
    views.set_three(True)
    assert visible(views) == {"axial", "coronal", "sagittal"}


def test_without_a_case_it_says_what_appears(views: OrthogonalViews) -> None:
    views.show_case(None)
    assert visible(views) == set()
    words = views.findChild(type(views._words), "diffseg.views.empty")
    assert words.isVisible()
    assert "appear here" in words.text()


def test_a_single_slice_has_no_other_planes(views: OrthogonalViews) -> None:
    views.show_case(case_of((1, 20, 30), None))
    assert visible(views) == set()
    assert "single slice" in views._words.text()


def test_slices_are_true_to_their_millimetres(views: OrthogonalViews) -> None:
    frame = pane(views, "coronal").frame
    assert frame.width() / frame.height() == pytest.approx(
        30 * 1.0 / (10 * 3.0), rel=0.02
    )
    frame = pane(views, "sagittal").frame
    assert frame.width() / frame.height() == pytest.approx(
        20 * 2.0 / (10 * 3.0), rel=0.02
    )


def test_a_bright_voxel_is_where_it_belongs(views: OrthogonalViews, case: Case) -> None:
    # Shown axes are the array's own here.
    case.volume.data[0][2, 10, 25] = 1.0
    views.show_case(case)
    views.set_window(0.0, 1.0)
    views.set_cursor((7.0, 10.0, 4.0))
    coronal = pane(views, "coronal")
    seen = picture(coronal)
    assert color_at(coronal, seen, (2, 10, 25)).lightness() > 150
    assert color_at(coronal, seen, (2, 10, 20)).lightness() < 30
    assert coronal.place_of((2, 10, 25)).x() > coronal.frame.center().x()


def test_left_and_right_swap_and_anterior_does_not(
    views: OrthogonalViews, case: Case
) -> None:
    coronal, sagittal = pane(views, "coronal"), pane(views, "sagittal")
    before = sagittal.place_of((2, 5, 4))
    case.volume.data[0][2, 10, 25] = 1.0
    views.set_cursor((7.0, 10.0, 4.0))
    views.set_radiological(False)
    assert coronal.place_of((2, 10, 25)).x() < coronal.frame.center().x()
    assert color_at(coronal, picture(coronal), (2, 10, 25)).lightness() > 150
    assert sagittal.place_of((2, 5, 4)) == before


def test_the_window_is_followed(views: OrthogonalViews, case: Case) -> None:
    case.volume.data[0][:] = 50.0
    coronal, at = pane(views, "coronal"), (2.0, 9.0, 25.0)
    views.set_window(0.0, 100.0)
    assert color_at(coronal, picture(coronal), at).lightness() == pytest.approx(
        127, abs=3
    )
    views.set_window(0.0, 50.0)
    assert color_at(coronal, picture(coronal), at).lightness() > 250


def test_the_mask_is_filled_outlined_and_hidden(
    views: OrthogonalViews, case: Case
) -> None:
    case.annotation.values[1:5, 8:12, 16:28] = 1
    views.set_cursor((8.0, 10.0, 4.0))
    views.set_opacity(1.0)
    coronal, inside, corner = pane(views, "coronal"), (3, 10, 22), (1, 10, 16)
    assert color_at(coronal, picture(coronal), inside).red() > 200
    views.set_outline(True)
    seen = picture(coronal)
    assert color_at(coronal, seen, inside).red() < 30
    edge = coronal.place_of((1 - 0.5, 10, 22))
    assert seen.pixelColor(round(edge.x()), round(edge.y()) + 1).red() > 200
    views.set_hidden(True)
    assert color_at(coronal, picture(coronal), corner).red() < 30


def test_strokes_are_painted_soon_and_once(
    views: OrthogonalViews, case: Case, qtbot: Any
) -> None:
    coronal, at = pane(views, "coronal"), (3, 9, 22)
    views.set_opacity(1.0)
    views.set_cursor((8.0, 9.0, 4.0))
    assert color_at(coronal, picture(coronal), at).red() < 30
    case.annotation.values[:] = 1
    told: list[int] = []
    coronal.refresh = lambda: told.append(1)  # type: ignore[method-assign]
    for _ in range(20):
        views.refresh()
    qtbot.waitUntil(lambda: bool(told), timeout=2000)
    qtbot.wait(60)
    assert told == [1]
    del coronal.refresh
    coronal.refresh()
    assert color_at(coronal, picture(coronal), at).red() > 200


def test_uncertainty_is_laid_on(views: OrthogonalViews, case: Case) -> None:
    class Doubtful:
        uncertainty = np.ones(SHAPE, np.float32)

    coronal, at = pane(views, "coronal"), (3, 9, 22)
    views.set_uncertainty(True)
    assert color_at(coronal, picture(coronal), at).lightness() < 30
    case.proposal = Doubtful()  # type: ignore[assignment]
    coronal.refresh()
    assert color_at(coronal, picture(coronal), at).lightness() > 100


def test_a_click_moves_the_cursor_there(views: OrthogonalViews, qtbot: Any) -> None:
    views.set_cursor((5.0, 9.0, 4.0))
    coronal = pane(views, "coronal")
    place = coronal.place_of((2.0, 9.0, 20.0)).toPoint()
    with qtbot.waitSignal(views.cursor_moved) as told:
        QTest.mouseClick(coronal, LEFT, pos=place)
    assert told.args[0] == pytest.approx(2.0, abs=0.1)
    assert told.args[1] == 9.0
    assert told.args[2] == pytest.approx(20.0, abs=0.2)
    assert views.cursor_index == tuple(told.args)
    assert pane(views, "sagittal").index == 20


def test_a_drag_beyond_the_image_stays_in_it(views: OrthogonalViews) -> None:
    coronal = pane(views, "coronal")
    assert coronal.shown_at(QPoint(-500, -500))[::2] == (0.0, 0.0)
    assert coronal.shown_at(QPoint(5000, 5000))[::2] == (9.0, 29.0)
    views.set_cursor((99.0, -3.0, 4.0))
    assert views.cursor_index == (9.0, 0.0, 4.0)


def test_every_place_is_its_own_on_either_hand(views: OrthogonalViews) -> None:
    for radiological in (True, False):
        views.set_radiological(radiological)
        for one in views.panes:
            here = one.shown_at(one.place_of((3.0, 7.0, 11.0)))
            assert [here[a] for a in (one.rows, one.columns)] == pytest.approx(
                [(3.0, 7.0, 11.0)[a] for a in (one.rows, one.columns)]
            )


def turn(pane: PlanePane, angle: int) -> None:
    none = Qt.MouseButton.NoButton
    middle = QPointF(pane.rect().center())
    pane.wheelEvent(
        QWheelEvent(
            middle,
            QPointF(pane.mapToGlobal(pane.rect().center())),
            QPoint(0, 0),
            QPoint(0, angle),
            none,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
    )


def test_the_wheel_leafs_through(views: OrthogonalViews) -> None:
    coronal = pane(views, "coronal")
    views.set_cursor((5.0, 9.0, 4.0))
    turn(coronal, -120)
    assert views.cursor_index == (5.0, 10.0, 4.0)
    turn(coronal, 360)
    assert views.cursor_index == (5.0, 7.0, 4.0)
    for _ in range(3):  # a touchpad tells thirds of a notch
        turn(coronal, -40)
    assert views.cursor_index == (5.0, 8.0, 4.0)
    turn(coronal, 120 * 50)
    assert views.cursor_index == (5.0, 0.0, 4.0)


def test_a_double_click_makes_it_the_main_plane(
    views: OrthogonalViews, qtbot: Any
) -> None:
    with qtbot.waitSignal(views.plane_chosen) as told:
        QTest.mouseDClick(pane(views, "sagittal"), LEFT)
    assert told.args == ["sagittal"]


def test_what_cannot_be_seen_is_not_painted(
    views: OrthogonalViews, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    painted: list[str] = []
    original = PlanePane.paintEvent

    def paint(self: PlanePane, event: Any) -> None:
        painted.append(self.plane)
        original(self, event)

    monkeypatch.setattr(PlanePane, "paintEvent", paint)
    views.set_cursor((1.0, 2.0, 3.0))
    qtbot.wait(50)
    assert set(painted) <= {"coronal", "sagittal"}
    views.hide()
    painted.clear()
    views.set_cursor((4.0, 5.0, 6.0))
    views.refresh()
    qtbot.wait(80)
    assert painted == []


def test_a_slice_does_not_copy_its_volume(views: OrthogonalViews, case: Case) -> None:
    plate = views.panes[0]._plate
    assert plate is not None
    for axis in range(3):
        assert np.shares_memory(plate.grey(axis, 1), case.volume.data)
        assert np.shares_memory(plate.labels(axis, 1), case.annotation.values)


def test_outlines_lie_inside_on_both_sides_of_a_border() -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 3
    thin = outlined(labels, 1)
    assert thin[2, 2] == thin[2, 4] == thin[4, 6] == 3
    assert thin[4, 4] == 0
    assert thin[1, 4] == 0
    assert np.count_nonzero(thin) == 16
    assert np.count_nonzero(outlined(labels, 2)) == 24


def test_stretching_takes_the_nearest() -> None:
    values = np.arange(6).reshape(2, 3)
    assert stretched(values, 4, 6)[::2, ::2].tolist() == values.tolist()
    assert stretched(values, 2, 3, mirrored=True).tolist() == values[:, ::-1].tolist()


def test_what_is_not_a_number_is_black() -> None:
    image = grey_image(np.array([[np.nan, 1.0, np.inf, -np.inf]]), 0.0, 1.0)
    assert [image.pixelColor(at, 0).red() for at in range(4)] == [0, 255, 255, 0]


@pytest.fixture
def viewer(case: Case) -> ViewerModel:
    model = ViewerModel()
    show = case.display
    places = {"scale": show.scale, "translate": show.translate}
    model.add_image(show.view(case.volume.data[0]), contrast_limits=(0, 1), **places)
    model.add_labels(show.view(case.annotation.values), **places)
    return model


def test_the_viewers_sliders_move_the_views(
    views: OrthogonalViews, viewer: ViewerModel, case: Case, qtbot: Any
) -> None:
    link = Link(viewer, views)
    start, step = case.display.translate[0], case.display.scale[0]
    viewer.dims.set_point(0, start + 7 * step)
    qtbot.waitUntil(lambda: round(views.cursor_index[0]) == 7, timeout=2000)
    viewer.dims.order = (1, 0, 2)
    assert visible(views) == {"axial", "sagittal"}
    link.close()
    viewer.dims.order = (0, 1, 2)
    assert visible(views) == {"axial", "sagittal"}


def test_a_click_in_a_view_moves_the_viewer(
    views: OrthogonalViews, viewer: ViewerModel, case: Case, qtbot: Any
) -> None:
    Link(viewer, views)
    coronal = pane(views, "coronal")
    QTest.mouseClick(coronal, LEFT, pos=coronal.place_of((2.0, 9.0, 20.0)).toPoint())
    wanted = case.display.translate[0] + 2.0 * case.display.scale[0]
    qtbot.waitUntil(lambda: abs(viewer.dims.point[0] - wanted) < 0.5, timeout=2000)
    assert viewer.dims.current_step[0] == 2


def test_a_canvas_may_be_told_instead(
    views: OrthogonalViews, viewer: ViewerModel, case: Case, qtbot: Any
) -> None:
    told: list[tuple[Case, tuple[float, float, float]]] = []
    Link(viewer, views, lambda *given: told.append(given))
    for row in range(5):
        views.panes[1].cursor_moved.emit(1.0, float(row), 3.0)
    qtbot.waitUntil(lambda: bool(told), timeout=2000)
    qtbot.wait(40)
    assert told == [(case, (1.0, 4.0, 3.0))]


def test_window_outline_opacity_and_eye_follow_the_layers(
    views: OrthogonalViews, viewer: ViewerModel
) -> None:
    image, mask = viewer.layers
    link = Link(viewer, views)
    link.follow(image, mask)
    image.contrast_limits = (0.25, 0.75)
    mask.contour, mask.opacity, mask.visible = 1, 0.3, False
    look = views.look
    assert (look.low, look.high) == (0.25, 0.75)
    assert (look.outline, look.opacity, look.hidden) == (True, 0.3, True)
    link.follow(None, None)
    mask.visible = True
    assert views.look.hidden


def test_a_press_in_the_canvas_moves_the_views_and_a_slider_keeps_it(
    views: OrthogonalViews, viewer: ViewerModel, case: Case, qtbot: Any
) -> None:
    class Press:
        button, modifiers = 1, ("Shift",)
        position = tuple(
            start + at * step
            for start, at, step in zip(
                case.display.translate, (5, 3, 17), case.display.scale, strict=True
            )
        )

    link = Link(viewer, views)
    qtbot.wait(40)
    for call in (*viewer.mouse_drag_callbacks, *viewer.mouse_move_callbacks):
        if getattr(call, "__self__", None) is link:
            views.set_cursor((0.0, 0.0, 0.0))
            call(viewer, Press)
            assert views.cursor_index == pytest.approx((5.0, 3.0, 17.0))
    start, step = case.display.translate[0], case.display.scale[0]
    viewer.dims.set_point(0, start + 8 * step)
    qtbot.waitUntil(lambda: round(views.cursor_index[0]) == 8, timeout=2000)
    assert views.cursor_index[1:] == pytest.approx((3.0, 17.0))


def test_contours_take_the_place_of_the_mask(
    views: OrthogonalViews, viewer: ViewerModel, case: Case
) -> None:
    image, mask = viewer.layers
    levels = np.zeros(SHAPE, np.uint8)
    levels[2:8, 4:16, 5:25], levels[3:7, 7:13, 10:20] = 1, 3
    lines = viewer.add_labels(levels, visible=False)
    link = Link(viewer, views)
    link.follow(image, mask, lines)
    views.set_cursor((5.0, 10.0, 15.0))
    coronal = pane(views, "coronal")
    mask.visible = False
    assert views.look.hidden
    lines.visible = True
    assert not views.look.hidden
    seen = picture(coronal)
    colors = {
        seen.pixelColor(x, y).name()
        for x in range(seen.width())
        for y in range(seen.height())
    }
    assert {color.lower() for color in CONTOUR_COLORS} <= colors
    lines.visible, mask.visible = False, True
    assert not views.look.contours
    assert not views.look.hidden


def test_the_cursor_is_in_the_middle_of_a_voxel(views: OrthogonalViews) -> None:
    views.set_cursor((2.4, 7.6, 31.2))
    assert views.cursor_index == (2.0, 8.0, 29.0)


def test_docks_get_their_widths_until_the_user_takes_a_splitter(qtbot: Any) -> None:
    main = QMainWindow()
    qtbot.addWidget(main)
    main.setCentralWidget(QWidget())
    docks = tuple(QDockWidget(name) for name in ("Planes", "Panels"))
    for dock in docks:
        dock.setWidget(QWidget())
        main.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    main.splitDockWidget(*docks, Qt.Orientation.Horizontal)
    both = Qt.Orientation.Horizontal

    def are(*wanted: int) -> bool:
        pairs = zip(docks, wanted, strict=True)
        return all(abs(dock.width() - width) <= 8 for dock, width in pairs)

    widths = Widths(main, docks, (270, 370))
    qtbot.wait(120)  # nobody sees it yet: its time does not run
    main.resize(1400, 600)
    main.show()
    qtbot.waitExposed(main)
    main.resizeDocks(list(docks), [160, 320], both)  # as napari does, late
    qtbot.waitUntil(lambda: are(270, 370), timeout=3000)
    QTest.mousePress(main, LEFT, pos=QPoint(5, 5))
    main.resizeDocks(list(docks), [400, 300], both)
    qtbot.wait(200)
    assert are(400, 300)
    widths.stop()
