"""Make the pictures of the whole loop: a project, corrections, learning, and back.

``QT_API=pyside6 .venv/bin/python docs/make_loop_pictures.py`` drives a real window, as
`make_pictures.py` does, over real images below ``DIFFSEG_DATA``, and writes
``docs/pictures/loop-*.png``. The corrections of the cases that are learnt from are the
data set's own masks, loaded as a user loads one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from photographer import Photographer, photographed, scratch_folder, widen_planes

DATA = Path(os.environ.get("DIFFSEG_DATA", ""))
CASES = ("006", "020", "044", "051", "053", "091", "108")
FIRST = "hippocampus_006"
MEMBERS = 4
MINUTES = 1.0
STROKE = [(-4.0, -3.0), (-1.0, -4.0), (2.0, -4.0), (5.0, -2.0)]  # mm


def hippocampus(one: Photographer, folder: Path) -> None:
    """The loop on MRI of hippocampi."""
    one.wait(lambda: one.session.machine, "the engine works")
    widen_planes(one.window.dock)
    one.window.dock.propose.ask_replace = lambda touched, word: False
    names = [f"hippocampus_{number}" for number in CASES]
    begin(one, folder / "study", [folder / f"{name}.nii.gz" for name in names])
    case = open_case(one, FIRST)
    label(one, case)
    for name in names[1:4]:
        accept(one, name, folder / "drawn" / f"{name}.nii.gz")
    case = open_case(one, FIRST)
    one.find("diffseg.labels.list").setCurrentRow(1)
    propose(one, case)
    one.whole()
    one.show_panel("diffseg.project")
    one.take("loop-project")
    follow(one)
    correct(one, case)
    redraw(one, case)
    one.press("R")
    one.wait(lambda: case.entry.version and case.entry.state == "done", "it is done")
    for name in names[4:]:
        accept(one, name, folder / "drawn" / f"{name}.nii.gz")
    calibrate(one)
    learn(one)
    export(one)


def begin(one: Photographer, folder: Path, images: list[Path]) -> None:
    """A project of these images."""
    one.find("diffseg.project.annotator").setText("anna")
    one.find("diffseg.project.path").setText(str(folder))
    one.click("diffseg.project.create")
    one.wait(lambda: one.session.project, "the project is open")
    one.window.dock.project.add_requested.emit([str(path) for path in images])
    rows = one.find("diffseg.project.list").model()
    one.wait(lambda: rows.rowCount() == len(images), "all cases are listed")


def open_case(one: Photographer, name: str) -> Any:
    """Open a case of the list by its name."""
    project = one.window.desk.books.ledger.project
    from diffseg.project import store

    id = store.find_case(project, name).id
    one.window.dock.project.case_requested.emit(id)

    def there() -> bool:
        case = one.session.current
        return bool(case and case.entry and case.entry.origin.case == id)

    one.wait(there, f"{name} is open")
    one.live(0.3)
    return one.session.current


def label(one: Photographer, case: Any) -> None:
    """What is in the case, and in which slices it is not."""
    canvas = one.window.canvas
    one.click("diffseg.labels.presence.present.1")
    one.click("diffseg.labels.presence.present.2")
    planes, rows, columns = (n for n in case.volume.shape)
    one.find("diffseg.labels.list").setCurrentRow(0)
    one.click("diffseg.labels.range_state.absent")
    canvas.go_to(case, (planes - 4, rows // 2, columns // 2))
    one.press("S")
    canvas.go_to(case, (planes - 1, rows // 2, columns // 2))
    one.press("D")
    one.wait(lambda: case.entry.said, "the range is kept")


def propose(one: Photographer, case: Any) -> None:
    """A proposal by some members, kept in the project."""
    one.find("diffseg.propose.members").setValue(MEMBERS)
    before = case.entry.origin.proposal
    one.click("diffseg.propose.run")
    one.wait(lambda: case.entry.origin.proposal != before, "the proposal is kept")
    one.wait(lambda: one.session.busy is None, "nothing runs")
    one.live()


def accept(one: Photographer, name: str, mask: Path) -> None:
    """A case whose correction is a mask that was drawn before."""
    case = open_case(one, name)
    one.window.dock.case.mask_requested.emit(str(mask))
    one.wait(lambda: case.given is not None, "the mask is loaded")
    one.press("R")
    one.wait(lambda: case.entry.version and case.entry.state == "done", "it is done")


def follow(one: Photographer) -> None:
    """To what deserves a look most, with contours."""
    one.clear_notices()
    one.press("T")
    one.wait(lambda: "deserves" in one.window.dock.notices.text(), "we are led")
    one.click("diffseg.result.view.contours")
    one.whole()
    one.show_panel("diffseg.review")
    one.take("loop-review")
    one.click("diffseg.result.view.mask")


def correct(one: Photographer, case: Any) -> None:
    """Strokes in two slices, and what lies between them, previewed."""
    canvas = one.window.canvas
    one.clear_notices()
    one.find("diffseg.labels.new").setText("cyst")
    one.click("diffseg.labels.add")
    z, y, x = canvas.voxel_at_hand(case)
    one.find("diffseg.correct.brush").setValue(2.0)
    for plane in (z - 4, z):
        canvas.go_to(case, (plane, y, x))
        one.whole()
        one.click("diffseg.correct.paint")
        one.drag([(dx, dy - 6) for dx, dy in STROKE])
    canvas.go_to(case, (z - 2, y, x))
    one.whole()
    one.click("diffseg.correct.interpolate")
    one.click("diffseg.correct.tool_over")
    one.click("diffseg.correct.preview")
    said = one.find("diffseg.correct.tool_said")
    one.wait(lambda: "ould add" in said.text(), "the preview is there")
    one.show_panel("diffseg.correct")
    one.live()
    one.take("loop-correct")
    one.click("diffseg.correct.drop")
    one.click("diffseg.correct.undo")
    one.click("diffseg.correct.undo")
    one.click("diffseg.correct.tool_over")
    one.click("diffseg.correct.interpolate")


def redraw(one: Photographer, case: Any) -> None:
    """A stroke of the eraser, and the rest drawn anew around it."""
    one.find("diffseg.labels.list").setCurrentRow(1)
    one.press("N")
    one.whole()
    one.click("diffseg.correct.erase")
    x, y = one.edge_of(case, 2)
    one.drag([(x - 2.0, y - 2.0), (x, y), (x - 2.0, y + 2.0)])
    one.clear_notices()
    one.click("diffseg.correct.resample_keep.strokes")
    one.click("diffseg.correct.resample")
    one.wait(lambda: one.session.busy is not None, "the engine works")
    one.wait(lambda: one.session.busy is None, "it is drawn anew")
    one.live()
    one.show_panel("diffseg.correct.resample_part")
    one.take("loop-resample")


def calibrate(one: Photographer) -> None:
    """From the cases that are done; told, and no picture: few cases change little."""
    one.clear_notices()
    one.click("diffseg.calibration.fold")
    one.wait(one.find("diffseg.calibration.run").isEnabled, "it can calibrate")
    one.click("diffseg.calibration.run")
    notices = one.window.dock.notices
    one.wait(lambda: "calibrated" in notices.text(), "it is calibrated, or is not")
    print(notices.text())
    one.click("diffseg.calibration.fold")


def learn(one: Photographer) -> None:
    """The live curve, the gate's verdict, a held-out case, and the way back."""
    train = one.window.desk.learning.train
    one.clear_notices()
    one.click("diffseg.train.fold")
    one.find("diffseg.train.minutes").setValue(MINUTES)
    one.click("diffseg.train.run")
    message = one.find("diffseg.train.message")
    curve = one.find("diffseg.train.progress")
    one.wait(
        lambda: "loss" in message.text() and curve.value() > 600, "the curve is drawn"
    )
    one.crop("loop-learning", "diffseg.train")
    one.wait(lambda: not train.running, "it has learnt")
    one.live(1.5)
    one.crop("loop-verdict", "diffseg.train")
    one.click("diffseg.train.side.after")
    one.live(2.0)
    one.whole()
    one.show_panel("diffseg.train.ended")
    one.take("loop-compare")
    one.click("diffseg.train.side.off")
    if one.find("diffseg.train.rollback").isEnabled():
        one.click("diffseg.train.rollback")
        one.live(1.5)


