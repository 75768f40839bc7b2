"""Strokes: where they land, who drew them, how they are undone and done again."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from diffseg.project.annotation import Annotation, Change, proposed_change
from diffseg.volume import Affine, Display, Grid
from napari_diffseg.layers.edits import History, difference, make_change
from napari_diffseg.layers.mask_layer import MaskLayer

SHAPE = (6, 8, 10)
TURNS = [
    np.eye(3)[list(order)] * np.array(signs)
    for order in permutations(range(3))
    for signs in product([1.0, -1.0], repeat=3)
]


def layer_of(turn=None, **keywords) -> tuple[MaskLayer, Annotation, Display]:
    matrix = np.eye(4)
    matrix[:3, :3] = (TURNS[0] if turn is None else turn) @ np.diag([0.8, 1.0, 2.0])
    display = Display.of(Grid(SHAPE, Affine(matrix)))
    annotation = Annotation.empty(SHAPE)
    layer = MaskLayer(annotation, display, scale=display.scale, **keywords)
    layer.brush_size = 1
    return layer, annotation, display


def stroke(layer, *points, label=1) -> None:
    with layer.block_history():
        for point in points:
            layer.paint(point, label)


def proposal(annotation, mask, **keywords) -> Change:
    return proposed_change(annotation, np.asarray(mask, np.uint8), **keywords)


@pytest.mark.parametrize("turn", TURNS)
def test_a_stroke_lands_on_the_voxel_of_the_source(turn):
    layer, annotation, display = layer_of(turn)
    point = (2, 3, 4)
    stroke(layer, point, label=5)
    native = display.native_indices([np.array([i]) for i in point])
    where = tuple(int(axis[0]) for axis in native)
    assert annotation.values[where] == 5
    assert np.count_nonzero(annotation.values) == 1
    np.testing.assert_array_equal(annotation.touched, annotation.values > 0)
    layer.undo()
    assert not annotation.values.any()
    assert not annotation.touched.any()


def test_a_stroke_of_many_points_is_one_step():
    layer, annotation, _ = layer_of()
    layer.brush_size = 3
    stroke(layer, (1, 2, 2), (1, 2, 3), (1, 3, 4), label=2)
    drawn = annotation.values.copy()
    assert len(layer.history) == 1
    layer.undo()
    assert not annotation.values.any()
    assert not annotation.touched.any()
    layer.redo()
    np.testing.assert_array_equal(annotation.values, drawn)
    np.testing.assert_array_equal(annotation.touched, drawn > 0)


def test_undoing_takes_back_only_the_marks_that_the_stroke_made():
    layer, annotation, _ = layer_of()
    stroke(layer, (1, 2, 2))
    first = annotation.touched.copy()
    stroke(layer, (1, 2, 2), (1, 2, 3), label=0)
    stroke(layer, (1, 2, 2), (1, 2, 3), label=4)
    layer.undo()
    layer.undo()
    np.testing.assert_array_equal(annotation.touched, first)


def test_a_proposal_is_one_step_that_touches_nothing():
    layer, annotation, _ = layer_of()
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, SHAPE)
    layer.apply(proposal(annotation, mask))
    np.testing.assert_array_equal(annotation.values, mask)
    assert not annotation.touched.any()
    assert len(layer.history) == 1
    layer.undo()
    assert not annotation.values.any()
    layer.redo()
    np.testing.assert_array_equal(annotation.values, mask)
    assert not annotation.touched.any()


def test_replacing_what_was_drawn_can_be_undone_with_its_marks():
    layer, annotation, _ = layer_of()
    stroke(layer, (1, 2, 2), (1, 2, 3), label=7)
    drawn, touched = annotation.values.copy(), annotation.touched.copy()
    layer.apply(proposal(annotation, np.ones(SHAPE), replace_touched=True))
    assert (annotation.values == 1).all()
    assert not annotation.touched.any()
    layer.undo()
    np.testing.assert_array_equal(annotation.values, drawn)
    np.testing.assert_array_equal(annotation.touched, touched)


def test_fill_and_plain_edits_are_steps_of_a_person():
    layer, annotation, _ = layer_of()
    layer.fill((1, 1, 1), 3)
    assert np.count_nonzero(annotation.values) == annotation.touched.sum() > 0
    layer.data_setitem((np.array([0]), np.array([1]), np.array([1])), 9)
    assert 9 in annotation.values
    layer.undo()
    assert 9 not in annotation.values
    layer.undo()
    assert not annotation.values.any()
    assert not annotation.touched.any()


def test_other_data_are_drawn_into_the_mask():
    layer, annotation, display = layer_of(TURNS[17])
    wanted = np.zeros(display.shown.shape, np.int32)
    wanted[1, 2, 3] = 4
    layer.data = wanted
    assert np.shares_memory(layer.data, annotation.values)
    np.testing.assert_array_equal(layer.data, wanted)
    assert annotation.touched.sum() == 1
    layer.undo()
    assert not annotation.values.any()
    with pytest.raises(ValueError, match="keeps the shape"):
        layer.data = np.zeros((2, 2, 2), np.uint8)


def test_a_stroke_under_way_is_not_painted_over_by_a_proposal():
    layer, annotation, _ = layer_of()
    with layer.block_history():
        layer.paint((1, 2, 2), 7)
        layer.undo()  # does nothing while the button is down
        layer.apply(proposal(annotation, np.full(SHAPE, 2)))
        layer.paint((1, 2, 3), 7)
    assert np.count_nonzero(annotation.values == 7) == 2
    assert annotation.touched.sum() == 2
    layer.undo()
    layer.undo()
    assert not annotation.values.any()


def test_a_mask_that_may_not_be_edited_is_not_undone():
    layer, annotation, _ = layer_of()
    stroke(layer, (1, 2, 2))
    layer.editable = False
    layer.undo()
    assert annotation.values.any()


def test_napari_takes_it_for_labels_and_keeps_no_history_of_its_own():
    layer, _, _ = layer_of(name="case [mask]")
    _, keywords, kind = layer.as_layer_data_tuple()
    assert kind == "labels"
    assert keywords["name"] == "case [mask]"
    stroke(layer, (1, 2, 2))
    assert [len(item) for item in layer._undo_history] == [0]


def test_it_tells_of_steps_and_of_changes():
    layer, annotation, _ = layer_of()
    steps, changes = [], []
    layer.stepped.connect(lambda: steps.append(1))
    layer.drawn.connect(lambda: changes.append(1))
    stroke(layer, (1, 2, 2))
    assert steps == [1]
    assert changes
    changes.clear()
    layer.apply(proposal(annotation, np.ones(SHAPE)))
    assert steps == [1]  # nobody drew
    assert changes
    layer.undo()
    layer.redo()
    assert len(steps) == 3


def test_random_steps_undone_one_by_one_lead_back_exactly():
    rng = np.random.default_rng(7)
    layer, annotation, display = layer_of(TURNS[30])
    states = [(annotation.values.copy(), annotation.touched.copy())]
    for _ in range(40):
        point = tuple(int(rng.integers(size)) for size in display.shown.shape)
        layer.brush_size = int(rng.integers(1, 6))
        layer.n_edit_dimensions = int(rng.integers(2, 4))
        before = len(layer.history)
        if rng.random() < 0.3:
            mask = rng.integers(0, 4, SHAPE)
            layer.apply(proposal(annotation, mask, replace_touched=rng.random() < 0.5))
        else:
            stroke(layer, point, np.clip(point, 1, 4), label=int(rng.integers(4)))
        if len(layer.history) > before:
            states.append((annotation.values.copy(), annotation.touched.copy()))
    for values, touched in reversed(states[:-1]):
        layer.undo()
        np.testing.assert_array_equal(annotation.values, values)
        np.testing.assert_array_equal(annotation.touched, touched)
    for values, touched in states[1:]:
        layer.redo()
        np.testing.assert_array_equal(annotation.values, values)
        np.testing.assert_array_equal(annotation.touched, touched)


def test_history_is_bounded_in_steps_and_in_bytes():
    shape = (16, 64, 64)
    annotation = Annotation.empty(shape)
    history = History(limit_bytes=200_000, limit_steps=10)
    rng = np.random.default_rng(0)
    for _ in range(20):
        wanted = rng.integers(0, 255, shape).astype(np.uint8)
        step = make_change(annotation, difference(annotation.values, wanted))
        history.push(step)
        assert history.nbytes <= max(200_000, step.nbytes)
    assert 1 <= len(history) < 10
    small = History(limit_bytes=10**9, limit_steps=10)
    for label in range(1, 21):
        wanted = np.full(shape, label, np.uint8)
        small.push(make_change(annotation, difference(annotation.values, wanted)))
    assert len(small) == 10
    # The same label everywhere costs bits, not bytes.
    assert small.nbytes < 10 * annotation.values.size


def test_what_was_undone_is_forgotten_once_something_new_is_done():
    layer, annotation, _ = layer_of()
    stroke(layer, (1, 2, 2))
    layer.undo()
    stroke(layer, (1, 4, 4))
    drawn = annotation.values.copy()
    layer.redo()
    np.testing.assert_array_equal(annotation.values, drawn)


@pytest.mark.parametrize("turn", TURNS[::7])
def test_who_paints_over_a_label_with_the_same_one_confirms_it(turn):
    layer, annotation, _ = layer_of(turn)
    seen = layer.data
    wanted = np.zeros(SHAPE, np.uint8)
    layer._display.view(wanted)[2, 3:5, 4] = 1
    layer.apply(proposal(annotation, wanted))
    touched = layer._display.view(annotation.touched)
    told = []
    layer.stepped.connect(lambda: told.append("step"))
    stroke(layer, (2, 3, 4), (2, 3, 5))
    assert touched[2, 3, 4]
    assert touched[2, 3, 5]
    assert np.count_nonzero(touched) == 2
    stroke(layer, (2, 4, 4))  # one that only confirms is a step too
    assert touched[2, 4, 4]
    assert told == ["step"] * 2
    assert len(layer.history) == 3
    # A later proposal of nothing takes none of them away.
    change = proposal(annotation, np.zeros(SHAPE))
    assert len(change) == 0
    layer.undo()
    assert not touched[2, 4, 4]
    assert seen[2, 4, 4] == 1
    layer.undo()
    assert not touched.any()
    assert np.count_nonzero(seen) == 2
    layer.redo()
    layer.redo()
    assert np.count_nonzero(touched) == 3


def test_brush_polygon_and_eraser_confirm_in_one_step_each():
    layer, annotation, _ = layer_of()
    stroke(layer, (2, 4, 5))
    layer.undo()
    layer.n_edit_dimensions = 2
    layer.paint_polygon([[1, 1, 1], [1, 1, 4], [1, 4, 4], [1, 4, 1]], 0)
    assert len(layer.history) == 1
    inside = np.count_nonzero(annotation.touched)
    assert inside >= 9
    layer.brush_size = 3
    layer.paint((1, 2, 2), 2)  # over confirmed background: not twice
    assert len(layer.history) == 2
    layer.data_setitem((np.array([1, 4]), np.array([2, 4]), np.array([2, 4])), 2)
    assert len(layer.history) == 3
    assert np.count_nonzero(annotation.touched) > inside
    for _ in range(3):
        layer.undo()
    assert not annotation.touched.any()
    assert not annotation.values.any()


def test_a_proposal_spares_what_a_stroke_under_way_has_confirmed():
    layer, annotation, _ = layer_of()
    layer.apply(proposal(annotation, np.ones(SHAPE)))
    with layer.block_history():
        layer.paint((2, 3, 4), 1)
        layer.apply(proposal(annotation, np.full(SHAPE, 2)))
    assert layer.data[2, 3, 4] == 1
    assert np.count_nonzero(annotation.values == 1) == 1
    assert np.count_nonzero(annotation.touched) == 1
