"""House rules that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    ROOT / "src" / "diffseg",
    ROOT / "training" / "diffseg_training",
    ROOT / "resources" / "diffseg_resources",
    ROOT / "napari_diffseg",
)
SOURCES = sorted(file for package in PACKAGES for file in package.rglob("*.py"))
RESOURCES = ROOT / "resources" / "diffseg_resources"
RECIPES = sorted(RESOURCES.glob("recipes/*.yaml"))
CARDS = sorted(RESOURCES.glob("models/*/card.json"))

LONGEST_FILE = 300
LONGEST_FUNCTION = 60
LARGEST_WEIGHTS = 16 * 2**20

Function = ast.FunctionDef | ast.AsyncFunctionDef


def where(file: Path, node: ast.AST | None = None) -> str:
    """A place as an editor opens it."""
    line = f":{node.lineno}" if isinstance(node, Function | ast.ClassDef) else ""
    return f"{file.relative_to(ROOT)}{line}"


def definitions(
    body: list[ast.stmt], private: bool = False
) -> Iterator[tuple[Function | ast.ClassDef, bool]]:
    """Functions, classes and methods of a body, and whether they are public."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            hidden = private or node.name.startswith("_")
            yield node, not hidden
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, hidden)


def is_another_face(node: Function | ast.ClassDef) -> bool:
    """Overloads, setters and overrides are told about at the first face."""
    names = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
    return bool(names & {"overload", "setter", "override"})


def test_the_packages_hold_source() -> None:
    assert {file.relative_to(ROOT).parts[0] for file in SOURCES} == {
        "src",
        "training",
        "resources",
        "napari_diffseg",
    }


def test_no_file_wants_a_second_noun() -> None:
    lengths = {where(file): len(file.read_text().splitlines()) for file in SOURCES}
    long = {name: n for name, n in lengths.items() if n > LONGEST_FILE}
    assert not long, f"over {LONGEST_FILE} lines: {long}"


def test_no_function_wants_a_second_noun() -> None:
    long = {}
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, Function) and node.end_lineno is not None:
                # A command's signature is as long as its options are many.
                length = node.end_lineno - node.body[0].lineno + 1
                if length > LONGEST_FUNCTION:
                    long[f"{where(file, node)} {node.name}"] = length
    assert not long, f"over {LONGEST_FUNCTION} lines: {long}"


def test_public_names_say_what_they_are() -> None:
    silent = [
        f"{where(file, node)} {node.name}"
        for file in SOURCES
        for node, public in definitions(ast.parse(file.read_text()).body)
        if public and not is_another_face(node) and not ast.get_docstring(node)
    ]
    assert not silent, f"without a docstring: {silent}"


def test_every_module_says_what_it_is() -> None:
    silent = [f for f in SOURCES if not ast.get_docstring(ast.parse(f.read_text()))]
    assert not silent, f"without a docstring: {[where(f) for f in silent]}"


def test_no_private_path_is_told() -> None:
    # Written in two parts, so that this file does not tell them either.
    words = ["/wo" + "rk/", ".lib" + "rary/"]
    told = []
    for file in files_of_the_checkout():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        told += [f"{where(file)}: {word}" for word in words if word in text]
    assert not told


def files_of_the_checkout() -> list[Path]:
    """What git tracks here or would, were it added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip(f"not a git checkout: {ROOT}")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert Path(__file__) in files
    return [file for file in files if file.is_file()]


def test_something_ships() -> None:
    assert RECIPES
    assert CARDS


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipe_is_valid(file: Path) -> None:
    from diffseg_training.recipe import load_recipe

    assert load_recipe(str(file)).name == file.stem


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.parent.name)
def test_card_is_valid_and_its_weights_are_its_own(file: Path) -> None:
    from diffseg.domain import ModelCard

    card = ModelCard.model_validate_json(file.read_text(encoding="utf-8"))
    assert card.id == file.parent.name
    weights = (file.parent / card.weights).read_bytes()
    assert hashlib.sha256(weights).hexdigest() == card.sha256
    assert len(weights) <= LARGEST_WEIGHTS
    if card.recipe is not None:
        assert card.recipe in {recipe.stem for recipe in RECIPES}
