"""Make the pictures of masks from words: a text, a proposal, an example left out.

``QT_API=pyside6 .venv/bin/python docs/make_text_pictures.py CLIP DIFFUSION OUT`` takes
the names or folders of a small pair (docs/small-pair.md), puts a model together with
examples of some images below ``DIFFSEG_DATA``, drives a real window as
`make_weak_pictures.py` does, and writes ``OUT/text-*.png``. They show images of PH2,
which are for research and education only: they are for your eyes, and no part of the
repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import photographer
from photographer import Photographer, photographed, scratch_folder, widen_planes

from diffseg.volume import read_mask

DATA = Path(os.environ.get("DIFFSEG_DATA", ""))
EXAMPLES = ("IMD015", "IMD016", "IMD019", "IMD022", "IMD025", "IMD027")
IMAGE = "IMD036"
MEMBERS = 4
WORDS = """\
templates: ["a dermoscopy image of {}", "a photograph of skin showing {}"]
classes:
  lesion: [lesion, mole]
  vessels: [blood vessels, thin vessels]
background: [healthy skin, empty skin, retina]
"""
ID = "words"


def walk(one: Photographer, folder: Path) -> None:
    """Say a word, propose, look at examples, leave one out, propose again, export."""
    one.wait(lambda: one.session.machine, "the engine works")
    widen_planes(one.window.dock)
    one.window.dock.propose.ask_replace = lambda touched, word: True
    one.open(folder / f"{IMAGE}.png")
    one.choose("diffseg.model.choice", f"{ID}@1.0")
    case = one.session.current
    one.wait(lambda: one.find("diffseg.propose.plan").text(), "an estimate is told")
    one.show_panel("diffseg.labels")
    one.take("text-empty")
    say(one, "mole, blood ves", "what is typed is kept")
    offered = one.find("diffseg.labels.prompt")._popup
    offered.grab().save(str(photographer.PICTURES / "text-offered.png"))
    one.take("text-typed")
    say(one, "lesion, yacht", "what is wrong is told")
    one.wait(
        lambda: one.find("diffseg.labels.prompt_said").property("banner") == "warning",
        "what is wrong is told",
    )
    one.take("text-wrong")
    say(one, "lesion=zebra", "words of one's own are kept")
    said = one.find("diffseg.labels.prompt_said")
    one.wait(lambda: "vocabulary" in said.text(), "the model tells of the word")
    one.live()
    one.take("text-unknown")
    say(one, "mole", "one word is told")
    one.click("diffseg.labels.presence.absent.2")
    one.live()
    first = propose(one, case)
    one.show_panel("diffseg.labels")
    one.take("text-proposed")
    one.click("diffseg.result.view.uncertainty")
    one.live()
    one.take("text-uncertainty")
    one.click("diffseg.result.view.mask")
    leave_out(one)
    second = propose(one, case)
    assert one.session.model_name == f"{ID}@1.0+keys1"
    assert not np.array_equal(first.probability, second.probability)
    one.take("text-again")
    one.click("diffseg.train.fold")
    one.live()
    one.show_panel("diffseg.train")
    one.take("text-versions")
    export(one, case, folder)
    one.show_panel("diffseg.model")
    one.click("diffseg.cache.undo")
    one.wait(lambda: one.session.model_name == f"{ID}@1.0", "the first is back")


def say(one: Photographer, text: str, what: str) -> None:
    """Type words into the field, and let the window understand them."""
    one.type_in("diffseg.labels.prompt", text)
    one.wait(lambda: one.session.current.prompt == text, what)
    one.live()


def propose(one: Photographer, case: Any) -> Any:
    """A proposal by some members."""
    one.find("diffseg.propose.members").setValue(MEMBERS)
    one.wait(lambda: one.find("diffseg.propose.plan").text(), "an estimate is told")
    print(one.find("diffseg.propose.plan").text())
    before = case.proposal
    one.click("diffseg.propose.run")
    one.wait(lambda: case.proposal is not before, "the proposal is there")
    one.wait(lambda: one.session.busy is None, "nothing runs")
    one.whole()
    return case.proposal


def leave_out(one: Photographer) -> None:
    """Open the examples, choose the first lesion, and leave it out."""
    one.click("diffseg.cache.fold")
    tree = one.find("diffseg.cache.keys")
    one.wait(tree.topLevelItemCount, "the examples are there")
    one.show_panel("diffseg.model")
    one.take("text-examples")
    tree.topLevelItem(0).child(0).setSelected(True)
    one.live()
    one.take("text-chosen")
    one.click("diffseg.cache.drop")
    one.wait(lambda: one.session.model_name != f"{ID}@1.0", "it is left out")
    one.wait(tree.topLevelItemCount, "the examples are there again")
    one.live()
    one.take("text-left-out")


def export(one: Photographer, case: Any, folder: Path) -> None:
    """The mask as PNG, and that it is what is shown."""
    path = folder / "out" / "mask.png"
    path.parent.mkdir()
    one.type_in("diffseg.export.path", str(path))
    one.click("diffseg.export.run")
    one.wait(one.find("diffseg.export.done").text, "it is written")
    assert np.array_equal(read_mask(path) > 0, case.annotation.values > 0)


def main() -> None:
    """Make the model in a process of its own, as the window loads no torch; walk."""
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    *pair, out = sys.argv[1:]
    photographer.PICTURES = Path(out)
    if not (DATA / "ph2").is_dir():
        sys.exit(f"{DATA / 'ph2'} is not there: set DIFFSEG_DATA to that of the data")
    with scratch_folder() as folder:
        (folder / "words.yaml").write_text(WORDS)
        for name in (IMAGE, *EXAMPLES):
            for file in (DATA / "ph2").glob(f"{name}*.png"):
                (folder / file.name).symlink_to(file)
        images = [folder / f"{name}.png" for name in EXAMPLES]
        script = Path(__file__).with_name("text_example.py")
        subprocess.run(
            [sys.executable, script, *pair, folder / "words.yaml", *images],
            check=True,
            env={**os.environ, "DIFFSEG_HOME": str(folder / "home")},
        )
        with photographed(folder / "home") as one:
            walk(one, folder)
        assert "torch" not in sys.modules


if __name__ == "__main__":
    main()
