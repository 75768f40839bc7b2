"""A model of every method is a choice in the window, and proposes in a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.gui, pytest.mark.slow]

TOYS = Path(__file__).parents[1] / "engine" / "toy_models.py"

SCRIPT = """
import sys
import napari
from napari_diffseg.plugin.window import assemble, dock_into
from qtpy.QtCore import QObject, Qt
from qtpy.QtTest import QTest
viewer = napari.Viewer()
window = assemble(viewer)
dock_into(viewer, window)
session = window.desk.session
def find(handle):
    return window.dock.findChild(QObject, handle)
def wait(condition):
    for _ in range(12000):
        if condition():
            return
        QTest.qWait(20)
    sys.exit("gave up waiting: " + window.dock.notices.text())
def press(handle):
    wait(lambda: find(handle).isEnabled())
    QTest.mouseClick(find(handle), Qt.MouseButton.LeftButton)
choice = find("diffseg.model.choice")
wait(lambda: choice.count() > 4)
def choose(name):
    names = [choice.itemData(i) for i in range(choice.count())]
    index = names.index(name)
    choice.setCurrentIndex(index)
    choice.activated.emit(index)
    wait(lambda: session.model_name == name)
print("listed", *(choice.itemText(i) for i in range(choice.count())), sep="|")
find("diffseg.case.path").setText("picture.png")
QTest.keyClick(find("diffseg.case.path"), Qt.Key.Key_Return)
wait(lambda: session.current is not None)
case = session.current
print("colour", viewer.layers["picture"].rgb)
for method in sys.argv[1:]:
    choose(f"toy-{method}@1")
    said, earlier = [], case.proposal
    session.busy_changed.connect(lambda busy: said.append(busy and busy.message or ""))
    press("diffseg.propose.run")
    wait(lambda: case.proposal is not earlier and session.busy is None)
    model = case.proposal.provenance.model["id"]
    steps = any("step 2 of 3, members 1 to 2 of 2" in words for words in said)
    shown = any("uncertainty" in layer.name for layer in viewer.layers)
    print(model, case.proposal.mask.shape, steps, shown, sep="|")
choose("toy-segdiff@1")
find("diffseg.propose.steps").setValue(21)
print("many", find("diffseg.propose.run").isEnabled(),
      find("diffseg.propose.why_not").text(), sep="|")
print("torch", "torch" in sys.modules)
window.close()
viewer.close()
"""


def test_every_method_is_a_choice_and_proposes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = subprocess.run(
        [sys.executable, TOYS, home / "models"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert made.returncode == 0, made.stderr
    colours = np.random.default_rng(1).integers(0, 255, (20, 28, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "picture.png")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "medsegdiff", "latent"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "DIFFSEG_HOME": str(home)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    listed, *lines = done.stdout.splitlines()
    toys = {title for title in listed.split("|") if title.startswith("Toy of ")}
    methods = ("ensemdiff", "segdiff", "medsegdiff", "latent", "feedforward")
    assert toys == {f"Toy of {method}" for method in methods}
    assert lines == [
        "colour True",
        "toy-medsegdiff|(1, 20, 28)|True|True",
        "toy-latent|(1, 20, 28)|True|True",
        "many|False|Model toy-segdiff has 20 noise levels: take 1 to 20 steps, not 21",
        "torch False",
    ]
