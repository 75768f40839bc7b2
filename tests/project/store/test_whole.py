"""Projects that are moved, halved, damaged, locked or full: told, and repaired."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import text

from diffseg.domain import ImageLabels, Presence, Proposal
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.project import store
from diffseg.project.annotation import Annotation
from diffseg.project.journal import Journal
from diffseg.project.store import Health, Project, State, Trouble, backups, migrating
from diffseg.volume import atomic

Masks = Callable[..., NDArray[np.uint8]]
Images = Callable[..., Path]
HERE = Path(__file__).parent
STEP = '''"""A step of the future."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "{head}"
def upgrade() -> None:
    """Add a column."""
    op.add_column("cases", sa.Column("mood", sa.Text()))
'''


def troubles(health: Health) -> list[Trouble]:
    return [finding.trouble for finding in health.findings]


def checked(project: Project) -> Health:
    return run(store.check(project))


def repaired(project: Project) -> store.Recovery:
    """Close a project, repair it, and open it no more."""
    project.close()
    return run(store.recover(project.folder))


@pytest.fixture
def filled(project: Project, image: Path, proposal: Proposal, mask_of: Masks) -> str:
    """Id of a case with a proposal, two versions and a label."""
    case = store.add_case(project, image, annotator="anna", name="first")
    proposed = store.add_proposal(project, case.id, proposal, annotator="anna")
    first = store.add_correction(
        project, case.id, mask_of(1), annotator="anna",
        proposal=proposed.id, touched=mask_of(1) > 0,
    )  # fmt: skip
    store.add_correction(
        project, case.id, mask_of(1, 7), annotator="anna", parent=first.id
    )
    store.set_label(project, case.id, "anterior", Presence.PRESENT, annotator="anna")
    return case.id


def test_a_whole_project_is_sound(project: Project, filled: str) -> None:
    health = checked(project)
    assert health.findings == ()
    assert (health.sound, health.cases, health.files) == (True, 1, 5 + 3)


def test_a_project_that_was_moved_works(
    study: Project, tmp_path: Path, write_image: Images, mask_of: Masks
) -> None:
    inside = write_image(study.folder / "images" / "a.nii.gz")
    case = store.add_case(study, inside, annotator="anna")
    store.add_correction(study, case.id, mask_of(1), annotator="anna")
    study.close()
    moved = study.folder.rename(tmp_path / "elsewhere")
    with store.open_project(moved) as again:
        found = store.find_case(again, "a")
        assert found.paths == (moved / "images" / "a.nii.gz",)
        assert store.open_source(found).shape == found.grid.shape
        newest = store.newest_correction(again, found.id)
        assert newest is not None
        np.testing.assert_array_equal(store.read_correction(again, newest), mask_of(1))
        assert checked(again).findings == ()


def test_what_was_not_copied_is_told(project: Project, filled: str) -> None:
    newest = store.newest_correction(project, filled)
    assert newest is not None
    shutil.rmtree(project.masks)
    health = checked(project)
    assert not health.sound
    assert troubles(health) == [Trouble.MISSING] * 8
    with pytest.raises(UserError, match="missing"):
        store.read_correction(project, newest)
    after = repaired(project)
    assert troubles(after.health) == [Trouble.MISSING] * 8


def test_a_copy_without_its_database_is_told(study: Project) -> None:
    study.close()
    (study.folder / "project.db").unlink()
    with pytest.raises(UserError, match="copied by half"):
        store.open_project(study.folder)
    health = run(store.check_folder(study.folder))
    assert troubles(health) == [Trouble.DATABASE]


def test_a_folder_that_is_no_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a project"):
        store.open_project(tmp_path)
    with pytest.raises(UserError, match="not a project"):
        run(store.recover(tmp_path))
    (tmp_path / "project.json").write_text('{"format": "diffseg-project"')
    with pytest.raises(UserError, match="cannot be read"):
        store.open_project(tmp_path)


def test_an_image_that_changed_is_told_and_no_damage(
    project: Project, filled: str, image: Path, write_image: Images
) -> None:
    write_image(image, 9)
    health = checked(project)
    assert troubles(health) == [Trouble.SOURCE]
    assert health.sound
    image.unlink()
    (finding,) = checked(project).findings
    assert "is not there" in finding.what


def test_a_mask_edited_outside_is_told_and_taken_as_it_is(
    project: Project, filled: str, mask_of: Masks
) -> None:
    newest = store.newest_correction(project, filled)
    assert newest is not None
    old = nib.load(newest.file)
    edited = mask_of(7, 7, 7)
    nib.save(nib.Nifti1Image(edited.T, old.affine, old.header), newest.file)
    with pytest.raises(UserError, match="changed outside"):
        store.read_correction(project, newest)
    assert troubles(checked(project)) == [Trouble.CHANGED]
    after = repaired(project)
    assert after.health.findings == ()
    with store.open_project(project.folder) as again:
        taken = store.newest_correction(again, filled)
        assert taken is not None
        np.testing.assert_array_equal(store.read_correction(again, taken), edited)
        assert taken.version == 2
        assert {one.name: one.voxels for one in taken.classes} == {
            "anterior": 0,
            "posterior": 18,
        }
        *_, entry = store.audit(again)
        assert (entry.action, entry.subject) == ("accept edit", newest.id)


def test_a_mask_cut_short_stays_damaged(project: Project, filled: str) -> None:
    newest = store.newest_correction(project, filled)
    assert newest is not None
    newest.file.write_bytes(newest.file.read_bytes()[:40])
    assert troubles(checked(project)) == [Trouble.CHANGED]
    assert troubles(repaired(project).health) == [Trouble.CHANGED]


def test_files_of_writers_that_died_are_taken_in_or_removed(
    project: Project, filled: str, mask_of: Masks, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = store.newest_correction(project, filled)
    assert parent is not None

    class Killed(BaseException):
        pass

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Project, "write", die)
        patch.setattr(store.corrections, "_remove", lambda *_: None)
        patch.setattr(store.proposals.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            store.add_correction(
                project, filled, mask_of(7), annotator="anna",
                parent=parent.id, touched=mask_of(7) > 0,
            )  # fmt: skip
    place = parent.file.parent
    (place / f".0123abcd.{parent.file.name}").write_bytes(b"half")
    (place / "c-0123.nii.gz.part").write_bytes(b"half")
    (place / "notes.txt").write_text("whose?")
    (place / f"c-{'0' * 16}-touched.nii.gz").write_bytes(parent.file.read_bytes())
    health = checked(project)
    assert health.sound
    assert sorted(troubles(health), key=list(Trouble).index) == [
        *[Trouble.ORPHAN] * 4,
        *[Trouble.HALF_WRITTEN] * 2,
    ]
    after = repaired(project)
    assert after.health.findings == ()
    with store.open_project(project.folder) as again:
        newest = store.newest_correction(again, filled)
        assert newest is not None
        assert (newest.version, newest.parent) == (3, parent.id)
        np.testing.assert_array_equal(store.read_correction(again, newest), mask_of(7))
        touched = store.read_touched(again, newest)
        assert touched is not None
        assert touched.sum() == 6
    lost = project.folder / "lost+found" / "masks" / filled
    assert len(list(lost.iterdir())) == 2


def test_a_training_that_died_before_it_began_leaves_nothing(
    project: Project, filled: str
) -> None:
    run = store.begin_run(
        project, model=("m", "1", "ab" * 32), settings={}, cases=(filled,),
        annotator="anna",
    )  # fmt: skip
    for name in (run.id, "0123456789abcdef"):
        (project.folder / "training" / name / "data").mkdir(parents=True)
    health = checked(project)
    assert health.sound
    ((trouble, where),) = [(one.trouble, one.where) for one in health.findings]
    assert (trouble, where) == (Trouble.HALF_WRITTEN, "training/0123456789abcdef")
    assert repaired(project).health.findings == ()
    assert [path.name for path in (project.folder / "training").iterdir()] == [run.id]


def test_a_proposal_without_its_row_is_taken_in(
    project: Project, filled: str, proposal: Proposal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.proposals, "insert_proposal", die)
        patch.setattr(store.proposals.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            store.add_proposal(project, filled, proposal, annotator="bo")
    assert troubles(checked(project)) == [Trouble.ORPHAN] * 5
    assert repaired(project).health.findings == ()
    with store.open_project(project.folder) as again:
        first, second = store.proposals_of(again, filled)
        assert (second.seed, second.annotator) == (first.seed, "bo")
        np.testing.assert_array_equal(store.read_proposed(again, second), proposal.mask)


def test_a_full_disk_saves_nothing_and_says_so(
    project: Project, filled: str, mask_of: Masks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_flush", full)
        with pytest.raises(UserError, match="No space left"):
            store.add_correction(
                project, filled, mask_of(7), annotator="anna", touched=mask_of(7) > 0
            )
    assert checked(project).findings == ()
    assert len(store.corrections_of(project, filled)) == 2


def test_a_database_on_a_full_disk_saves_nothing_and_says_so(
    study: Project, image: Path, mask_of: Masks
) -> None:
    case = store.add_case(study, image, annotator="anna")
    with study.read() as db:
        (pages,) = db.execute(text("PRAGMA page_count")).one()
    connection = study.engine.raw_connection()
    connection.cursor().execute(f"PRAGMA max_page_count = {pages}")
    connection.close()

    def save() -> None:
        for _ in range(100):
            store.add_correction(study, case.id, mask_of(1), annotator="anna")

    with pytest.raises(UserError, match="nothing was saved"):
        save()
    assert troubles(checked(study)) == []


def test_a_locked_database_is_told_in_a_line(
    project: Project, filled: str, mask_of: Masks
) -> None:
    with store.open_project(project.folder, patience=0.1) as other, \
            project.write() as db:  # fmt: skip
        db.execute(text("UPDATE cases SET versions = versions"))
        with pytest.raises(UserError, match="locked by another program"):
            store.set_review(other, filled, State.DONE, reviewer="bo")
        with pytest.raises(UserError, match="locked by another program"):
            store.add_correction(other, filled, mask_of(7), annotator="bo")
    assert checked(project).findings == ()  # the mask went with its row
    store.set_review(project, filled, State.DONE, reviewer="bo")


def test_a_newer_schema_is_refused(project: Project, filled: str) -> None:
    with project.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match=r"newer diffseg \(schema 9999.*update"):
        store.open_project(project.folder)


def test_a_newer_layout_is_refused(study: Project) -> None:
    path = study.folder / "project.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"version": 2}))
    with pytest.raises(UserError, match=r"newer diffseg \(layout 2"):
        store.open_project(study.folder)


def test_an_older_schema_is_migrated_after_a_copy(
    project: Project, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.close()
    steps = shutil.copytree(migrating.STEPS, tmp_path / "migrations")
    head = migrating.newest()
    (steps / "versions" / "v9999_mood.py").write_text(STEP.format(head=head))
    monkeypatch.setattr(migrating, "STEPS", steps)
    with store.open_project(project.folder) as again:
        with again.read() as db:
            db.execute(text("SELECT mood FROM cases"))
        assert len(store.corrections_of(again, filled)) == 2
        assert again.manifest.schema_version == "9999"
        assert [entry.action for entry in store.audit(again)][-1] == "migrate"
    if project.manifest.is_file:
        copy = project.folder / "backups" / f"schema-{head}.db"
        with closing(sqlite3.connect(copy)) as db:
            assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [
                (head,)
            ]
    monkeypatch.undo()
    with pytest.raises(UserError, match="newer diffseg"):
        store.open_project(project.folder)


def test_a_migration_that_fails_leaves_all_as_it_was(
    project: Project, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.close()
    steps = shutil.copytree(migrating.STEPS, tmp_path / "migrations")
    step = STEP.format(head=migrating.newest()) + "    raise RuntimeError\n"
    (steps / "versions" / "v9999_mood.py").write_text(step)
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "STEPS", steps)
        with pytest.raises(RuntimeError):
            store.open_project(project.folder)
    with store.open_project(project.folder) as again:
        assert checked(again).findings == ()


def test_a_label_removed_outside_while_in_use_comes_back(
    study: Project, image: Path, mask_of: Masks
) -> None:
    case = store.add_case(study, image, annotator="anna")
    store.add_correction(study, case.id, mask_of(7), annotator="anna")
    store.set_label(study, case.id, "anterior", Presence.PRESENT, annotator="anna")
    study.close()
    with closing(sqlite3.connect(study.folder / "project.db")) as db:
        db.execute("DELETE FROM labels")
        db.commit()
    with store.open_project(study.folder) as again:
        assert set(troubles(checked(again))) == {Trouble.LABEL}
    after = run(store.recover(study.folder))
    assert after.health.findings == ()
    with store.open_project(study.folder) as again:
        table = store.label_table(again)
        assert table is not None
        assert dict(zip(table.names, table.values, strict=True)) == {
            "posterior": 7,
            "anterior": 1,
        }


def test_a_project_that_is_open_is_not_repaired(project: Project) -> None:
    with pytest.raises(UserError, match="open elsewhere"):
        run(store.recover(project.folder))


def test_a_manifest_that_is_lost_is_written_anew(study: Project) -> None:
    study.close()
    (study.folder / "project.json").unlink()
    assert run(store.recover(study.folder)).health.findings == ()
    with store.open_project(study.folder) as again:
        assert again.manifest.id == study.manifest.id


def grown(study: Project, tmp_path: Path, write_image: Images, mask_of: Masks) -> None:
    """Many cases, a copy of the database, and work that came after it."""
    additions = [
        store.Addition(write_image(tmp_path / f"{index:03}.nii.gz", index))
        for index in range(40)
    ]
    cases = run(store.add_cases(study, additions, annotator="anna"))
    backups.make_backup(study.folder)
    for case in cases[:5]:
        store.add_correction(study, case.id, mask_of(1), annotator="anna")
        store.set_label(study, case.id, "posterior", Presence.ABSENT, annotator="anna")
        store.set_review(study, case.id, State.DONE, reviewer="anna")


def test_a_database_that_is_gone_comes_back_from_copy_and_masks(
    study: Project, tmp_path: Path, write_image: Images, mask_of: Masks
) -> None:
    grown(study, tmp_path, write_image, mask_of)
    study.close()
    for suffix in ("", "-wal", "-shm"):
        (study.folder / f"project.db{suffix}").unlink(missing_ok=True)
    (study.folder / "project.db").write_bytes(b"nothing of a database" * 1000)
    with pytest.raises(store.DamagedProject, match="damaged"):
        store.open_project(study.folder)
    newest = backups.backups_of(study.folder)
    newest[0].unlink() if len(newest) > 1 else None
    after = run(store.recover(study.folder))
    assert after.health.findings == ()
    with store.open_project(study.folder) as again:
        assert store.list_cases(again).total == 40
        case = store.find_case(again, "003")
        (version,) = store.corrections_of(again, case.id)
        np.testing.assert_array_equal(store.read_correction(again, version), mask_of(1))


def test_a_damaged_page_costs_little(
    study: Project, tmp_path: Path, write_image: Images, mask_of: Masks
) -> None:
    grown(study, tmp_path, write_image, mask_of)
    study.engine.dispose()
    path = study.folder / "project.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'reviews'"
        ).fetchone()
    size = 4096
    with path.open("r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(os.urandom(size))
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    study._wrote = False  # what is damaged is not copied
    study.close()
    after = run(store.recover(study.folder))
    assert after.health.findings == ()
    assert any("audit log were applied again" in line for line in after.done)
    with store.open_project(study.folder) as again:
        cases = [store.find_case(again, f"{index:03}") for index in range(5)]
        for case in cases:
            assert store.review_of(again, case.id).state is State.DONE
            assert store.image_labels_of(again, case.id)["posterior"] is Presence.ABSENT
            assert len(store.corrections_of(again, case.id)) == 1


def test_copies_are_few_and_sound(study: Project, image: Path) -> None:
    for _ in range(backups.MOST + 2):
        backups.make_backup(study.folder)
    copies = backups.backups_of(study.folder)
    assert len(copies) == backups.MOST
    assert copies[0].name == "00000007.db"
    assert backups.make_backup_if_due(study.folder) is None
    os.utime(copies[0], (2e9, 2e9))  # the clock went back since
    assert backups.make_backup_if_due(study.folder) is not None


def test_strokes_of_a_session_that_died_are_told(project: Project, filled: str) -> None:
    case = store.case_of(project, filled)
    volume, annotation = store.open_source(case), Annotation.empty(case.grid.shape)
    table = store.label_table(project)
    assert table is not None
    journal = Journal(project.journal_folder)
    journal.open(
        case.id, name=case.name, volume=volume, annotation=annotation,
        table=table, labels=ImageLabels(),
    )  # fmt: skip
    annotation.values[2, 2, 2] = 1
    annotation.touched[2, 2, 2] = True
    journal.close(keep=True)
    (finding,) = checked(project).findings
    assert finding.trouble is Trouble.STROKES
    assert "1 voxels" in finding.what
    with store.open_project(project.folder) as again:
        after = Journal(again.journal_folder)
        (leftover,) = after.leftovers()
        restored = after.restore(leftover.id)
        made = store.add_correction(
            again, filled, restored.values, annotator="anna", touched=restored.touched
        )
        after.discard(leftover.id)
        after.close(keep=False)
        assert made.voxels == 1
        assert checked(again).findings == ()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="children are forked")
def test_a_handful_of_kills_loses_nothing() -> None:
    script = [sys.executable, str(HERE / "kill_store.py"), "--times", "4"]
    done = subprocess.run(
        [*script, "--longest", "0.3"], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills: 0 projects damaged, 0 of" in done.stdout
