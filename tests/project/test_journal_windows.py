"""Several windows on one journal, and windows that die."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from diffseg.errors import UserError
from diffseg.project.annotation import Annotation
from diffseg.project.journal import InUse, Journal
from diffseg.volume import Volume

Make = Callable[..., Journal]
Open = Callable[..., Volume]
HERE = Path(__file__).parent

# A window of another process: opens an image, draws, says so, and stays.
WINDOW = """
import sys, numpy as np
from pathlib import Path
from diffseg.domain import ImageLabels, LabelTable
from diffseg.project.annotation import Annotation
from diffseg.project.journal import Journal
from diffseg.volume import Volume
folder, image = map(Path, sys.argv[1:])
volume = Volume.read(image)
annotation = Annotation.empty(volume.shape)
journal = Journal(folder)
table = LabelTable.model_validate({"labels": [{"name": "one", "value": 1}]})
journal.open("there", name="there", volume=volume, annotation=annotation,
             table=table, labels=ImageLabels())
annotation.values[2, 3, 4] = 1
annotation.touched[2, 3, 4] = True
assert journal.flush()
print("drawn", flush=True)
if sys.stdin.readline() == "close\\n":
    journal.close()
"""


@contextmanager
def another_window(folder: Path, image: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WINDOW, str(folder), str(image)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "drawn\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_window_that_is_killed_leaves_its_work_at_once(
    make_journal: Make, open_case: Open, image: Path, tmp_path: Path
) -> None:
    journal = make_journal()
    mine = Annotation.empty((6, 7, 9))
    with another_window(tmp_path / "journal", image) as process:
        assert journal.leftovers() == ()
        with pytest.raises(InUse, match="another window"):
            open_case(journal, image, mine)
        process.kill()
        process.wait()
        (leftover,) = journal.leftovers()
        assert not leftover.closed
        open_case(journal, image, mine)
        restored = journal.restore(leftover.id)
        assert restored.values[2, 3, 4] == 1
        assert restored.touched.sum() == 1
        journal.discard(leftover.id)
    assert journal.leftovers() == ()


@pytest.mark.slow
def test_two_processes_at_once_do_not_disturb_one_another(
    make_journal: Make, open_case: Open, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.nii.gz"
    other.write_bytes(image.read_bytes())
    journal = make_journal()
    mine = Annotation.empty((6, 7, 9))
    open_case(journal, image, mine)
    with another_window(tmp_path / "journal", other) as process:
        mine.values[1] = 1
        assert journal.flush()
        assert journal.leftovers() == ()
        assert process.stdin is not None
        process.stdin.write("close\n")
        process.stdin.flush()
        assert process.wait(60) == 0
        (leftover,) = journal.leftovers()
        assert leftover.closed
    mine.values[2] = 1
    assert journal.flush()
    journal.close()
    found = make_journal().leftovers()
    assert len(found) == 2


def test_a_living_window_is_no_leftover(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal, other = make_journal(), make_journal()
    open_case(journal, image, annotation)
    annotation.values[:] = 1
    journal.flush()
    assert other.leftovers() == journal.leftovers() == ()
    book = journal._keeper.books["case"]
    id = f"{book.folder.parent.name}-{book.folder.name}"
    with pytest.raises(UserError, match="open"):
        other.discard(id)
    with pytest.raises(UserError, match="no longer"):
        other.restore(id)
    assert book.folder.exists()


def test_an_image_is_in_use_until_each_case_of_it_is_closed(
    make_journal: Make, open_case: Open, image: Path, tmp_path: Path
) -> None:
    def empty() -> Annotation:
        return Annotation.empty((6, 7, 9))

    journal, other = make_journal(), make_journal()
    open_case(journal, image, empty(), "first")
    open_case(journal, image, empty(), "second")
    link = tmp_path / "link.nii.gz"
    link.symlink_to(image)
    for closed in ("first", "second"):
        with pytest.raises(InUse, match=r"close it there"):
            open_case(other, link, empty())
        journal.forget(closed)
    open_case(other, link, empty())
    with pytest.raises(ValueError, match="is open"):
        open_case(other, image, empty())


def test_what_is_in_use_is_not_kept(
    make_journal: Make, open_case: Open, image: Path, annotation: Annotation
) -> None:
    journal, other = make_journal(), make_journal()
    open_case(journal, image, Annotation.empty((6, 7, 9)))
    with pytest.raises(InUse):
        open_case(other, image, annotation)
    annotation.values[:] = 1
    other.note("case")
    assert not other.flush("case")
    other.close()
    assert make_journal().leftovers() == ()


def test_half_removed_and_foreign_folders_are_no_leftovers(
    make_journal: Make, tmp_path: Path
) -> None:
    windows = tmp_path / "journal" / "windows"
    (windows / ("a" * 32) / ("." + "b" * 12)).mkdir(parents=True)
    (windows / ("a" * 32) / ("c" * 12)).mkdir()
    (windows / "notes.txt").write_text("mine")
    assert make_journal().leftovers() == ()
    assert [path.name for path in windows.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_strokes_lost_to_a_kill() -> None:
    script = [str(HERE / "kill_painting.py"), "--times", "3", "--longest", "2.5"]
    run = subprocess.run(
        [sys.executable, *script, "--shape", "40", "64", "64"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 kills" in run.stdout
    assert np.char.count(run.stdout, "killed after") == 3
