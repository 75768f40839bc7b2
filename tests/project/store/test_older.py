"""Projects of an older schema: migrated, salvaged, and what they lack made up for."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import text

from diffseg.domain import Proposal
from diffseg.progress import run
from diffseg.project import store
from diffseg.project.store import Project, Role, migrating
from diffseg.project.store.salvage import salvage

Masks = Callable[..., NDArray[np.uint8]]


def test_a_project_of_the_first_schema_gets_its_readings_and_summaries(
    tmp_path: Path, image: Path, proposal: Proposal, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = shutil.copytree(migrating.STEPS, tmp_path / "migrations")
    (old / "versions" / "v0002_review.py").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "STEPS", old)
        with store.create_project(tmp_path / "old", annotator="anna") as project:
            case = store.add_case(project, image, annotator="anna", name="first")
            with project.write() as db:
                db.execute(
                    text(
                        "INSERT INTO corrections (id, case_id, version, file, sha256, "
                        "classes, voxels, annotator, at) VALUES ('c', :case, 1, 'f', "
                        "'s', '[]', 0, 'anna', 0)"
                    ),
                    {"case": case.id},
                )
                db.execute(text("UPDATE cases SET versions = 1"))
    with store.open_project(tmp_path / "old") as project:
        (kept,) = store.corrections_of(project, case.id)
        assert kept.role is Role.FIRST
        stored = store.add_proposal(project, case.id, proposal, annotator="anna")
        with project.write() as db:
            db.execute(text("DELETE FROM summaries"))
        assert run(store.summarise(project)) == 1
        (standing,) = store.standings(project).cases
        assert standing.proposal == stored.id
        assert standing.candidate is not None


def test_rows_of_an_older_schema_are_salvaged(
    study: Project, image: Path, mask_of: Masks, tmp_path: Path
) -> None:
    case = store.add_case(study, image, annotator="anna")
    kept = store.add_correction(study, case.id, mask_of(1), annotator="anna")
    damaged = tmp_path / "damaged.db"
    path = study.folder / "project.db"
    with (
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(damaged)) as target,
    ):
        source.backup(target)
        target.execute("ALTER TABLE corrections DROP COLUMN role")
        target.execute("DROP TABLE summaries")
        target.commit()
    with study.write() as db:
        db.execute(text("DELETE FROM corrections"))
        assert salvage(damaged, db)["corrections"] == 1
    assert store.newest_correction(study, case.id) == kept


def test_a_second_reading_without_its_row_comes_back_as_one(
    study: Project, image: Path, mask_of: Masks
) -> None:
    case = store.add_case(study, image, annotator="anna")
    kept = store.add_correction(
        study, case.id, mask_of(1), annotator="bo", role=Role.SECOND
    )
    with study.write() as db:
        db.execute(text("DELETE FROM corrections"))
        db.execute(text("UPDATE cases SET versions = 0"))
    study.close()
    run(store.recover(study.folder))
    with store.open_project(study.folder) as again:
        assert store.newest_correction(again, case.id) is None
        found = store.newest_correction(again, case.id, Role.SECOND)
        assert found is not None
        assert found.id == kept.id
