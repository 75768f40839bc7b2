"""Layers from elsewhere, closed cases that come back, files that have changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from diffseg.volume import Affine


def layer_of(data: Any, **more: Any) -> Any:
    given = {"name": "layer", "scale": (1.0,) * np.ndim(data), "metadata": {}}
    return SimpleNamespace(data=data, **{**given, **more})


def of_file(*paths: Path) -> Any:
    said = {"source": ";".join(map(str, paths)), "series": None}
    return layer_of(np.zeros((6, 8, 10)), metadata={"diffseg": said})


def test_layers_of_before_are_asked_for(window: Any) -> None:
    assert len(window.canvas.all("tell_images")) == 1


def test_every_layer_of_an_image_is_handed_over(
    window: Any, make_image: Callable[..., Path]
) -> None:
    paths = [make_image("a.nii.gz"), make_image("b.nii.gz")]
    window.background.held = True
    layers = tuple(of_file(*paths) for _ in range(2))
    for layer in layers:
        window.canvas.image_added.emit(layer)
    window.background.go_on()
    assert window.canvas.all("replace_image") == [(window.case, layers)]


def test_a_layer_deleted_while_it_is_read_stays_deleted(
    window: Any, image: Path
) -> None:
    window.background.held = True
    window.canvas.image_added.emit(of_file(image))
    window.canvas.image_added.emit(layer_of(np.zeros((4, 5, 6))))
    window.canvas.answers["holds"] = False
    window.background.go_on()
    assert window.session.cases == ()


def test_a_closed_case_takes_the_place_of_its_layer(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.draw((1, 1, 1))
    case = window.case
    window.views.case.close_requested.emit()
    layer = of_file(image)
    window.canvas.image_added.emit(layer)
    assert window.case is case
    assert window.canvas.last("replace_image") == (case, (layer,))


def test_a_closed_layer_comes_back_with_its_strokes(window: Any) -> None:
    voxels = np.arange(120.0).reshape(4, 5, 6)
    voxels[0, 0, 0] = np.nan
    window.canvas.image_added.emit(layer_of(voxels))
    window.draw((1, 2, 3))
    case = window.case
    window.canvas.case_deleted.emit(case.id)
    window.canvas.image_added.emit(layer_of(voxels + 1))
    assert window.case is not case
    again = layer_of(voxels.copy())
    window.canvas.image_added.emit(again)
    assert window.case is case
    assert window.canvas.last("replace_image") == (case, (again,))
    assert "open again, with its strokes" in window.said[-1]


def test_a_file_that_has_changed_is_not_proposed_on(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    case = window.case
    os.utime(image, ns=(1, 1))
    window.views.propose.run_requested.emit()
    assert not window.runner.jobs
    assert "has changed on disk since it was opened" in window.troubles[-1]
    assert window.session.busy is None
    window.views.case.close_requested.emit()
    window.desk.open(str(image))
    assert window.case is not case
    window.views.propose.run_requested.emit()
    assert len(window.runner.jobs) == 1


def test_a_closed_case_gets_its_image_anew(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.draw((1, 1, 1))
    case, before = window.case, window.case.volume
    window.views.case.close_requested.emit()
    os.utime(image, ns=(1, 1))
    window.desk.open(str(image))
    assert window.case is case
    assert case.volume is not before
    assert "has changed on disk; its strokes lie on" in window.said[-1]
    window.views.propose.run_requested.emit()
    assert len(window.runner.jobs) == 1


def test_strokes_are_not_put_on_another_image(
    window: Any, make_image: Callable[..., Path]
) -> None:
    image = make_image()
    window.desk.open(str(image))
    window.draw((1, 1, 1))
    case = window.case
    window.views.case.close_requested.emit()
    make_image(affine=Affine(np.diag([-1.0, 2.0, 3.0, 1.0])))
    os.utime(image, ns=(1, 1))
    window.desk.open(str(image))
    assert window.case is not case
    assert not window.case.annotation.values.any()
    assert "another image now" in window.troubles[-1]
    assert not window.journal.all("forget")
