"""Subcommands of ``diffseg project`` that other packages add."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
import typer

from diffseg.cli import app, project_group


def tidy(folder: str) -> None:
    """Tidy a project up.

    Example: diffseg project tidy my-study
    """
    typer.echo(f"tidied {folder}")


@pytest.fixture
def adds(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let packages add subcommands: names with what their entry points say."""
    ours = EntryPoint("project", "diffseg.cli.project:project", app.GROUP)
    monkeypatch.setattr(app, "commands", lambda: {"project": ours})

    def add(*pairs: tuple[str, str]) -> None:
        found = EntryPoints(
            EntryPoint(name, value, project_group.GROUP) for name, value in pairs
        )
        monkeypatch.setattr(project_group, "entry_points", lambda group: found)

    return add


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = app.main(["project", *args])
    return (status, *capsys.readouterr())


def test_another_package_adds_a_subcommand(
    adds: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    adds(("tidy", f"{__name__}:tidy"))
    assert run(capsys, "tidy", "study") == (0, "tidied study\n", "")
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "Tidy a project up" in out
    status, out, _ = run(capsys, "tidy", "--help")
    assert "Example: diffseg project tidy" in out
    status, out, err = run(capsys)
    assert (status, out) == (2, "")
    assert "tidy" in err


def test_a_usage_error_names_the_subcommand(
    adds: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    adds(("tidy", f"{__name__}:tidy"))
    status, out, err = run(capsys, "tidy")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "see diffseg project tidy --help" in err


def test_a_broken_package_ends_only_its_own_subcommand(
    adds: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    adds(("tidy", "no_such_package:tidy"))
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert "Cannot be loaded" in out
    status, out, err = run(capsys, "tidy", "study")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no_such_package" in err


@pytest.mark.parametrize("name", ["tidy", "list"])
def test_what_is_given_twice_is_refused(
    name: str, adds: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [(name, f"{__name__}:tidy")] * (1 if name == "list" else 2)
    adds(*twice)
    status, out, err = run(capsys, name, "study")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "more than once" in err
