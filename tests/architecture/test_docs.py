"""What the documentation shows is run, and what it points to is there.

A block marked ``python`` runs; all blocks of a page share one namespace and an
empty folder that holds ``case.nii.gz``, a piece of a real brain. A block that
needs $DIFFSEG_DATA says so in the line before: ``<!-- needs: data -->``. One below a
line ``File: `path` `` is a file for the reader to lay down: `test_add_a_method` does.
"""

from __future__ import annotations

import os
import re
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]
DATA = Path(os.environ.get("DIFFSEG_DATA", ROOT.parent / "shared" / "data"))

BLOCK = re.compile(
    r"^(?P<file>File: `.*`\n\n)?(?:<!-- needs: (?P<needs>\w+) -->\n)?"
    r"```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?P<inline>[^)\s]+)\)|(?:src|href)=\"(?P<html>[^\"]+)\"")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+\.png)\)")
ALT = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
PICTURES = sorted(ROOT.glob("docs/pictures/*.png"))
PNG = b"\x89PNG\r\n\x1a\n"
FENCED = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A piece of Python in a page: its first line's number and what it needs."""

    page: Path
    line: int
    code: str
    needs: str | None

    def run(self, namespace: dict[str, object]) -> None:
        """Run it; a traceback shows the page and the line."""
        padded = "\n" * (self.line - 1) + self.code
        exec(compile(padded, str(self.page), "exec"), namespace)


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return [
        Block(
            page,
            text.count("\n", 0, match.start("code")) + 1,
            match["code"],
            match["needs"],
        )
        for match in BLOCK.finditer(text)
        if match["file"] is None
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One hippocampus and its surroundings, cut from the template nilearn ships."""
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=1)
    low, high = np.array([-42, -42, -28]), np.array([-7, -2, 5])  # RAS+ mm
    to_voxel = np.linalg.inv(template.affine)
    corners = nibabel.affines.apply_affine(to_voxel, [low, high]).round().astype(int)
    start, stop = corners.min(axis=0), corners.max(axis=0)
    piece = template.slicer[
        tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    ]
    path = tmp_path_factory.mktemp("brain") / "case.nii.gz"
    nibabel.save(piece, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page)], ids=name_of
)
def test_snippets_run(
    page: Path, brain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "case.nii.gz").write_bytes(brain.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    namespace: dict[str, object] = {"__name__": "__main__"}
    skipped = []
    for block in blocks_of(page):
        if block.needs is None or DATA.is_dir():
            block.run(namespace)
        else:
            skipped.append(f"{name_of(page)}:{block.line}")
    if skipped:
        pytest.skip(f"no folder {DATA} ($DIFFSEG_DATA) for {', '.join(skipped)}")


def test_the_lobby_has_a_snippet() -> None:
    assert blocks_of(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_need_is_known(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    needs = re.findall(r"^<!-- needs: (.*?) -->$", text, re.MULTILINE)
    assert needs == [block.needs for block in blocks_of(page) if block.needs]
    assert set(needs) <= {"data"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_point_to_files(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = [match["inline"] or match["html"] for match in LINK.finditer(text)]
    broken = [
        target
        for target in targets
        if not re.match(r"[a-z]+:|#", target)
        and not (page.parent / target.split("#")[0]).exists()
    ]
    assert not broken, f"{name_of(page)} points to {broken}"


def test_every_picture_is_shown_and_small() -> None:
    told = "".join(FENCED.sub("", page.read_text(encoding="utf-8")) for page in PAGES)
    shown = {Path(name).name for name in PICTURE.findall(told)}
    assert {path.name for path in PICTURES} <= shown
    heavy = [path.name for path in PICTURES if path.stat().st_size > 400_000]
    assert PICTURES
    assert not heavy


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_are_there_and_told_in_words(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    wordless = [name for words, name in ALT.findall(text) if not words.strip()]
    missing = [
        name
        for name in PICTURE.findall(text)
        if not (page.parent / name).read_bytes().startswith(PNG)
    ]
    assert not wordless
    assert not missing


def test_the_floors_are_told_as_they_are() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    floors = re.findall(r"\w+", config["importlinter:contract:core-floors"]["layers"])
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    house = page.split("## The floors of `diffseg`")[1].split("```")[1]
    told = [line.split()[0] for line in house.strip().splitlines()]
    assert [name for name in told if name.isalpha()] == floors
    assert told.index("ensemble") == told.index("diffusion") + 2  # the torch line


def test_a_snippet_that_fails_is_told_by_page_and_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nfine = 1\nfine / 0\n```\n")
    (block,) = blocks_of(page)
    with pytest.raises(ZeroDivisionError) as told:
        block.run({})
    last = told.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 5)


def test_a_need_is_read_from_the_line_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- needs: data -->\n```python\n1\n```\n\n```python\n2\n```\n")
    assert [(block.needs, block.line) for block in blocks_of(page)] == [
        ("data", 3),
        (None, 7),
    ]
