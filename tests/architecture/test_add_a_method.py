"""A stranger follows docs/add-a-method.md, word by word, away from the checkout.

A line ``File: `path` `` stands above what is laid there; lines of ``console`` blocks
that begin with ``$`` are given, in order. Nothing here names a method: what the page
calls its own is read from the page.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imread

from diffseg.metrics import dice

PAGE = Path(__file__).parents[2] / "docs" / "add-a-method.md"
FILE = re.compile(
    r"^File: `(?P<path>[^`]+)`\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# All in one interpreter: torch is imported once.
FOLLOW = """
import json, runpy, sys
from diffseg.cli import main
for program, *words in json.loads(sys.argv[1]):
    if program == "python":
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
    elif status := main(words):
        sys.exit(f"status {status} of: diffseg {' '.join(words)}")
"""


@dataclass(frozen=True)
class Page:
    """What the page lays down and what it tells the reader to type."""

    files: dict[str, str]
    commands: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, text: str) -> Page:
        files = {found["path"]: found["text"] for found in FILE.finditer(text)}
        assert len(files) == len(re.findall("^File: ", text, re.MULTILINE))
        lines = "".join(CONSOLE.findall(text)).splitlines()
        told = [shlex.split(line[2:]) for line in lines if line.startswith("$ ")]
        return cls(files, tuple(map(tuple, told)))

    def command(self, *beginning: str) -> tuple[str, ...]:
        (found,) = (c for c in self.commands if c[: len(beginning)] == beginning)
        return found


def lay_out(page: Page, folder: Path) -> None:
    for name, text in page.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def install(folder: Path, site: Path) -> None:
    """What ``pip install`` makes of the pyproject.toml, without its build tools."""
    content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    for package in content["tool"]["setuptools"]["packages"]:
        shutil.copytree(folder / package, site / package)
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\n"
        f"Version: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {at}" for name, at in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def follow(page: Page, folder: Path) -> str:
    """Give the page's commands in `folder`, and ask for the proposal twice more."""
    lay_out(page, folder)
    first, *commands = page.commands
    assert first[:2] == ("pip", "install")
    assert {command[0] for command in commands} == {"python", "diffseg"}
    propose = page.command("diffseg", "propose")
    at = propose.index("--out") + 1
    for out, seed in (("again", "0"), ("other", "1")):
        more = (*propose[:at], out, *propose[at + 1 :], "--seed", seed)
        commands.append(more)
    site = folder.parent / "site"
    install(folder, site)
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    run = subprocess.run(
        [sys.executable, "-P", "-c", FOLLOW, json.dumps(commands)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "DIFFSEG_HOME": str(folder.parent / "home"),
            "DIFFSEG_DEVICE": "cpu",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def page() -> Page:
    return Page.of(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def followed(page: Page, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The reader's folder after the last command, and what was said."""
    folder = tmp_path_factory.mktemp("stranger") / "mine"
    folder.mkdir()
    return folder, follow(page, folder)


def option(command: tuple[str, ...], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.slow
def test_the_mask_overlaps_what_is_there(
    page: Page, followed: tuple[Path, str]
) -> None:
    folder, _ = followed
    propose = page.command("diffseg", "propose")
    image = folder / propose[2]
    reference = imread(image.with_name(f"{image.stem}_mask.png")) > 0
    (file,) = (folder / option(propose, "--out")).glob("*_mask.png")
    mask = imread(file) > 0
    assert 0 < reference.mean() < 0.2
    # Everything as foreground would have a Dice of 0.33 at most.
    assert dice(mask[None], reference[None]) > 0.75


@pytest.mark.slow
def test_the_seed_decides(page: Page, followed: tuple[Path, str]) -> None:
    folder, _ = followed
    outs = (option(page.command("diffseg", "propose"), "--out"), "again", "other")
    first, again, other = (
        imread(next((folder / out).glob("*_probability_*.png"))) for out in outs
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.slow
def test_the_method_is_one_among_the_others(
    page: Page, followed: tuple[Path, str]
) -> None:
    folder, said = followed
    out = option(page.command("diffseg", "evaluate"), "--out")
    metrics = json.loads((folder / out / "metrics.json").read_text())
    assert metrics["dice_macro"] > 0.75
    assert (folder / out / "report.html").is_file()
    card = json.loads((folder / "run" / "model" / "card.json").read_text())
    method = tomllib.loads(page.files["pyproject.toml"])["project"]["entry-points"]
    assert card["method"] in method["diffseg.segmenters"]
    assert card["network"]["name"] in method["diffseg.networks"]
    name = option(page.command("diffseg", "models", "add"), "--id")
    assert re.search(rf"^{name}@{card['version']} .* user *$", said, re.MULTILINE)


def test_the_page_shows_every_group(page: Page) -> None:
    entries = tomllib.loads(page.files["pyproject.toml"])["project"]["entry-points"]
    kinds = ("networks", "objectives", "segmenters", "settings")
    assert sorted(entries) == [f"diffseg.{kind}" for kind in kinds]


def test_no_list_of_ours_names_the_method(page: Page) -> None:
    name = tomllib.loads(page.files["pyproject.toml"])["project"]["name"]
    root = PAGE.parents[1]
    ours = [
        file
        for folder in ("src", "training", "resources", "napari_diffseg")
        for file in (root / folder).rglob("*.*")
        if file.suffix in {".py", ".yaml", ".json", ".toml"}
        and file.name != "extensions.py"  # whose words take it as an example
    ]
    assert ours
    assert not [f for f in [*ours, root / "pyproject.toml"] if name in f.read_text()]
