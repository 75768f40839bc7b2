"""Make the pictures of masks from image-level labels: a stack, its range, a proposal.

``QT_API=pyside6 .venv/bin/python docs/make_weak_pictures.py OUT`` drives a real window,
as `make_pictures.py` does, over a patient's slices below ``DIFFSEG_DATA``, and writes
``OUT/weak-*.png``. The model learnt from no slice of this patient. The pictures show
TCGA-LGG, CC BY-NC-SA 4.0 (Buda et al. 2019), and are no part of the repository.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import photographer
from photographer import Photographer, photographed, scratch_folder, widen_planes

from diffseg.volume import read_mask

DATA = Path(os.environ.get("DIFFSEG_DATA", ""))
MODEL = "brain-tumour-mri-weak"
PATIENT = "TCGA_HT_7475_19970918"
MEMBERS = 4


def walk(one: Photographer, folder: Path) -> None:
    """Open a patient's slices, mark the range, propose, correct, export."""
    one.wait(lambda: one.session.machine, "the engine works")
    widen_planes(one.window.dock)
    one.window.dock.propose.ask_replace = lambda touched, word: False
    one.choose("diffseg.model.choice", f"{MODEL}@1.0.0")
    one.find("diffseg.project.annotator").setText("anna")
    one.find("diffseg.project.path").setText(str(folder / "study"))
    one.click("diffseg.project.create")
    one.wait(lambda: one.session.project, "the project is open")
    one.window.dock.project.add_requested.emit([str(folder / PATIENT)])
    rows = one.find("diffseg.project.list").model()
    one.wait(lambda: rows.rowCount() == 1, "the case is listed")
    from diffseg.project import store

    project = one.window.desk.books.ledger.project
    id = store.find_case(project, PATIENT).id
    one.window.dock.project.case_requested.emit(id)
    one.wait(lambda: one.session.current and one.session.current.entry, "it is open")
    case = one.session.current
    first, last = shown_in(folder)
    mark(one, case, first, last)
    one.show_panel("diffseg.labels")
    one.take("weak-marked")
    propose(one, case)
    planes = np.flatnonzero((case.annotation.values > 0).any(axis=(1, 2)))
    print(f"marked {first} to {last}, masks in {planes.min()} to {planes.max()}")
    assert first <= planes.min()
    assert planes.max() <= last
    middle = int(planes[len(planes) // 2])
    one.window.canvas.go_to(case, (middle, *(n // 2 for n in case.volume.shape[1:])))
    one.whole()
    one.clear_notices()
    one.show_panel("diffseg.propose")
    one.take("weak-proposed")
    one.click("diffseg.result.view.uncertainty")
    one.live()
    one.take("weak-uncertainty")
    one.click("diffseg.result.view.mask")
    correct(one, case)
    export(one, case, folder)


def shown_in(folder: Path) -> tuple[int, int]:
    """First and last slice of the stack in which an expert drew something."""
    masks = sorted((DATA / "lgg" / PATIENT).glob("*_mask.png"))
    there = [at for at, path in enumerate(masks) if read_mask(path).any()]
    return there[0], there[-1]


def mark(one: Photographer, case: Any, first: int, last: int) -> None:
    """Two keys: where it starts, and where it ends."""
    canvas, middle = one.window.canvas, tuple(n // 2 for n in case.volume.shape[1:])
    one.find("diffseg.labels.list").setCurrentRow(0)
    one.click("diffseg.labels.range_state.present")
    canvas.go_to(case, (first, *middle))
    one.press("S")
    canvas.go_to(case, (last, *middle))
    one.press("D")
    one.wait(lambda: case.entry.said, "the range is kept")
    one.live()


def propose(one: Photographer, case: Any) -> None:
    """A proposal by some members."""
    one.find("diffseg.propose.members").setValue(MEMBERS)
    one.click("diffseg.propose.scope.volume")
    before = case.entry.origin.proposal
    one.click("diffseg.propose.run")
    one.wait(lambda: case.entry.origin.proposal != before, "the proposal is kept")
    one.wait(lambda: one.session.busy is None, "nothing runs")
    one.live()


def correct(one: Photographer, case: Any) -> None:
    """A stroke of the eraser over one end of what was found."""
    one.click("diffseg.correct.erase")
    before = case.annotation.values.copy()
    one.find("diffseg.correct.brush").setValue(6.0)
    x, y = one.edge_of(case, 1)
    one.drag([(x, y - 6.0), (x, y + 6.0)])
    assert (case.annotation.values != before).any()
    one.live()
    one.show_panel("diffseg.correct")
    one.take("weak-corrected")


def export(one: Photographer, case: Any, folder: Path) -> None:
    """The mask as NIfTI, and that it lies on the slices' own grid."""
    path = folder / "out" / "mask.nii.gz"
    path.parent.mkdir()
    one.type_in("diffseg.export.path", str(path))
    one.click("diffseg.export.run")
    one.wait(one.find("diffseg.export.done").text, "it is written")
    found = np.asarray(nib.load(path).dataobj)
    assert found.shape == tuple(reversed(case.volume.shape))
    assert np.array_equal(found.T > 0, case.annotation.values > 0)


def main() -> None:
    """Copy the patient's slices, and walk."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    photographer.PICTURES = Path(sys.argv[1])
    slices = DATA / "lgg" / PATIENT
    if not slices.is_dir():
        sys.exit(f"{slices} is not there: set DIFFSEG_DATA to the folder of the data")
    with scratch_folder() as folder:
        shutil.copytree(slices, folder / PATIENT)
        with photographed(folder / "home") as one:
            walk(one, folder)


if __name__ == "__main__":
    main()
