"""What the tests of the annotator's work may ask for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from diffseg.cli import app
from diffseg.domain import ImageLabels, Label, LabelTable
from diffseg.project.annotation import Annotation
from diffseg.project.journal import Journal
from diffseg.volume import Volume

SHAPE = (6, 7, 9)
TABLE = LabelTable(
    labels=(
        Label(name="anterior", value=1, color="#112233", code="SCT:1"),
        Label(name="posterior", value=7, color="#445566"),
    )
)
LABELS = ImageLabels.parse("anterior,posterior=absent")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image on disk, whose name is a patient's."""
    path = tmp_path / "Doe_Jane_1970.nii.gz"
    affine = np.diag([0.5, 0.75, 2.0, 1.0])
    nib.save(nib.Nifti1Image(np.zeros(SHAPE[::-1], np.int16), affine), path)
    return path


@pytest.fixture
def annotation() -> Annotation:
    return Annotation.empty(SHAPE)


@pytest.fixture
def make_journal(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Make windows' journals on one folder; they end with the test."""
    made: list[Journal] = []

    def make(folder: Path | None = None, **more: object) -> Journal:
        journal = Journal(folder or tmp_path / "journal", **more)  # type: ignore[arg-type]
        made.append(journal)
        return journal

    yield make
    for journal in made:
        journal.close(keep=False)


@pytest.fixture
def open_case() -> Callable[..., Volume]:
    """Open an image in a journal."""

    def open_case(
        journal: Journal, image: Path, annotation: Annotation, case_id: str = "case"
    ) -> Volume:
        volume = Volume.read(image)
        journal.open(
            case_id,
            name=f"name of {case_id}",
            volume=volume,
            annotation=annotation,
            table=TABLE,
            labels=LABELS,
        )
        return volume

    return open_case


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command, whether or not this installation knows it already."""
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    entry = EntryPoint("project", "diffseg.cli.project:project", app.GROUP)
    monkeypatch.setattr(app, "commands", lambda: {"project": entry})


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a subcommand with ``--json``; its object."""

    def run(*args: object, status: int = 0) -> Any:
        ended = app.main(["project", *map(str, args), "--json"])
        out, err = capsys.readouterr()
        assert (ended, err) == (status, "")
        return json.loads(out)

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a subcommand that is refused; its line."""

    def run(*args: object) -> str:
        assert app.main(["project", *map(str, args)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return run
