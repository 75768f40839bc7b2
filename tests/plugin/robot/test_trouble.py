"""What goes wrong goes wrong in words, and nothing is lost by it."""

from __future__ import annotations

import gzip
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from diffseg.project.annotation import Annotation
from diffseg.project.journal import Journal
from diffseg.volume import Volume

pytestmark = [pytest.mark.gui, pytest.mark.slow]


def bad_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files that cannot be opened, and a word that the notice must hold."""
    yield folder / "nowhere.nii.gz", "no such file"
    empty = folder / "empty.nii.gz"
    empty.touch()
    yield empty, "empty"
    words = folder / "words.nii"
    words.write_text("not an image")
    yield words, "not an image"
    noise = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    image = nib.Nifti1Image(noise, np.eye(4))
    whole = image.to_bytes()
    broken = folder / "broken.nii.gz"
    broken.write_bytes(gzip.compress(whole)[:900])
    yield broken, "broken.nii.gz"
    flat = np.diag([1.0, 0.0, 1.0, 1.0])
    singular = folder / "singular.nii"
    header = image.header.copy()
    header.set_sform(flat, 1)
    header.set_qform(None, 0)
    nib.Nifti1Image(np.ones((9, 8, 7), np.float32), None, header).to_filename(singular)
    yield singular, "spacing"
    nothing = folder / "folder"
    nothing.mkdir()
    yield nothing, "folder"
    complex_ = folder / "complex.nii"
    nib.Nifti1Image(np.ones((4, 4, 4), np.complex64), np.eye(4)).to_filename(complex_)
    yield complex_, "real"
    other = folder / "other.nii"
    nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)).to_filename(other)
    yield Path(f"{other};{folder / 'nowhere.nii'}"), "no such file"


def test_bad_images_are_told_with_the_remedy(robot: Any, tmp_path: Path) -> None:
    from qtpy.QtCore import Qt

    folder = tmp_path / "bad"
    folder.mkdir()
    for path, word in bad_files(folder):
        before = robot.notice()
        robot.type("diffseg.case.path", str(path))
        robot.qtbot.keyClick(robot.find("diffseg.case.path"), Qt.Key.Key_Return)
        robot.wait(lambda b=before: robot.notice() != b, f"{path.name} is told of")
        assert word in robot.notice()
        assert "\n" not in robot.notice()
        assert not robot.session.cases
        assert not len(robot.viewer.layers)


def test_a_mask_of_another_image_is_refused(
    robot: Any, crop: Path, tmp_path: Path
) -> None:
    case = robot.open(crop)
    other = tmp_path / "other.nii.gz"
    nib.Nifti1Image(np.ones((5, 6, 7), np.uint8), np.eye(4)).to_filename(other)
    robot.window.dock.case.mask_requested.emit(str(other))
    robot.wait(lambda: "grid" in robot.notice(), "the mask is refused")
    assert not case.annotation.values.any()


def test_an_image_without_geometry_is_asked_for_it(robot: Any) -> None:
    array = np.random.default_rng(0).normal(size=(6, 20, 30)).astype(np.float32)
    robot.viewer.add_image(array, name="elsewhere")
    robot.wait(lambda: robot.session.current is not None, "it became a case")
    case = robot.session.current
    assert not case.volume.grid.has_spacing
    assert robot.find("diffseg.case.spacing").isVisibleTo(robot.window.dock)
    for axis, value in (("plane", 3.0), ("row", 1.5), ("column", 0.5)):
        robot.find(f"diffseg.case.spacing.{axis}").setValue(value)
    robot.click("diffseg.case.spacing.apply")
    case = robot.session.current
    robot.wait(lambda: case.volume.grid.has_spacing, "it has a spacing")
    assert case.volume.grid.spacing_zyx == (3.0, 1.5, 0.5)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handled)


def test_a_full_disk_leaves_no_half_a_mask(
    robot: Any, crop: Path, tmp_path: Path
) -> None:
    case = robot.open_and_draw(crop)
    folder = tmp_path / "full"
    folder.mkdir()
    robot.type("diffseg.export.path", str(folder / "mask.nii.gz"))
    before = robot.notice()
    with small_files(64):
        robot.click("diffseg.export.run")
        robot.wait(lambda: robot.notice() != before, "the full disk is told of")
    assert list(folder.iterdir()) == []
    assert case.annotation.touched.any()
    robot.click("diffseg.export.run")
    robot.wait((folder / "mask.nii.gz").exists, "it is written once there is space")


def test_two_windows_on_one_file(robot: Any, crop: Path, tmp_path: Path) -> None:
    volume = Volume.read(crop)
    other = Journal(tmp_path / "journal")
    try:
        from napari_diffseg.session import UNNAMED

        other.open(
            "elsewhere",
            name="brain",
            volume=volume,
            annotation=Annotation.empty(volume.shape),
            table=UNNAMED,
            labels={},
        )
        case = robot.open(crop)
        assert case.locked
        assert not robot.find("diffseg.correct.paint").isEnabled()
        robot.drag((0.4, 0.45), (0.6, 0.55))
        assert not case.annotation.values.any()
    finally:
        other.close()


def test_a_question_that_no_test_answers_is_closed_and_told(robot: Any) -> None:
    robot.unforeseen.patience = 500
    answer = robot.window.dock.propose.ask_replace(3)
    assert answer is None  # as if given up
    assert robot.unforeseen.questions == ["diffseg.propose.ask_replace"]
    robot.unforeseen.questions.clear()
