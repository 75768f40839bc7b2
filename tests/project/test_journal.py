"""One window's journal: what it keeps, offers, forgets, and says when it cannot."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from diffseg.domain import ImageLabels, LabelTable
from diffseg.errors import UserError
from diffseg.project import notebook
from diffseg.project.annotation import Annotation
from diffseg.project.journal import Journal
from diffseg.volume import Volume

Make = Callable[..., Journal]
Open = Callable[..., Volume]
LONG = 20.0
"""Seconds after which a test gives up waiting."""


def draw(annotation: Annotation, where: object = np.s_[1:3, 2, 2:5]) -> None:
    annotation.values[where] = 7  # type: ignore[index]
    annotation.touched[where] = True  # type: ignore[index]


def crash(journal: Journal) -> None:
    """Leave as a killed process does: nothing is written, locks are gone."""
    journal._keeper.watch.stop()
    window = journal._window
    for lock in [window._lock, *window._locks.values()]:
        if lock is not None:
            lock.release(force=True)
    window._lock = None
    window._locks.clear()
    journal._closed = True


def test_a_crash_loses_nothing_that_was_flushed(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    volume = open_case(journal, image, annotation)
    draw(annotation)
    annotation.proposed = np.full_like(annotation.values, 1)
    assert journal.flush("case")
    while list(journal._window.folder.rglob("*.proposed")) == []:
        journal.flush()
    crash(journal)

    after = make_journal()
    (leftover,) = after.leftovers()
    assert leftover.name == "name of case"
    assert leftover.voxels == 6
    assert leftover.paths == (str(image.resolve()),)
    assert not leftover.closed
    assert abs(datetime.now().astimezone() - leftover.when).total_seconds() < 600
    restored = after.restore(leftover.id)
    np.testing.assert_array_equal(restored.values, annotation.values)
    np.testing.assert_array_equal(restored.touched, annotation.touched)
    np.testing.assert_array_equal(restored.proposed, annotation.proposed)
    assert restored.grid.same_as(volume.grid)
    assert [*restored.table.names] == ["anterior", "posterior"]
    assert {name: state.value for name, state in restored.labels.items()} == {
        "anterior": "present",
        "posterior": "absent",
    }
    assert restored.paths == leftover.paths
    assert restored.frame is None
    assert restored.series is None
    assert restored.warnings == ()
    after.discard(leftover.id)
    assert after.leftovers() == ()
    after.discard(leftover.id)  # gone already


def test_a_note_is_kept_without_a_flush_and_told(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    told: list[tuple[str, datetime, str]] = []
    kept = threading.Event()

    def on_kept(case_id: str, when: datetime) -> None:
        told.append((case_id, when, threading.current_thread().name))
        kept.set()

    journal = make_journal(on_kept=on_kept)
    open_case(journal, image, annotation)
    draw(annotation)
    journal.note("case")
    assert kept.wait(LONG)
    assert told[0][0] == "case"
    assert told[0][1].tzinfo is not None
    assert told[0][2] != threading.current_thread().name


def test_nothing_is_written_where_nothing_changed(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    told: list[str] = []
    journal = make_journal(on_kept=lambda case_id, when: told.append(case_id))
    open_case(journal, image, annotation)
    for _ in range(3):
        assert journal.flush()
    assert told == []
    draw(annotation)
    for _ in range(3):
        assert journal.flush()
    assert told == ["case"]


def test_a_mask_that_was_there_is_restored_and_no_change(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    annotation.values[:] = 1
    journal = make_journal()
    open_case(journal, image, annotation)
    journal.flush()
    annotation.values[0, 0, 0] = 0
    journal.flush()
    crash(journal)
    (leftover,) = make_journal().leftovers()
    assert leftover.voxels == 1
    restored = make_journal().restore(leftover.id)
    np.testing.assert_array_equal(restored.values, annotation.values)


def test_a_stroke_that_changes_no_label_is_a_change(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    annotation.values[:] = 7
    journal = make_journal()
    open_case(journal, image, annotation)
    journal.flush()
    draw(annotation)  # in the label that is there: a person says that it is right
    journal.flush()
    crash(journal)
    (leftover,) = make_journal().leftovers()
    assert leftover.voxels == 6
    assert make_journal().restore(leftover.id).touched.sum() == 6


def test_nothing_is_offered_of_a_case_that_was_only_looked_at(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    annotation.values[:] = 1
    journal = make_journal()
    open_case(journal, image, annotation)
    journal.flush()
    crash(journal)
    other = make_journal()
    assert other.leftovers() == ()
    assert list((other._window.folder / "windows").iterdir()) == []


def test_what_was_recovered_and_crashes_again_is_offered_again(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    draw(annotation)  # touched before it is opened, as a restored mask is
    journal = make_journal()
    open_case(journal, image, annotation)
    journal.flush()
    crash(journal)
    (leftover,) = make_journal().leftovers()
    assert leftover.voxels == 6


def test_forgotten_is_gone(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    open_case(journal, image, annotation)
    draw(annotation)
    journal.flush()
    journal.forget("case")
    journal.note("case")  # a late one is no error
    journal.forget("case")
    assert not journal.flush("case")  # it is not kept
    assert journal.flush()
    crash(journal)
    assert make_journal().leftovers() == ()
    open_case(make_journal(), image, annotation)  # and its image is free


def test_an_orderly_end_keeps_what_no_file_holds(
    make_journal: Make, open_case: Open, image: Path, tmp_path: Path
) -> None:
    journal = make_journal()
    masks = {}
    for name in ("drawn", "exported", "exported and drawn", "looked at"):
        masks[name] = Annotation.empty((6, 7, 9))
        open_case(journal, image, masks[name], name)
    for name in ("drawn", "exported", "exported and drawn"):
        draw(masks[name])
    assert journal.exported("exported")
    assert journal.exported("exported and drawn")
    assert not journal.exported("unknown")
    draw(masks["exported and drawn"], np.s_[0])
    journal.close()
    journal.close()
    found = make_journal().leftovers()
    assert {leftover.name for leftover in found} == {
        "name of drawn",
        "name of exported and drawn",
    }
    assert all(leftover.closed for leftover in found)
    with pytest.raises(ValueError, match="closed"):
        open_case(journal, image, masks["drawn"])


def test_an_exported_mask_is_not_offered_after_a_crash(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    open_case(journal, image, annotation)
    draw(annotation)
    journal.exported("case")
    crash(journal)
    assert make_journal().leftovers() == ()


def test_an_end_that_keeps_nothing(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    open_case(journal, image, annotation)
    draw(annotation)
    journal.close(keep=False)
    other = make_journal()
    assert other.leftovers() == ()
    assert list((other._window.folder / "windows").iterdir()) == []


def test_table_labels_name_and_arrays_may_be_others(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    volume = open_case(journal, image, annotation)
    draw(annotation)
    table = LabelTable.model_validate({"labels": [{"name": "new", "value": 7}]})
    journal.replace("case", table=table)
    journal.replace("case", labels=ImageLabels.parse("new"), name="other")
    swapped = Annotation(annotation.values + 1, ~annotation.touched)
    journal.replace("case", annotation=swapped, volume=volume)
    journal.replace("unknown", name="nobody")
    with pytest.raises(ValueError, match="shape"):
        journal.replace("case", annotation=Annotation.empty((1, 1, 1)))
    with pytest.raises(ValueError, match="grid"):
        journal.replace("case", volume=Volume.from_array(np.zeros((1, 1, 1))))
    journal.flush()
    crash(journal)
    (leftover,) = make_journal().leftovers()
    restored = make_journal().restore(leftover.id)
    assert restored.table == table
    assert dict(restored.labels) == dict(ImageLabels.parse("new"))
    assert restored.name == "other"
    np.testing.assert_array_equal(restored.values, swapped.values)
    np.testing.assert_array_equal(restored.touched, swapped.touched)


def test_a_proposal_that_was_taken_back_is_not_restored(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    open_case(journal, image, annotation)
    draw(annotation)
    folder = journal._window.folder
    for proposed in (np.ones_like(annotation.values), annotation.values.copy(), None):
        annotation.proposed = proposed
        while journal._keeper.books["case"].has_chores:
            journal.flush()
        assert len(list(folder.rglob("*.proposed"))) == int(proposed is not None)
    crash(journal)
    (leftover,) = make_journal().leftovers()
    assert make_journal().restore(leftover.id).proposed is None


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_an_image_that_is_not_what_it_was_warns(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation, what: str
) -> None:
    journal = make_journal()
    open_case(journal, image, annotation)
    draw(annotation)
    journal.flush()
    crash(journal)
    if what == "gone":
        image.unlink()
    else:
        image.write_bytes(image.read_bytes() + b"\0")
    (leftover,) = make_journal().leftovers()
    (warning,) = make_journal().restore(leftover.id).warnings
    assert what.replace("gone", "no longer there") in warning


def test_records_become_a_base_and_nothing_is_lost(
    make_journal: Make,
    open_case: Open,
    image: Path,
    annotation: Annotation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notebook, "MOST_RECORDS", 3)
    journal = make_journal()
    open_case(journal, image, annotation)
    for turn in range(30):
        draw(annotation, np.s_[turn % 6, turn % 7])
        annotation.values[0, 0, 0] = turn
        assert journal.flush()
    while journal._keeper.books["case"].has_chores:
        journal.flush()
    files = [path.suffix for path in journal._window.folder.rglob("*.*[es]")]
    assert files.count(".base") == 1
    assert files.count(".strokes") <= 4
    crash(journal)
    (leftover,) = make_journal().leftovers()
    restored = make_journal().restore(leftover.id)
    np.testing.assert_array_equal(restored.values, annotation.values)
    np.testing.assert_array_equal(restored.touched, annotation.touched)
    assert restored.warnings == ()


def test_a_full_disk_is_told_once_and_tried_again(
    make_journal: Make,
    open_case: Open,
    image: Path,
    annotation: Annotation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    journal = make_journal(interval=0.02, on_trouble=told.append)
    open_case(journal, image, annotation)
    assert journal.flush()
    sound = os.replace

    def full(*names: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = threading.Event()
    journal.on_kept = lambda case_id, when: kept.set()
    for turn in (1, 2):
        monkeypatch.setattr(os, "replace", full)
        for plane in range(3):
            draw(annotation, np.s_[plane, turn])
            assert not journal.flush("case")
        assert len(told) == turn
        assert "No space left on device" in told[-1]
        assert "\n" not in told[-1]
        kept.clear()
        monkeypatch.setattr(os, "replace", sound)
        assert kept.wait(LONG)  # without another note
        assert journal.flush("case")
    crash(journal)
    (leftover,) = make_journal().leftovers()
    restored = make_journal().restore(leftover.id)
    np.testing.assert_array_equal(restored.values, annotation.values)
    np.testing.assert_array_equal(restored.touched, annotation.touched)
    assert restored.warnings == ()


def test_a_folder_that_cannot_be_made_is_told_once_and_tried_again(
    make_journal: Make,
    open_case: Open,
    image: Path,
    annotation: Annotation,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "taken"
    folder.write_text("a file")
    told: list[str] = []
    journal = make_journal(folder, interval=0.02, on_trouble=told.append)
    assert journal.leftovers() == ()
    open_case(journal, image, annotation)
    draw(annotation)
    assert not journal.flush()
    assert not journal.exported("case")
    assert len(told) == 1
    assert str(folder) in told[0]
    folder.unlink()
    assert journal.flush()
    crash(journal)
    (leftover,) = make_journal(folder).leftovers()
    restored = make_journal(folder).restore(leftover.id)
    np.testing.assert_array_equal(restored.values, annotation.values)


def test_a_folder_that_vanishes_is_filled_again(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    open_case(journal, image, annotation)
    draw(annotation)
    journal.flush()
    for path in journal._keeper.books["case"].folder.iterdir():
        path.unlink()
    annotation.values[5, 5, 5] = 3
    assert journal.flush()
    crash(journal)
    (leftover,) = make_journal().leftovers()
    restored = make_journal().restore(leftover.id)
    np.testing.assert_array_equal(restored.values, annotation.values)
    np.testing.assert_array_equal(restored.touched, annotation.touched)


def test_a_listener_that_fails_does_not_end_it(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a view is gone")

    journal = make_journal(on_kept=fail)
    open_case(journal, image, annotation)
    for plane in range(3):
        draw(annotation, np.s_[plane])
        assert journal.flush()


def test_no_name_is_told_by_files_and_folders(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal = make_journal()
    open_case(journal, image, annotation)
    draw(annotation)
    journal.flush()
    folder = journal._window.folder
    assert len(list(folder.rglob("*"))) > 5
    assert not [path for path in folder.rglob("*") if "doe" in path.name.lower()]
    if os.name == "posix":
        assert folder.stat().st_mode & 0o077 == 0


def test_ids_that_are_none_are_refused(make_journal: Make, tmp_path: Path) -> None:
    journal = make_journal()
    (tmp_path / "journal").mkdir()
    for id in ("", "..", "../../etc", f"{'a' * 32}-../../../x"):
        with pytest.raises(UserError, match="no leftover"):
            journal.restore(id)
        with pytest.raises(UserError, match="no leftover"):
            journal.discard(id)
    with pytest.raises(UserError, match="no longer there"):
        journal.restore(f"{'a' * 32}-{'b' * 12}")


def test_shapes_must_fit(make_journal: Make, open_case: Open, image: Path) -> None:
    journal = make_journal()
    with pytest.raises(ValueError, match="shape"):
        open_case(journal, image, Annotation.empty((1, 2, 3)))


def test_an_image_from_memory_is_kept_and_says_so(
    make_journal: Make, annotation: Annotation
) -> None:
    journal = make_journal()
    journal.open(
        "case",
        name="made here",
        volume=Volume.from_array(np.zeros((6, 7, 9))),
        annotation=annotation,
        table=LabelTable.model_validate({"labels": [{"name": "one", "value": 1}]}),
        labels=ImageLabels(),
        frame=3,
    )
    draw(annotation)
    journal.flush()
    crash(journal)
    (leftover,) = make_journal().leftovers()
    restored = make_journal().restore(leftover.id)
    assert restored.frame == 3
    assert restored.paths == ()
    assert restored.warnings == ()


def test_its_place_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    journal = Journal()
    assert journal.leftovers() == ()
    assert journal._window.folder == tmp_path / "home" / "journal"
    journal.close()
    assert not (tmp_path / "home").exists()  # made at need only


def test_it_loads_where_torch_is_missing() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; import diffseg.project.journal; "
        "print(sorted({'distributed', 'napari', 'qtpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"
