"""Make every picture of the window that the README and the tutorial show.

``QT_API=pyside6 .venv/bin/python docs/make_pictures.py`` drives a real window by its
handles and mouse, on a virtual screen where there is no display, and writes
``docs/pictures/*.png``. Seed, image and steps are fixed; clock times and estimates in
the pictures are those of the run. The loop's pictures are of `make_loop_pictures.py`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from photographer import Photographer, photographed, scratch_folder, widen_planes

from diffseg.volume.template import mni152_path

ZOOM = 5.4  # pixels a millimetre: both hippocampi fill the canvas
NEAR, SHIFT = 9.5, (9.0, -14.0)  # the whole length of one, from its doubtful end
HALF_WAY = 0.4
STROKE = [(0.5, 0.5), (1.0, -0.5), (2.0, -2.0), (3.0, -3.4), (3.6, -4.2)]  # mm
BETWEEN = (58, 114, 98)  # plane, row, column of the template: between the hippocampi


def tour(one: Photographer, image: Path) -> None:
    """Go through the window as the tutorial does, and take its pictures."""
    one.wait(lambda: one.session.machine, "the engine works")
    widen_planes(one.window.dock)
    one.live()
    one.take("empty")
    one.open(image)
    one.live()
    one.take("opened")
    one.crop("labels", "diffseg.labels", "diffseg.model")
    propose(one)
    result(one)
    correct(one)
    export(one)


def propose(one: Photographer) -> None:
    """A proposal under way, and its end."""
    one.window.canvas.go_to(one.session.current, BETWEEN)
    one.look(ZOOM)
    one.show_panel("diffseg.propose")
    one.click("diffseg.propose.run")
    one.wait(lambda: _fraction(one) >= HALF_WAY, "slices appear")
    one.take("proposing")
    one.wait(lambda: one.session.busy is None, "the proposal is there")
    one.clear_notices()


def result(one: Photographer) -> None:
    """Contours and the uncertainty at the first place that deserves a look."""
    one.click("diffseg.review.next")
    one.click("diffseg.result.view.contours")
    one.click("diffseg.case.plane.sagittal")
    one.look(NEAR, *SHIFT)
    one.show_panel("diffseg.result")
    one.take("window")
    one.crop("result", "diffseg.result", "diffseg.review")
    one.click("diffseg.result.view.uncertainty")
    one.live()
    one.show_panel("diffseg.result")
    one.take("uncertainty")


def correct(one: Photographer) -> None:
    """A stroke of the brush where the members disagree."""
    one.click("diffseg.result.view.mask")
    one.find("diffseg.labels.list").setCurrentRow(1)
    one.click("diffseg.correct.paint")
    one.show_panel("diffseg.correct")
    one.drag([(x - SHIFT[1], y - SHIFT[0]) for x, y in STROKE])
    one.take("correcting")


def export(one: Photographer) -> None:
    """The mask written."""
    one.show_panel("diffseg.export")
    one.click("diffseg.export.run")
    done = one.find("diffseg.export.done")
    one.wait(done.text, "the mask is written")
    one.live()
    one.crop("export", "diffseg.correct", "diffseg.export")


def _fraction(one: Photographer) -> float:
    busy = one.session.busy
    return (busy.fraction or 0.0) if busy is not None else 0.0


def main() -> int:
    """Make all pictures."""
    with scratch_folder() as scans:
        image = scans / "brain.nii.gz"
        shutil.copyfile(mni152_path(), image)
        with photographed(scans / "home") as one:
            tour(one, image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
