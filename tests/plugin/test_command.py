"""``diffseg gui`` and the window of the demo: what is said where nothing can open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from diffseg.cli import main
from diffseg.cli.windows import INSTALL
from napari_diffseg.plugin import demo


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "case.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), path)
    return path


class Opened:
    """Stands in for the window, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], bool, Path | None]] = []

    def __call__(
        self,
        images: Sequence[str],
        *,
        propose: bool = False,
        screenshot: Path | None = None,
    ) -> None:
        self.calls.append((list(images), propose, screenshot))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    window = Opened()
    monkeypatch.setattr("napari_diffseg.plugin.command.window_opener", lambda: window)
    monkeypatch.setenv("DISPLAY", ":0")
    return window


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a failing command says; it exits with 2."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_the_image_is_opened(opened: Opened, image: Path) -> None:
    assert main(["gui", str(image)]) == 0
    assert main(["gui"]) == 0
    assert main(["gui", str(image), "--propose"]) == 0
    assert opened.calls == [
        ([str(image)], False, None),
        ([], False, None),
        ([str(image)], True, None),
    ]


def test_a_picture_is_taken(opened: Opened, image: Path, tmp_path: Path) -> None:
    picture = tmp_path / "window.png"
    assert main(["gui", str(image), "--screenshot", str(picture)]) == 0
    assert opened.calls == [([str(image)], True, picture)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("x.jpg", r".png"), ("case.nii.gz", ".png"), ("no/x.png", "no such folder")],
)
def test_a_picture_that_cannot_be_written(
    opened: Opened, image: Path, capsys: Any, name: str, said: str
) -> None:
    where = str(image.with_name("no" if "/" in name else name))
    where = str(image.parent / name)
    assert said in complaint(capsys, "gui", str(image), "--screenshot", where)
    assert opened.calls == []


@pytest.mark.parametrize("content", [None, b"", b"no image"])
def test_a_bad_image_is_told_before_a_window_opens(
    opened: Opened, tmp_path: Path, capsys: Any, content: bytes | None
) -> None:
    path = tmp_path / "x.nii"
    if content is not None:
        path.write_bytes(content)
    assert "x.nii" in complaint(capsys, "gui", str(path))
    assert opened.calls == []


def test_nothing_to_propose_for(opened: Opened, capsys: Any) -> None:
    assert "give an image" in complaint(capsys, "gui", "--propose")


def test_no_display(opened: Opened, image: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    said = complaint(capsys, "gui", str(image))
    assert said.startswith("diffseg gui: no display, so no window can open")
    assert "set DISPLAY" in said
    assert opened.calls == []


def test_without_the_extra_it_is_named(
    image: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("diffseg.cli.windows.installed", lambda name: None)
    said = complaint(capsys, "gui", str(image))
    assert "napari, qtpy, superqt, magicgui, PySide6 is not installed" in said
    assert INSTALL in said


@pytest.mark.skipif(sys.platform != "linux", reason="needs a display that can be dead")
def test_a_dead_display_is_one_line(image: Path) -> None:
    """Qt would end the process here, with its own many lines."""
    import os

    run = subprocess.run(
        [sys.executable, "-c", "import sys; from diffseg.cli import main; "
         "sys.exit(main())", "gui", str(image)],
        env={**os.environ, "DISPLAY": ":4094", "QT_QPA_PLATFORM": "xcb"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "Qt cannot open a window on this display" in run.stderr
    assert ":4094" in run.stderr


def test_a_picture_gets_a_virtual_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Callable[..., Any] | str] = []

    class Screen:
        def __enter__(self) -> str:
            seen.append("screen")
            return ":9"

        def __exit__(self, *exception: object) -> None:
            seen.append("gone")

    monkeypatch.setattr(demo, "virtual_screen", Screen)
    monkeypatch.setattr(demo, "check_qt", lambda: seen.append("trial"))
    monkeypatch.setattr(demo, "_open", lambda *arguments: seen.append("window"))
    demo.open_window(["a"], screenshot=Path("x.png"))
    demo.open_window(["a"])
    assert seen == ["screen", "window", "gone", "trial", "window"]
