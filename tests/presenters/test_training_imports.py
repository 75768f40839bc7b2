"""What the plugin takes of training is light: descriptions of jobs, no tensors."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import napari_diffseg

# What says what is asked for and told, and what watches another process.
LIGHT = {
    "diffseg_training.finetuning.job",
    "diffseg_training.finetuning.begun",
    "diffseg_training.finetuning.outlook",
    "diffseg_training.finetuning.process",
    "diffseg_training.finetuning.records",
    "diffseg_training.calibrating.job",
    "diffseg_training.calibrating.process",
    "diffseg_training.calibrating.reviewed",
    "diffseg_training.selftraining.job",
    "diffseg_training.selftraining.outlook",
    "diffseg_training.selftraining.process",
    "diffseg_training.learning",
}
BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "diffusers", "monai"):
            raise ImportError(f"{name} is blocked by this test", name=name)
sys.meta_path.insert(0, Blocker())
"""


def taken(source: str) -> set[str]:
    """Modules of training that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return {one for one in found if one.split(".")[0] == "diffseg_training"}


def test_the_scan_sees_imports_within_functions() -> None:
    source = "def f():\n    from diffseg_training.trainer import iter_train\n"
    assert taken(source) == {"diffseg_training.trainer"}


def test_the_plugin_takes_descriptions_of_jobs_alone() -> None:
    root = Path(napari_diffseg.__file__).parent
    found = {
        module
        for path in root.rglob("*.py")
        for module in taken(path.read_text(encoding="utf-8"))
    }
    assert found <= LIGHT
    assert "diffseg_training.finetuning.process" in found


def test_they_load_where_torch_is_missing() -> None:
    script = BLOCKED + "".join(f"import {one}\n" for one in sorted(LIGHT))
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
