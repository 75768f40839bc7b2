"""The import contracts of setup.cfg hold, and each reports a violation of itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = {
    "diffseg": ROOT / "src",
    "diffseg_training": ROOT / "training",
    "diffseg_resources": ROOT / "resources",
    "napari_diffseg": ROOT,
}
CONFIG = ConfigParser()
CONFIG.read(ROOT / "setup.cfg")
CONTRACTS = {
    section.rsplit(":", 1)[1]: CONFIG[section]
    for section in CONFIG.sections()
    if section.startswith("importlinter:contract:")
}
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as m;"]
LINT[-1] += "m()"
LINT.append("--no-logo")


@dataclass(frozen=True)
class Violation:
    """One deliberate fault: `module` gets a line that imports `target`."""

    contract: str
    module: str
    target: str

    def __str__(self) -> str:
        return f"{self.contract}: {self.module} imports {self.target}"


# One a sentence of the house. A contract without a line here fails a test below.
VIOLATIONS = [
    Violation("house", "diffseg.domain.planted", "diffseg_training"),
    Violation("house", "diffseg.planted", "napari_diffseg"),
    Violation("house", "diffseg_training.planted", "napari_diffseg"),
    Violation("headless", "diffseg.domain.planted", "qtpy"),
    Violation("headless", "diffseg_training.planted", "napari.layers"),
    Violation("torch-line", "diffseg.metrics.planted", "torch"),
    Violation("torch-line", "diffseg.errors", "torch"),
    Violation("torch-line", "diffseg.volume.planted", "monai.transforms"),
    Violation("no-tensors-in-gui", "napari_diffseg.planted", "torch"),
    Violation("no-tensors-in-gui", "napari_diffseg.planted", "diffseg.segmenters"),
    Violation("core-floors", "diffseg.domain.planted", "diffseg.metrics"),
    Violation("core-floors", "diffseg.errors", "diffseg.progress"),
    Violation("core-floors", "diffseg.volume.planted", "diffseg.cli"),
    Violation("core-floors", "diffseg.attic", "math"),  # a module without a floor
    Violation("presenters", "napari_diffseg.presenters.planted", "qtpy"),
    Violation("presenters", "napari_diffseg.session", "napari"),
    Violation("gui-floors", "napari_diffseg.views.planted", "napari_diffseg.widgets"),
    Violation("gui-floors", "napari_diffseg.jobs.planted", "napari_diffseg.layers"),
    Violation("gui-floors", "napari_diffseg.attic", "math"),
]


@dataclass(frozen=True)
class House:
    """A copy of the four packages' source and of the contracts, to sin against."""

    folder: Path

    def lint(self, contract: str | None = None) -> tuple[int, str]:
        """Exit status and words of lint-imports, over this copy and nothing else."""
        run = subprocess.run(
            [*LINT, *(["--contract", contract] if contract else [])],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        return run.returncode, run.stdout + run.stderr

    @contextmanager
    def planted(self, *imports: tuple[str, str]) -> Iterator[None]:
        """For a while, each (module, target) imports what it must not."""
        before: dict[Path, str | None] = {}
        try:
            for module, target in imports:
                file = self._file(module)
                text = file.read_text() if file.exists() else None
                before.setdefault(file, text)
                file.write_text(f"{text or ''}\nimport {target}\n")
            yield
        finally:
            for file, text in before.items():
                file.unlink() if text is None else file.write_text(text)

    def _file(self, module: str) -> Path:
        path = self.folder.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    for package, root in ROOTS.items():
        for file in (root / package).rglob("*.py"):
            target = folder / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    shutil.copyfile(ROOT / "setup.cfg", folder / "setup.cfg")
    return House(folder)


def names(contract: str, field: str) -> list[str]:
    """The lines of a contract's field."""
    return CONTRACTS[contract][field].split()


def test_contracts_hold(house: House) -> None:
    status, words = house.lint()
    assert status == 0, words
    for contract in CONTRACTS.values():
        assert f"{contract['name']} KEPT" in words


def test_every_contract_has_a_negative_control() -> None:
    assert {violation.contract for violation in VIOLATIONS} == set(CONTRACTS)


@pytest.mark.parametrize("violation", VIOLATIONS, ids=str)
def test_violation_is_reported(house: House, violation: Violation) -> None:
    with house.planted((violation.module, violation.target)):
        status, words = house.lint(violation.contract)
    assert status != 0, words
    assert f"{CONTRACTS[violation.contract]['name']} BROKEN" in words
    assert re.search(rf"^.*{re.escape(violation.module)}\b", words, re.MULTILINE)


@pytest.mark.parametrize(
    "contract", ["headless", "torch-line", "no-tensors-in-gui", "presenters"]
)
def test_every_forbidden_pair_is_reported(house: House, contract: str) -> None:
    sources = names(contract, "source_modules")
    forbidden = names(contract, "forbidden_modules")
    with house.planted(*product(sources, forbidden)):
        status, words = house.lint(contract)
    assert status != 0
    for source, target in product(sources, forbidden):
        assert f"{source} is not allowed to import {target}" in words


def test_every_floor_is_reported_for_looking_up(house: House) -> None:
    floors = [line.split(" | ")[0] for line in floor_lines()]
    upward = [(f"diffseg.{low}", f"diffseg.{high}") for high, low in pairwise(floors)]
    with house.planted(*upward):
        status, words = house.lint("core-floors")
    assert status != 0
    for low, high in upward:
        assert f"{low} is not allowed to import {high}" in words


def test_every_floor_has_its_place() -> None:
    floors = {name for line in floor_lines() for name in line.split(" | ")}
    package = ROOTS["diffseg"] / "diffseg"
    modules = {file.stem for file in package.glob("*.py")} - {"__init__"}
    modules |= {file.parent.name for file in package.glob("*/__init__.py")}
    assert modules == floors


def test_the_torch_line_runs_between_diffusion_and_ensemble() -> None:
    order = [name for line in floor_lines() for name in line.split(" | ")]
    below = order[order.index("ensemble") :]
    guarded = {name.split(".")[1] for name in names("torch-line", "source_modules")}
    assert guarded == set(below)


def floor_lines() -> list[str]:
    return CONTRACTS["core-floors"]["layers"].strip().splitlines()
