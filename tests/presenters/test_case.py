"""Opening, geometry, masks to correct, closing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffseg.project.journal import Journal
from diffseg.volume import Affine, Volume, write_mask
from napari_diffseg.presenters import reading
from napari_diffseg.presenters.geometry import SIDES_UNKNOWN


def layer_of(data: Any, **more: Any) -> Any:
    given = {"name": "layer", "scale": (1.0,) * np.ndim(data), "metadata": {}}
    return SimpleNamespace(data=data, **{**given, **more})


def test_an_image_opens_with_its_facts(window: Any, image: Path) -> None:
    window.views.case.open_requested.emit(str(image))
    (facts,) = window.views.case.last("show_facts")
    assert facts.name == "brain"
    assert facts.size == "10 x 8 x 6 voxels"
    assert facts.spacing == "1 x 2 x 3 mm"
    assert facts.orientation == "stored as RAS"
    assert facts.kind == "NIfTI"
    assert not facts.needs_spacing
    assert window.canvas.last("show_case") == (window.case,)
    assert window.journal.last("open")[0] == window.case.id


def test_a_file_that_cannot_be_read_changes_nothing(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    before = window.session.cases
    window.desk.open(str(image.with_name("missing.nii.gz")))
    assert window.session.cases == before
    assert "check the path" in window.troubles[-1]
    assert window.session.busy is None


def test_reading_is_told_and_does_not_wait(window: Any, image: Path) -> None:
    window.background.held = True
    window.desk.open(str(image))
    window.desk.open(str(image))  # impatient
    assert window.session.cases == ()
    assert window.session.busy is not None
    assert window.session.busy.message == "reading brain.nii.gz ..."
    window.background.go_on()
    assert len(window.session.cases) == 1
    assert window.session.busy is None


def test_reading_can_be_given_up(window: Any, image: Path) -> None:
    window.background.held = True
    window.desk.open(str(image))
    window.views.propose.cancel_requested.emit()
    assert window.session.busy is None
    window.background.go_on()
    assert window.session.cases == ()


def test_the_same_file_is_looked_at_not_opened_twice(
    window: Any, make_image: Callable[..., Path]
) -> None:
    first, second = make_image("a.nii.gz"), make_image("b.nii.gz")
    window.desk.open(str(first))
    window.desk.open(str(second))
    window.desk.open(str(first.parent / "." / "a.nii.gz"))
    assert [case.name for case in window.session.cases] == ["a", "b"]
    assert window.case.name == "a"
    assert "open already" in window.said[-1]


def test_channels_are_joined_by_semicolons(
    window: Any, make_image: Callable[..., Path]
) -> None:
    paths = [make_image("a.nii.gz"), make_image("b.nii.gz")]
    window.desk.open(";".join(map(str, paths)))
    assert window.case.volume.channels == 2
    assert "2 channels" in window.views.case.last("show_facts")[0].kind


def test_of_several_series_one_is_asked_for(
    window: Any, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dicom"
    folder.mkdir()
    found = [
        reading.SeriesInfo("1.1", "localiser", "MR", 3, ()),
        reading.SeriesInfo("1.2", "T1 post", "MR", 22, ()),
    ]
    asked = []
    monkeypatch.setattr(reading, "list_series", lambda path: found)
    monkeypatch.setattr(
        reading.Volume,
        "read",
        lambda paths, frame, series: (
            asked.append(series) or Volume.from_array(np.zeros((2, 3, 4)))
        ),
    )
    window.desk.open(str(folder))
    lines = window.views.case.last("ask_series")[0]
    assert lines == ["localiser (MR, 3 slices)", "T1 post (MR, 22 slices)"]
    assert window.session.cases == ()  # the user gave up
    window.views.case.answers["ask_series"] = 1
    window.desk.open(str(folder))
    assert asked == ["1.2"]
    assert len(window.session.cases) == 1


def test_oblique_is_told(window: Any, make_image: Callable[..., Path]) -> None:
    turn = np.radians(12)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    window.desk.open(str(make_image(affine=Affine(matrix))))
    warnings = window.views.case.last("show_facts")[0].warnings
    assert warnings[0].startswith("oblique 12 deg: shown on the closest axes")


def test_millimetres_are_never_assumed_and_can_be_given(
    window: Any, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "skin.png")
    window.desk.open(str(tmp_path / "skin.png"))
    facts = window.views.case.last("show_facts")[0]
    assert facts.needs_spacing
    assert facts.spacing == "no millimetres"
    window.draw((0, 2, 3))
    mask, id = window.case.annotation.values, window.case.id
    window.views.case.spacing_given.emit(1.0, 0.5, 0.25)
    assert window.case.id == id
    assert window.case.annotation.values is mask
    assert mask[0, 2, 3] == 1
    assert window.case.volume.grid.spacing_zyx == (1.0, 0.5, 0.25)
    assert window.case.display.turn.identity  # nothing is flipped
    facts = window.views.case.last("show_facts")[0]
    assert facts.needs_spacing  # a slip of the keys can be put right
    assert SIDES_UNKNOWN in facts.warnings
    assert [name for name, _ in window.canvas.calls].count("forget_case") == 1
    assert window.canvas.last("show_case") == (window.case,)
    assert window.journal.last("replace")[4] is window.case.volume
    window.views.case.spacing_given.emit(1.0, 0.0, 0.25)
    assert "above 0" in window.troubles[-1]
    assert window.case.volume.grid.spacing_zyx == (1.0, 0.5, 0.25)


def test_a_layer_from_elsewhere_becomes_a_case(window: Any) -> None:
    plain = layer_of(np.zeros((4, 5, 6)))
    window.canvas.image_added.emit(plain)
    assert window.canvas.last("replace_image") == (window.case, (plain,))
    assert window.views.case.last("show_facts")[0].needs_spacing
    assert "without millimetres" in window.troubles[-1]
    window.canvas.image_added.emit(layer_of(np.zeros((4, 5, 6)), scale=(3, 1, 2)))
    assert window.case.volume.grid.spacing_zyx == (3.0, 1.0, 2.0)
    assert SIDES_UNKNOWN in window.case.volume.warnings
    cells = layer_of(np.zeros((4, 5, 6)), scale=(1, 1, 1), units=("um",) * 3)
    window.canvas.image_added.emit(cells)
    assert window.case.volume.grid.spacing_zyx == pytest.approx((1e-3,) * 3)
    count = len(window.session.cases)
    window.canvas.image_added.emit(layer_of(np.zeros((2, 3, 4, 5))))
    assert len(window.session.cases) == count
    assert "4 axes" in window.troubles[-1]


def test_a_layer_that_names_its_file_opens_the_file(window: Any, image: Path) -> None:
    said = {"diffseg": {"source": str(image), "series": None}}
    first = layer_of(np.zeros((6, 8, 10)), metadata=said)
    window.canvas.image_added.emit(first)
    assert window.case.volume.grid.has_spacing
    assert window.canvas.last("replace_image") == (window.case, (first,))
    again = layer_of(np.zeros((6, 8, 10)), metadata=said)
    window.canvas.image_added.emit(again)
    assert len(window.session.cases) == 1
    assert window.canvas.last("replace_image") == (window.case, (again,))
    ours = layer_of(np.zeros((6, 8, 10)), metadata={"diffseg": {"case": "x"}})
    window.canvas.image_added.emit(ours)
    assert len(window.session.cases) == 1


def test_open_in_another_window_is_locked(
    make_window: Any, image: Path, tmp_path: Path
) -> None:
    journals = [Journal(tmp_path / "journal") for _ in range(2)]
    first, second = (make_window(journal=journal) for journal in journals)
    try:
        first.desk.open(str(image))
        second.desk.open(str(image))
        assert first.case.locked is None
        assert second.case.locked
        assert second.case.locked in second.troubles
        assert second.views.correct.last("set_enabled") == (False, second.case.locked)
        assert second.views.export.last("set_ready") == (False, second.case.locked)
        second.views.export.run_requested.emit()
        assert not second.views.export.all("show_done")
        assert second.views.propose.last("set_ready") == (False, second.case.locked)
        second.views.propose.run_requested.emit()
        assert not second.runner.jobs
    finally:
        first.desk.close()
        second.desk.close()


def test_a_journal_that_fails_is_told_and_the_image_opens(
    window: Any, image: Path
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device", "journal")

    window.journal.answers["open"] = broken
    window.desk.open(str(image))
    assert window.case.locked is None
    assert "not kept on disk" in window.troubles[-1]
    assert "No space left" in window.troubles[-1]


def test_a_mask_to_correct_is_one_change_and_not_drawn(
    window: Any, image: Path, tmp_path: Path
) -> None:
    window.desk.open(str(image))
    volume = window.case.volume
    values = np.zeros(volume.shape, np.uint8)
    values[1, 2, 3:6], values[2] = 2, 7
    path = write_mask(tmp_path / "m_mask.nii.gz", values, volume.grid, volume.source)
    window.views.case.mask_requested.emit(str(path))
    assert len(window.canvas.all("apply")) == 1
    assert np.array_equal(window.case.annotation.values, values)
    assert not window.case.annotation.touched.any()
    assert np.array_equal(window.case.given, values)
    assert window.case.table.names[-1] == "structure 7"
    calls = [name for name, _ in window.canvas.calls]
    assert calls.index("show_table", calls.index("look_at")) < calls.index("apply")
    assert window.journal.last("note") == (window.case.id,)


def test_a_mask_does_not_run_over_strokes_unasked(
    window: Any, image: Path, tmp_path: Path
) -> None:
    window.desk.open(str(image))
    volume = window.case.volume
    window.draw((0, 0, slice(0, 4)), 1)
    values = np.full(volume.shape, 2, np.uint8)
    path = write_mask(tmp_path / "m.nii.gz", values, volume.grid, volume.source)
    window.views.propose.answers["ask_replace"] = None
    window.views.case.mask_requested.emit(str(path))
    assert not window.canvas.all("apply")
    window.views.propose.answers["ask_replace"] = False
    window.views.case.mask_requested.emit(str(path))
    assert (window.case.annotation.values[0, 0, :4] == 1).all()
    assert (window.case.annotation.values[1:] == 2).all()
    assert window.views.propose.last("ask_replace") == (4, "voxel")


def test_a_mask_on_another_grid_is_refused(
    window: Any, image: Path, make_image: Callable[..., Path]
) -> None:
    window.desk.open(str(image))
    moved = make_image("m.nii.gz", affine=Affine.from_parts((1, 2, 3), (5, 0, 0)))
    window.views.case.mask_requested.emit(str(moved))
    assert "different grids" in window.troubles[-1]
    assert not window.case.annotation.values.any()


def test_windows_fit_the_image(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    names = ("Auto 1-99 %", "Full range")
    assert window.views.case.last("set_windows") == (names, names[0])
    # What the list names is what is seen.
    assert window.canvas.last("set_window")[0] is window.case
    assert window.canvas.last("set_window")[1:] == pytest.approx((2, 197), abs=2)
    window.views.case.window_chosen.emit("Full range")
    assert window.canvas.last("set_window") == (window.case, 0.0, 199.0)
    before = len(window.canvas.all("set_window"))
    window.views.case.spacing_given.emit(2.0, 2.0, 2.0)
    assert len(window.canvas.all("set_window")) == before + 1
    assert window.canvas.last("set_window") == (window.case, 0.0, 199.0)


def test_a_ct_is_first_seen_in_its_soft_tissue(window: Any, data_dir: Path) -> None:
    window.desk.open(str(data_dir / "odd_files/pydicom/693_J2KI.dcm"))
    (names, first) = window.views.case.last("set_windows")
    assert first == names[0]
    assert first.startswith(("as stored", "Soft tissue"))
    case, low, high = window.canvas.last("set_window")
    assert case is window.case
    assert high - low < 1000


def test_closing_without_strokes_keeps_nothing(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    id = window.case.id
    window.views.case.close_requested.emit()
    assert window.session.cases == ()
    assert window.canvas.last("forget_case") == (id,)
    assert window.journal.all("forget") == [(id,)]
    assert window.views.case.last("show_facts") == (None,)


def test_deleting_an_image_with_strokes_loses_none(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.draw((1, 1, 1))
    case = window.case
    window.canvas.case_deleted.emit(case.id)
    assert window.session.cases == ()
    assert window.journal.all("flush") == [(case.id,)]
    assert not window.journal.all("forget")
    assert "not exported" in window.troubles[-1]
    window.desk.open(str(image))
    assert window.case is case
    assert window.case.annotation.values[1, 1, 1] == 1


def test_names_follow_the_layer(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.canvas.image_renamed.emit(window.case.id, "patient 7")
    assert window.views.case.last("set_cases")[0] == [(window.case.id, "patient 7")]
    assert window.views.case.last("show_facts")[0].name == "patient 7"


def test_selecting_a_layer_chooses_its_case(
    window: Any, make_image: Callable[..., Path]
) -> None:
    window.desk.open(str(make_image("a.nii.gz")))
    first = window.case
    window.desk.open(str(make_image("b.nii.gz")))
    window.canvas.case_selected.emit(first.id)
    assert window.case is first
    window.canvas.case_selected.emit("gone")
    assert window.case is first


def test_closing_the_window_keeps_the_journal(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    window.draw((1, 1, 1))
    window.views.propose.run_requested.emit()
    window.desk.close()
    window.desk.close()
    assert window.runner.jobs[0][2].cancelled == 1
    assert len(window.journal.all("close")) == 1
    assert not window.journal.all("forget")