def export(one: Photographer) -> None:
    """All cases as a data set of nnU-Net."""
    one.clear_notices()
    one.choose("diffseg.export.project_format", "nnunet")
    one.click("diffseg.export.project_run")
    one.wait(one.find("diffseg.export.project_done").text, "it is written")
    one.live()
    one.crop("loop-export", "diffseg.export")


def series(one: Photographer, folder: Path) -> None:
    """A DICOM series in a project: drawn by hand, exported as DICOM-SEG."""
    one.click("diffseg.project.close")
    one.wait(lambda: one.session.project is None, "the project is closed")
    begin(one, folder / "tumours", [folder / "mr_t1post_oblique"])
    case = open_case(one, "mr_t1post_oblique")
    canvas = one.window.canvas
    one.find("diffseg.labels.new").setText("tumour")
    one.click("diffseg.labels.add")
    one.find("diffseg.correct.brush").setValue(6.0)
    z, y, x = (n // 2 for n in case.volume.shape)
    for plane in (z - 3, z + 3):
        canvas.go_to(case, (plane, y, x))
        one.click("diffseg.correct.paint")
        one.drag([(-8.0, 0.0), (0.0, -4.0), (8.0, 0.0)])
    one.click("diffseg.correct.interpolate")
    one.click("diffseg.correct.apply")
    one.live()
    one.clear_notices()
    one.choose("diffseg.export.format", "DICOM-SEG (.dcm)")
    one.click("diffseg.export.run")
    one.wait(one.find("diffseg.export.done").text, "it is written")
    canvas.go_to(case, (z, y, x))
    one.live()
    one.show_panel("diffseg.export")
    one.take("loop-dicom")


@contextmanager
def images() -> Iterator[Path]:
    """Copies of the images in a folder of a short name, as the window shows it."""
    source = DATA / "hippocampus"
    with scratch_folder() as folder:
        (folder / "drawn").mkdir()
        for number in CASES:
            name = f"hippocampus_{number}.nii.gz"
            shutil.copyfile(source / "images" / name, folder / name)
            shutil.copyfile(source / "labels" / name, folder / "drawn" / name)
        shutil.copytree(
            DATA / "dicom" / "mr_t1post_oblique", folder / "mr_t1post_oblique"
        )
        yield folder


def main() -> int:
    """Make all pictures of the loop."""
    if not (DATA / "hippocampus").is_dir():
        print("set DIFFSEG_DATA to the folder of the real data")
        return 2
    with images() as folder, photographed(folder / "home") as one:
        hippocampus(one, folder)
        series(one, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
