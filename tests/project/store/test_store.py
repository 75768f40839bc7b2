"""What is put into a project comes out of it again; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from numpy.typing import NDArray
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from diffseg.domain import Label, LabelTable, Presence, Proposal
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.project import store
from diffseg.project.store import Case, Project, Role, State, migrating, schema

Masks = Callable[..., NDArray[np.uint8]]
Images = Callable[..., Path]
PRESENT, ABSENT, UNKNOWN = Presence.PRESENT, Presence.ABSENT, Presence.UNKNOWN


def test_the_steps_make_the_schema(project: Project) -> None:
    with project.read() as db:
        assert migrating.schema_of(db) == migrating.newest()
        context = MigrationContext.configure(db, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_a_project_opens_again_with_all_that_was_put_in(
    project: Project, case: Case, mask_of: Masks
) -> None:
    made = store.add_correction(project, case.id, mask_of(1), annotator="anna")
    store.set_review(project, case.id, State.DONE, reviewer="bo", comment="fine")
    with store.open_project(project.folder) as again:
        assert store.find_case(again, "first") == store.case_of(project, case.id)
        (version,) = store.corrections_of(again, case.id)
        assert version == made
        np.testing.assert_array_equal(store.read_correction(again, version), mask_of(1))
        assert store.review_of(again, case.id).comment == "fine"
        assert store.label_table(again) == store.label_table(project)


def test_a_folder_that_is_not_empty_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match="not an empty folder"):
        store.create_project(tmp_path, annotator="anna")


def test_a_url_may_hold_no_password(tmp_path: Path) -> None:
    url = "postgresql://anna:secret@host/db"
    with pytest.raises(UserError, match="password") as told:
        store.create_project(tmp_path / "p", database=url, annotator="anna")
    assert "secret" not in str(told.value)
    with pytest.raises(UserError, match="mysql"):
        store.create_project(tmp_path / "p", database="mysql://h/d", annotator="anna")
    assert not (tmp_path / "p").exists()


# --- cases


def test_images_are_added_all_or_none(
    project: Project, tmp_path: Path, write_image: Images
) -> None:
    good = write_image(tmp_path / "good.nii.gz", 1)
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    additions = [store.Addition(good), store.Addition(bad)]
    with pytest.raises(UserError, match="bad"):
        run(store.add_cases(project, additions, annotator="anna"))
    assert store.list_cases(project).total == 0


def test_names_and_images_are_one_of_a_kind(
    project: Project, case: Case, image: Path, tmp_path: Path, write_image: Images
) -> None:
    other = write_image(tmp_path / "other.nii.gz", 1)
    with pytest.raises(UserError, match="'first' is in the project"):
        store.add_case(project, other, annotator="anna", name="first")
    with pytest.raises(UserError, match="as case 'first'"):
        store.add_case(project, image, annotator="anna", name="second")
    assert store.add_case(project, other, annotator="anna").name == "other"


def test_a_case_that_is_not_there_has_a_neighbour(project: Project, case: Case) -> None:
    assert store.find_case(project, case.id) == case
    with pytest.raises(UserError, match="did you mean 'first'"):
        store.find_case(project, "frist")


def test_an_image_that_changed_is_refused_and_can_be_taken_anew(
    project: Project, case: Case, image: Path, write_image: Images, mask_of: Masks
) -> None:
    store.add_correction(project, case.id, mask_of(1), annotator="anna")
    store.set_review(project, case.id, State.DONE, reviewer="anna")
    assert store.open_source(case).shape == case.grid.shape
    write_image(image, 5)
    with pytest.raises(store.SourceChanged, match="--again 'first'"):
        store.open_source(case)
    taken = store.relink_case(project, case.id, image, annotator="anna")
    assert taken.sha256 != case.sha256
    assert store.open_source(taken).data.max() == 5
    assert store.review_of(project, case.id).state is State.FLAGGED
    assert len(store.corrections_of(project, case.id)) == 1


def test_an_image_that_moved_keeps_its_review(
    project: Project, case: Case, image: Path, tmp_path: Path
) -> None:
    store.set_review(project, case.id, State.DONE, reviewer="anna")
    moved = image.rename(tmp_path / "moved.nii.gz")
    with pytest.raises(store.SourceChanged, match="not there"):
        store.open_source(case)
    taken = store.relink_case(project, case.id, moved, annotator="anna")
    assert taken.sha256 == case.sha256
    assert store.review_of(project, case.id).state is State.DONE


def test_an_image_on_another_grid_is_another_case(
    project: Project, case: Case, tmp_path: Path, write_image: Images
) -> None:
    other = write_image(tmp_path / "other.nii.gz", spacing=0.9)
    with pytest.raises(UserError, match="not on the grid"):
        store.relink_case(project, case.id, other, annotator="anna")


# --- image-level labels


def test_labels_of_slices_and_of_the_case(project: Project, case: Case) -> None:
    def say(state: Presence, slices: tuple[int, int] | None = None) -> store.Strip:
        store.set_label(
            project, case.id, "anterior", state, annotator="anna", slices=slices
        )
        return store.strips_of(project, case.id)["anterior"]

    strip = say(ABSENT)
    assert strip.whole is ABSENT
    assert strip.slices.tolist() == [2] * 6
    strip = say(PRESENT, (1, 3))
    assert strip.whole is PRESENT
    assert strip.slices.tolist() == [2, 1, 1, 2, 2, 2]
    strip = say(UNKNOWN, (1, 3))
    assert strip.whole is UNKNOWN
    strip = say(PRESENT)
    assert strip.whole is PRESENT
    assert strip.slices.tolist() == [0] * 6
    assert store.image_labels_of(project, case.id)["anterior"] is PRESENT


def test_labels_are_undone_and_said_again(project: Project, case: Case) -> None:
    def whole(name: str) -> Presence:
        return store.image_labels_of(project, case.id)[name]

    for state in (PRESENT, ABSENT):
        store.set_label(project, case.id, "anterior", state, annotator="anna")
    store.set_label(project, case.id, "posterior", PRESENT, annotator="bo")
    undone = store.undo_label(project, case.id, annotator="anna")
    assert undone is not None
    assert undone.state is ABSENT
    assert (whole("anterior"), whole("posterior")) == (PRESENT, PRESENT)
    assert store.undo_label(project, case.id, annotator="anna") is not None
    assert whole("anterior") is UNKNOWN
    assert store.undo_label(project, case.id, annotator="anna") is None
    assert store.redo_label(project, case.id, annotator="anna") is not None
    assert whole("anterior") is PRESENT
    store.set_label(project, case.id, "anterior", UNKNOWN, annotator="anna")
    assert store.redo_label(project, case.id, annotator="anna") is None


def test_a_label_must_be_in_the_table(project: Project, case: Case) -> None:
    def say(name: str, **more: Any) -> None:
        store.set_label(project, case.id, name, PRESENT, annotator="anna", **more)

    with pytest.raises(UserError, match="did you mean 'anterior'"):
        say("anterio")
    with pytest.raises(UserError, match="not within the image's 0:6"):
        say("anterior", slices=(4, 9))
    say("hilus", new=True)
    table = store.label_table(project)
    assert table is not None
    assert dict(zip(table.names, table.values, strict=True)) == {
        "anterior": 1,
        "posterior": 7,
        "hilus": 2,
    }


def test_an_open_table_takes_what_is_named(
    tmp_path: Path, database: str | None, image: Path
) -> None:
    with store.create_project(
        tmp_path / "open", database=database, annotator="anna"
    ) as opened:
        assert store.label_table(opened) is None
        case = store.add_case(opened, image, annotator="anna")
        store.set_label(opened, case.id, "liver", PRESENT, annotator="anna")
        with pytest.raises(UserError, match="did you mean 'liver'"):
            store.set_label(opened, case.id, "livre", PRESENT, annotator="anna")
        table = store.label_table(opened)
        assert table is not None
        assert table.names == ("liver",)


def test_a_label_in_use_stays_in_the_table(
    project: Project, case: Case, mask_of: Masks
) -> None:
    anterior, posterior = TABLE.labels
    only = LabelTable(labels=(posterior,))
    store.set_label(project, case.id, "anterior", PRESENT, annotator="anna")
    with pytest.raises(UserError, match=r"'anterior' cannot be removed: 1 image-level"):
        store.set_label_table(project, only, annotator="anna")
    store.undo_label(project, case.id, annotator="anna")
    store.add_correction(project, case.id, mask_of(1), annotator="anna")
    with pytest.raises(UserError, match=r"0 image-level labels and 1 masks"):
        store.set_label_table(project, only, annotator="anna")
    other = LabelTable(labels=(anterior.model_copy(update={"value": 3}), posterior))
    with pytest.raises(UserError, match="given another value"):
        store.set_label_table(project, other, annotator="anna")
    swapped = LabelTable(labels=(posterior.model_copy(update={"value": 9}), anterior))
    store.set_label_table(project, swapped, annotator="anna")
    assert store.label_table(project) == swapped
    store.set_label_table(project, LabelTable(labels=(anterior,)), annotator="anna")
    assert store.label_table(project) == LabelTable(labels=(anterior,))


TABLE = LabelTable(
    labels=(
        Label(name="anterior", value=1, color="#112233", code=None),
        Label(name="posterior", value=7, color="#445566", code=None),
    )
)


# --- proposals and corrections


def test_a_proposal_is_kept_as_it_was(
    project: Project, case: Case, proposal: Proposal
) -> None:
    kept = store.add_proposal(project, case.id, proposal, annotator="anna")
    assert store.proposals_of(project, case.id) == (kept,)
    np.testing.assert_array_equal(store.read_proposed(project, kept), proposal.mask)
    probability, uncertainty = store.read_maps(project, kept)
    np.testing.assert_array_equal(probability, proposal.probability)
    np.testing.assert_array_equal(uncertainty, proposal.uncertainty)
    made = store.provenance_of(kept)
    assert replace(made, seconds={}) == replace(proposal.provenance, seconds={})
    (model,) = store.models_used(project)
    assert (model.id, model.version, model.licence) == ("hippocampus-mri", "1.0", "CC0")
    store.add_proposal(project, case.id, proposal, annotator="bo")
    assert len(store.models_used(project)) == 1


@pytest.mark.parametrize("table", [schema.audit, schema.proposals])
def test_some_rows_are_never_changed(
    project: Project, case: Case, proposal: Proposal, table: Any
) -> None:
    store.add_proposal(project, case.id, proposal, annotator="anna")
    for order in (update(table).values(seed=4), delete(table)):
        with pytest.raises((DBAPIError, UserError), match="never changed"), \
                project.write() as db:  # fmt: skip
            db.execute(order)


def test_versions_are_counted_and_kept(
    project: Project, case: Case, proposal: Proposal, mask_of: Masks
) -> None:
    proposed = store.add_proposal(project, case.id, proposal, annotator="anna")
    touched = mask_of(1).astype(bool)
    first = store.add_correction(
        project, case.id, mask_of(1), annotator="anna",
        proposal=proposed.id, touched=touched,
    )  # fmt: skip
    second = store.add_correction(
        project, case.id, mask_of(1, 1, 7), annotator="anna", parent=first.id
    )
    assert [one.version for one in store.corrections_of(project, case.id)] == [1, 2]
    assert {one.name: (one.voxels, one.changed) for one in first.classes} == {
        "anterior": (6, 0),
        "posterior": (0, 6),
    }
    assert (first.voxels, second.voxels) == (6, 12)
    assert not second.beside
    np.testing.assert_array_equal(store.read_touched(project, first), touched)
    np.testing.assert_array_equal(store.read_correction(project, first), mask_of(1))
    assert store.newest_correction(project, case.id) == second


def test_two_annotators_lose_nothing(
    project: Project, case: Case, mask_of: Masks
) -> None:
    base = store.add_correction(project, case.id, mask_of(1), annotator="anna")
    hers = store.add_correction(
        project, case.id, mask_of(7), annotator="anna", parent=base.id
    )
    his = store.add_correction(
        project, case.id, mask_of(1, 7), annotator="bo", parent=base.id
    )
    assert not hers.beside
    assert his.beside
    for one, mask in ((hers, mask_of(7)), (his, mask_of(1, 7))):
        np.testing.assert_array_equal(store.read_correction(project, one), mask)


def test_no_work_is_refused_for_a_value_without_a_label(
    project: Project, case: Case, mask_of: Masks
) -> None:
    made = store.add_correction(project, case.id, mask_of(5), annotator="anna")
    assert [one.name for one in made.classes] == ["label 5"]
    table = store.label_table(project)
    assert table is not None
    assert table.names[-1] == "label 5"


def test_a_mask_of_another_shape_is_refused(project: Project, case: Case) -> None:
    with pytest.raises(UserError, match="not on the grid"):
        store.add_correction(
            project, case.id, np.zeros((2, 2, 2), np.uint8), annotator="anna"
        )
    assert not project.masks.exists()


def test_work_on_what_is_lost_is_saved_all_the_same(
    project: Project, case: Case, mask_of: Masks
) -> None:
    base = store.add_correction(project, case.id, mask_of(1), annotator="anna")
    base.file.unlink()
    after = store.add_correction(
        project, case.id, mask_of(1), annotator="anna", parent=base.id
    )
    assert after.voxels == 6
    *_, entry = store.audit(project)
    assert "lost" in entry.details["against"]


# --- reviews, leases, the list and the log


def test_two_readers_have_reviews_of_their_own(
    project: Project, case: Case, mask_of: Masks
) -> None:
    assert store.review_of(project, case.id).state is State.NOT_STARTED
    made = store.add_correction(project, case.id, mask_of(1), annotator="anna")
    store.set_review(
        project, case.id, State.FLAGGED, reviewer="anna", comment="Mrs Doe?"
    )
    store.set_review(project, case.id, State.DONE, reviewer="bo", role=Role.SECOND)
    store.set_review(project, case.id, State.DONE, reviewer="anna")
    first = store.review_of(project, case.id)
    assert (first.state, first.comment) == (State.DONE, "Mrs Doe?")
    assert first.correction == made.id
    assert store.review_of(project, case.id, Role.SECOND).reviewer == "bo"
    (line,) = store.list_cases(project).lines
    assert (line.reviewer, line.second_reader) == ("anna", "bo")


def test_slices_are_ticked_off(project: Project, case: Case) -> None:
    store.tick_slices(project, case.id, [1, 2, 2, 5], annotator="anna")
    store.tick_slices(project, case.id, [2, 3], annotator="bo")
    store.tick_slices(project, case.id, [8], annotator="bo", axis=2)
    assert store.seen_slices(project, case.id) == (1, 2, 3, 5)
    assert store.seen_slices(project, case.id, annotator="bo") == (2, 3)
    store.tick_slices(project, case.id, [2], annotator="bo", seen=False)
    assert store.seen_slices(project, case.id) == (1, 2, 3, 5)
    assert store.seen_slices(project, case.id, annotator="bo") == (3,)
    with pytest.raises(UserError, match="of 0 to 5"):
        store.tick_slices(project, case.id, [6], annotator="anna")


def test_a_leased_case_is_somebody_elses(
    project: Project, case: Case, clock: Any
) -> None:
    store.take_lease(project, case.id, annotator="anna", seconds=60)
    with pytest.raises(store.Leased, match="anna works on this case"):
        store.take_lease(project, case.id, annotator="bo")
    clock.seconds += 50
    store.take_lease(project, case.id, annotator="anna", seconds=60)
    clock.seconds += 50
    with pytest.raises(store.Leased):
        store.take_lease(project, case.id, annotator="bo")
    assert store.list_cases(project).lines[0].holder == "anna"
    clock.seconds += 20
    assert store.list_cases(project).lines[0].holder == ""
    assert store.take_lease(project, case.id, annotator="bo").annotator == "bo"
    store.release_lease(project, case.id, annotator="anna")
    held = store.holder_of(project, case.id)
    assert held is not None
    assert held.annotator == "bo"
    store.release_lease(project, case.id, annotator="bo")
    assert store.holder_of(project, case.id) is None


def test_a_lease_ends_though_the_clock_went_back(
    project: Project, case: Case, clock: Any
) -> None:
    store.take_lease(project, case.id, annotator="anna", seconds=60)
    clock.seconds -= 86_400
    with pytest.raises(store.Leased):
        store.take_lease(project, case.id, annotator="bo")
    clock.seconds += 61
    assert store.take_lease(project, case.id, annotator="bo").annotator == "bo"


def test_order_outlives_a_clock_that_goes_back(
    project: Project, case: Case, clock: Any, mask_of: Masks
) -> None:
    for value in (1, 7):
        store.add_correction(project, case.id, mask_of(value), annotator="anna")
        store.set_label(
            project, case.id, "anterior",
            PRESENT if value == 7 else ABSENT, annotator="anna",
        )  # fmt: skip
        clock.seconds -= 3600
    newest = store.newest_correction(project, case.id)
    assert newest is not None
    np.testing.assert_array_equal(store.read_correction(project, newest), mask_of(7))
    assert store.image_labels_of(project, case.id)["anterior"] is PRESENT
    ids = [entry.id for entry in store.audit(project)]
    assert ids == sorted(ids)


def test_the_list_is_paged_sorted_and_sifted(
    project: Project, tmp_path: Path, write_image: Images, clock: Any
) -> None:
    for index, name in enumerate(("b10", "a", "B", "c%")):
        clock.seconds += 1
        path = write_image(tmp_path / f"{index}.nii.gz", index)
        store.add_case(project, path, annotator="anna", name=name)

    def names(**how: Any) -> list[str]:
        return [line.name for line in store.list_cases(project, **how).lines]

    assert names() == ["B", "a", "b10", "c%"]
    assert names(order="added", descending=True) == ["c%", "B", "a", "b10"]
    assert names(offset=1, limit=2) == ["a", "b10"]
    assert names(search="b") == ["B", "b10"]
    assert names(search="%") == ["c%"]
    case = store.find_case(project, "a")
    store.set_review(project, case.id, State.FLAGGED, reviewer="anna")
    store.set_label(project, case.id, "anterior", PRESENT, annotator="anna")
    assert names(state=State.FLAGGED) == names(label="anterior") == ["a"]
    assert names(order="state") == ["a", "B", "b10", "c%"]
    assert store.list_cases(project, state=State.NOT_STARTED, limit=1).total == 3
    assert store.state_counts(project)[State.NOT_STARTED] == 3
    with pytest.raises(UserError, match="sort by one of"):
        names(order="colour")


def test_the_log_tells_who_did_what_and_names_no_patient(
    project: Project, image: Path, proposal: Proposal, mask_of: Masks
) -> None:
    case = store.add_case(project, image, annotator="anna")
    assert case.name == "Doe_Jane_1970"
    proposed = store.add_proposal(project, case.id, proposal, annotator="anna")
    store.add_correction(
        project, case.id, mask_of(1), annotator="bo", proposal=proposed.id
    )
    store.set_label(project, case.id, "anterior", PRESENT, annotator="bo")
    store.set_review(project, case.id, State.DONE, reviewer="bo", comment="Mrs Doe")
    store.add_note(project, "bo", "advice", case_id=case.id, details={"followed": True})
    entries = list(store.audit(project))
    told = {entry.action: entry for entry in entries}
    assert list(told) == [
        "create", "add", "propose", "correct", "label", "review", "advice",
    ]  # fmt: skip
    made = told["propose"]
    assert (made.who, made.seed, made.model_id) == ("anna", 3, "hippocampus-mri")
    assert (made.model_version, made.model_sha256) == ("1.0", "ab" * 32)
    assert told["correct"].voxels == 6
    assert [*store.audit(project, case_id=case.id, since=made.id)] == entries[3:]
    assert "Doe" not in repr(entries)
    files = [path.name for path in project.folder.rglob("*")]
    assert not [name for name in files if "Doe" in name]


def test_a_training_run_begins_and_ends(project: Project, case: Case) -> None:
    model = ("hippocampus-mri", "1.0", "ab" * 32)
    begun = store.begin_run(
        project, model=model, settings={"seed": 5}, cases=[case.id], annotator="anna"
    )
    assert store.training_runs(project) == (begun,)
    ended = store.end_run(project, begun.id, "refused", {"anterior": -0.2})
    assert (ended.state, ended.result) == ("refused", {"anterior": -0.2})
    with pytest.raises(UserError, match="under way"):
        store.end_run(project, begun.id, "kept", {})
    assert [entry.action for entry in store.audit(project)][-2:] == ["train", "refused"]
