"""After a crash: what was left behind comes back, or stays."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffseg.domain import ImageLabels, Label, LabelTable, Presence
from diffseg.project.annotation import Annotation
from diffseg.project.journal import Journal
from diffseg.volume import Affine, Grid, Volume
from napari_diffseg.presenters.recover import when_text

TABLE = LabelTable(labels=(Label(name="head", value=1), Label(name="tail", value=2)))


def _die_while_drawing(folder: Path, image: Path) -> None:
    volume = Volume.read(image)
    note = Annotation.empty(volume.shape)
    journal = Journal(folder)
    journal.open(
        "case",
        name="brain",
        volume=volume,
        annotation=note,
        table=TABLE,
        labels=ImageLabels({"head": Presence.ABSENT}),
    )
    note.proposed = np.zeros(volume.shape, np.uint8)
    note.proposed[4] = 1
    note.values[4] = 1
    note.values[1, 2, 3:6] = 2
    note.touched[1, 2, 3:6] = True
    note.values[0, 0, 0] = 2  # read from a file
    journal.note("case")
    assert journal.flush()
    until = time.monotonic() + 20  # the proposal is kept at leisure
    while not list(folder.rglob("*.proposed*")) and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    os._exit(9)


@pytest.fixture
def crashed(tmp_path: Path, image: Path) -> Path:
    """Folder of a journal whose window died."""
    folder = tmp_path / "journal"
    # The journal tells dead windows by their locks, so a process has to die.
    process = multiprocessing.get_context("fork").Process(
        target=_die_while_drawing, args=(folder, image)
    )
    process.start()
    process.join(30)
    assert process.exitcode == 9
    return folder


@pytest.fixture
def after(make_window: Any, crashed: Path) -> Any:
    """A window on that journal that was not asked yet."""
    journal = Journal(crashed)
    window = make_window(journal=journal)
    yield window
    window.desk.close()


def recover(window: Any, take: bool | None) -> None:
    def answer(leftovers: Any) -> dict[str, bool] | None:
        return None if take is None else {one.id: take for one in leftovers}

    window.views.recover.answers["ask_recover"] = answer
    window.desk.recover.start()


def test_strokes_come_back(after: Any, image: Path) -> None:
    recover(after, True)
    (leftovers,) = after.views.recover.last("ask_recover")
    assert leftovers[0].name == "brain"
    assert leftovers[0].when.startswith("today ")
    case = after.case
    assert case.volume.source.paths == (str(image),)
    assert (case.annotation.values[1, 2, 3:6] == 2).all()
    assert np.count_nonzero(case.annotation.touched) == 3
    assert case.annotation.proposed is not None
    assert (case.annotation.proposed[4] == 1).all()
    assert case.table == TABLE
    assert dict(case.labels) == {"head": Presence.ABSENT}
    assert np.argwhere(case.given).tolist() == [[0, 0, 0]]
    # No step of its own: done again, it would be as if nobody had drawn it.
    assert not after.canvas.all("apply")
    assert after.canvas.last("forget_history") == (case,)
    assert after.canvas.last("show_table") == (case,)
    assert case.unsaved
    assert after.said[-1] == "brain: 3 voxels that you drew are back"
    assert after.journal.leftovers() == ()


def test_what_came_back_survives_the_next_crash(after: Any, crashed: Path) -> None:
    recover(after, True)
    after.desk.close()
    later = Journal(crashed)
    (leftover,) = later.leftovers()
    assert later.restore(leftover.id).values[1, 2, 4] == 2
    later.close()


def test_an_image_that_is_gone_keeps_the_strokes(after: Any, image: Path) -> None:
    image.unlink()
    recover(after, True)
    assert after.session.cases == ()
    assert any("no such file" in line for line in after.troubles)
    assert len(after.journal.leftovers()) == 1


def test_another_image_in_its_place_keeps_the_strokes(
    after: Any, make_image: Callable[..., Path]
) -> None:
    make_image(shape=(3, 4, 5))
    recover(after, True)
    assert "another size" in after.troubles[-1]
    assert len(after.journal.leftovers()) == 1


def test_an_image_that_is_open_already_is_drawn_into(after: Any, image: Path) -> None:
    after.desk.open(str(image))
    case = after.case
    recover(after, True)
    assert after.session.cases == (case,)
    assert (case.annotation.values[1, 2, 3:6] == 2).all()
    assert after.journal.leftovers() == ()


def test_new_strokes_are_not_run_over(after: Any, image: Path) -> None:
    after.desk.open(str(image))
    after.draw((5, 5, 5), 1)
    recover(after, True)
    assert after.case.annotation.values[1, 2, 3] == 0
    assert "strokes of its own" in after.troubles[-1]
    assert len(after.journal.leftovers()) == 1


def test_later_keeps_and_no_throws_away(after: Any) -> None:
    recover(after, None)
    assert len(after.journal.leftovers()) == 1
    recover(after, False)
    assert after.journal.leftovers() == ()
    assert after.session.cases == ()


def test_a_proposal_asks_before_it_runs_over_them(
    after: Any, card: Any, propose: Any
) -> None:
    from diffseg.engine.events import Finished

    recover(after, True)
    # the annotator's names for the model's values
    after.case.table_model, after.case.model_table = f"{card.id}@1", card.labels
    after.views.propose.answers["ask_replace"] = False
    after.case.labels = ImageLabels()
    after.views.propose.run_requested.emit()
    mask = np.zeros(after.case.volume.shape, np.uint8)
    after.runner.tell(Finished(propose(after.case, mask, card)))
    assert after.views.propose.last("ask_replace") == (4, "voxel")  # drawn, and read
    assert (after.case.annotation.values[1, 2, 3:6] == 2).all()
    assert not after.case.annotation.values[4].any()


def test_an_image_that_was_mirrored_keeps_the_strokes(
    after: Any, make_image: Callable[..., Path]
) -> None:
    make_image(affine=Affine(np.diag([-1.0, 2.0, 3.0, 1.0])))
    recover(after, True)
    assert "lies otherwise in space" in after.troubles[-1]
    assert after.session.cases == ()
    assert len(after.journal.leftovers()) == 1


def test_an_open_image_that_was_moved_keeps_the_strokes(
    after: Any, make_image: Callable[..., Path]
) -> None:
    after.desk.open(str(make_image(affine=Affine.from_parts((1, 2, 3), (9, 0, 0)))))
    recover(after, True)
    assert "lies otherwise in space" in after.troubles[-1]
    assert not after.case.annotation.values.any()
    assert len(after.journal.leftovers()) == 1


def test_what_is_not_as_it_was_is_told_at_last(
    after: Any, make_image: Callable[..., Path], image: Path
) -> None:
    os.utime(image, ns=(1, 1))
    recover(after, True)
    text, severity = after.views.notices.last("show")
    assert text.startswith("brain: 3 voxels that you drew are back; the image ")
    assert text.endswith("has changed since")
    assert severity == "warning"


def layer_of(data: Any, name: str) -> Any:
    return SimpleNamespace(data=data, name=name, scale=(1.0,) * 3, metadata={})


@pytest.fixture
def orphan(window: Any) -> Any:
    """A window with strokes that were left on a layer without a file."""
    values = np.zeros((4, 5, 6), np.uint8)
    values[1, 2, 3] = 2
    window.journal.answers["leftovers"] = (
        SimpleNamespace(id="1", name="photo", when=datetime(2026, 1, 2, 3), voxels=1),
    )
    window.journal.answers["restore"] = SimpleNamespace(
        name="photo",
        paths=(),
        warnings=("one is lost",),
        values=values,
        touched=values > 0,
        proposed=None,
        grid=Grid((4, 5, 6), Affine.identity(), has_spacing=False),
        table=TABLE,
        labels=ImageLabels(),
        origin=None,
    )
    return window


def test_strokes_on_an_open_layer_come_back(orphan: Any) -> None:
    orphan.canvas.image_added.emit(layer_of(np.zeros((4, 5, 6)), "photo"))
    recover(orphan, True)
    assert orphan.case.annotation.values[1, 2, 3] == 2
    assert orphan.case.annotation.touched.sum() == 1
    assert "is back; one is lost" in orphan.said[-1]
    assert orphan.journal.all("discard") == [("1",)]


def test_strokes_on_a_layer_wait_for_it(orphan: Any) -> None:
    recover(orphan, True)
    assert "was no file: add it" in orphan.troubles[-1]
    assert "one is lost" in orphan.troubles[-1]
    orphan.canvas.image_added.emit(layer_of(np.zeros((4, 5, 6)), "other"))
    orphan.canvas.image_added.emit(layer_of(np.zeros((4, 5, 7)), "photo"))
    assert not orphan.journal.all("discard")
    orphan.canvas.image_added.emit(layer_of(np.zeros((4, 5, 6)), "photo"))
    assert orphan.case.annotation.values[1, 2, 3] == 2
    assert orphan.journal.all("discard") == [("1",)]


def test_it_is_asked_once_the_window_stands(make_window: Any) -> None:
    journal: Any = make_window().fake_journal()
    window = make_window(journal=journal)
    assert len(journal.all("leftovers")) == 1
    assert not window.views.recover.all("ask_recover")  # nothing was left


def test_times_are_told_as_people_do() -> None:
    now = datetime(2026, 11, 21, 10, 0)
    assert when_text(datetime(2026, 11, 21, 9, 5), now) == "today 09:05"
    assert when_text(datetime(2026, 11, 20, 23, 5), now) == "yesterday 23:05"
    assert when_text(datetime(2026, 3, 2, 14, 3), now) == "2 Mar 14:03"
    assert when_text(datetime(2025, 3, 2, 14, 3), now) == "2 Mar 2025 14:03"
