"""What loads without torch, Qt and the readers; asked of fresh interpreters."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
TORCH_LINE = CONFIG["importlinter:contract:torch-line"]
BELOW = TORCH_LINE["source_modules"].split()
HEAVY = set(TORCH_LINE["forbidden_modules"].split())
WINDOW = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide6", "superqt", "magicgui", "vispy"}
READERS = {"nibabel", "SimpleITK", "pydicom"}

# Put before a script, this makes each import of the named packages fail, as it
# would where they are not installed.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked by this test", name=name)
sys.meta_path.insert(0, Blocker())
"""

WALK = """
import importlib, pkgutil
def walk(name):
    module = importlib.import_module(name)
    path = getattr(module, "__path__", ())
    for found in pkgutil.iter_modules(path, name + "."):
        walk(found.name)
"""

LOADED = """
import json, sys
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def python(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, away from the checkout."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
    )


def loaded_by(script: str, blocked: set[str] | None = None) -> set[str]:
    """Top-level packages that an interpreter holds after a script."""
    before = BLOCKER.format(blocked=blocked) if blocked else ""
    run = python(before + script + LOADED)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_the_probe_sees_what_is_loaded() -> None:
    assert "nibabel" in loaded_by("import nibabel")


def test_the_blocker_blocks() -> None:
    run = python(BLOCKER.format(blocked={"torch"}) + "import torch.nn")
    assert run.returncode == 1
    assert "torch is blocked by this test" in run.stderr


def test_import_diffseg_is_light() -> None:
    loaded = loaded_by("import diffseg")
    assert "diffseg" in loaded
    assert not loaded & (HEAVY | WINDOW | READERS)


@pytest.mark.parametrize("floor", BELOW)
def test_floor_below_the_line_loads_where_torch_is_missing(floor: str) -> None:
    loaded = loaded_by(WALK + f"walk({floor!r})", blocked=HEAVY)
    assert not loaded & (HEAVY | WINDOW)


def test_no_floor_below_the_line_brings_torch_in() -> None:
    walks = "".join(f"walk({floor!r})\n" for floor in BELOW)
    assert not loaded_by(WALK + walks) & (HEAVY | WINDOW)


def test_the_volume_floor_loads_its_readers_on_use() -> None:
    assert not loaded_by("from diffseg import Volume") & (HEAVY | READERS)


def test_nouns_load_where_torch_is_missing() -> None:
    script = """
from diffseg.domain import ImageLabels, ModelCard, Preparation, Sampling
assert ModelCard.model_json_schema()["title"] == "ModelCard"
assert Sampling().members >= 1 and Preparation().dims == 3
assert "anterior" in ImageLabels.parse("anterior=absent")
"""
    assert not loaded_by(script, blocked=HEAVY) & HEAVY


def test_recipes_load_where_torch_is_missing() -> None:
    script = """
from diffseg_training.recipe import Recipe
assert Recipe.model_json_schema()["properties"]
"""
    assert not loaded_by(script, blocked=HEAVY) & HEAVY


def test_the_plugin_loads_where_torch_is_missing() -> None:
    walk = WALK + "walk('napari_diffseg')"
    assert not loaded_by(walk, blocked=HEAVY) & HEAVY
