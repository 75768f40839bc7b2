"""One wheel holds the four packages, and works away from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "diffseg": ROOT / "src",
    "diffseg_training": ROOT / "training",
    "diffseg_resources": ROOT / "resources",
    "napari_diffseg": ROOT,
}
ROOTS = ("src", "training", "resources", "napari_diffseg", "tests")
FILES = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE")
SHIPPED_DATA = (
    "recipes/*.yaml",
    "recipes/base/*.yaml",
    "models/*/*.json",
    "models/*/*.safetensors",
    "parts/*/*.json",
    "parts/*/*.safetensors",
)


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """Run the tests' interpreter elsewhere, with `path` before the checkout."""
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves its scaffolding behind."""
    copy = tmp_path_factory.mktemp("checkout")
    rubbish = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ROOTS:
        shutil.copytree(ROOT / name, copy / name, ignore=rubbish)
    for name in FILES:
        shutil.copyfile(ROOT / name, copy / name)
    # What a test run leaves behind must not ship either.
    for package, root in PACKAGES.items():
        stale = copy / root.relative_to(ROOT) / package / "__pycache__"
        stale.mkdir()
        (stale / "stale.cpython-311.pyc").write_bytes(b"stale")
    out = tmp_path_factory.mktemp("dist")
    python(
        *("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)),
        cwd=copy,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """Paths of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The wheel's own account of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder the wheel is installed into, over the test environment's packages."""
    target = tmp_path_factory.mktemp("site")
    python(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
        *("--no-compile", "--target", str(target), str(wheel)),
        cwd=target,
    )
    return target


def test_wheel_holds_the_four_packages_and_nothing_else(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops - {info} == set(PACKAGES)


def test_wheel_holds_every_module(names: set[str]) -> None:
    modules = {
        file.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for file in (root / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == modules


def test_wheel_holds_the_data(names: set[str]) -> None:
    resources = PACKAGES["diffseg_resources"]
    for pattern in SHIPPED_DATA:
        files = [*(resources / "diffseg_resources").glob(pattern)]
        assert files, f"nothing ships as {pattern}"
        for file in files:
            assert file.relative_to(resources).as_posix() in names
    for package in ("diffseg", "diffseg_training", "napari_diffseg"):
        assert f"{package}/py.typed" in names
    assert "napari_diffseg/napari.yaml" in names


def test_napari_finds_the_plugin_in_the_installed_wheel(
    site: Path, tmp_path: Path
) -> None:
    script = """
from npe2 import PluginManifest
manifest = PluginManifest.from_distribution("napari-diffseg")
manifest.validate_imports()
print(len(manifest.contributions.commands))
"""
    assert int(python("-W", "ignore", "-c", script, cwd=tmp_path, path=site)) > 5


def test_wheel_holds_no_scaffolding(names: set[str]) -> None:
    parts = {part for name in names for part in name.split("/")}
    assert not parts & {"__pycache__", "tests", "conftest.py", "setup.cfg"}
    assert not [name for name in names if name.endswith((".pyc", ".bak", ".log"))]
    assert [name for name in names if name.endswith("licenses/LICENSE")]


def test_base_installation_has_no_window(metadata: Message) -> None:
    base = [
        line.split(";")[0].lower()
        for line in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in line
    ]
    assert [line for line in base if line.startswith("torch")]
    assert not [
        line
        for line in base
        if line.startswith(("napari", "pyside", "pyqt", "qtpy", "superqt", "magicgui"))
    ]


def test_installed_wheel_is_what_is_imported(site: Path, tmp_path: Path) -> None:
    script = """
import importlib, json, sys
names = sys.argv[1:]
print(json.dumps([importlib.import_module(name).__file__ for name in names]))
"""
    files = json.loads(python("-c", script, *PACKAGES, cwd=tmp_path, path=site))
    assert files == [str(site / name / "__init__.py") for name in PACKAGES]


def test_entry_points_resolve_in_the_installed_wheel(
    site: Path, tmp_path: Path
) -> None:
    script = """
import json, sys
from importlib.metadata import entry_points
groups = (
    "diffseg.commands", "diffseg.segmenters", "diffseg.windows", "diffseg.benchmarks"
)
found = [point for group in groups for point in entry_points(group=group)]
print(json.dumps({
    f"{point.group}:{point.name}": sys.modules[point.module].__file__
    for point in found
    if point.load()
}))
"""
    files = json.loads(python("-c", script, cwd=tmp_path, path=site).splitlines()[-1])
    assert "diffseg.commands:propose" in files
    assert "diffseg.commands:train" in files
    assert "diffseg.commands:gui" in files
    assert "diffseg.segmenters:ensemdiff" in files
    assert "diffseg.windows:napari" in files
    assert "diffseg.benchmarks:window" in files
    for name, file in files.items():
        assert Path(file).is_relative_to(site), f"{name} comes from {file}"


def test_installed_command_lists_its_subcommands(site: Path, tmp_path: Path) -> None:
    words = python(str(site / "bin" / "diffseg"), "--help", cwd=tmp_path, path=site)
    for command in ("demo", "doctor", "gui", "info", "propose", "train", "evaluate"):
        assert command in words
    assert "Cannot be loaded" not in words
