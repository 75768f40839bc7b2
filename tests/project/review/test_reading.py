"""Advice and whether it was followed; a second reading, and how far both agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from diffseg.domain import Presence, Proposal
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.project import review, store
from diffseg.project.store import Project, Role, State

Make = Callable[..., Proposal]


def read_twice(
    study: Project, case: str, second: np.ndarray, first: np.ndarray
) -> None:
    """Anna reads a case, then bo does."""
    store.add_correction(study, case, first, annotator="anna")
    store.set_review(study, case, State.DONE, reviewer="anna")
    review.begin_second_reading(study, case, annotator="bo")
    store.add_correction(study, case, second, annotator="bo", role=Role.SECOND)
    store.set_review(study, case, State.DONE, reviewer="bo", role=Role.SECOND)


def block(value: int, start: int, stop: int) -> np.ndarray:
    mask = np.zeros((6, 8, 10), np.uint8)
    mask[2, 3, start:stop] = value
    return mask


def test_advice_leads_through_a_case_and_to_the_next(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    for name, sure in (("a", 0.9), ("b", 0.6)):
        store.add_proposal(study, ids[name], make(sure), annotator="anna")
    found = review.advise(study, annotator="anna", strategy="expected_dice", seed=4)
    assert found == review.Advice(ids["b"], 1, "expected_dice", 4)
    store.tick_slices(study, ids["b"], [1], annotator="anna")
    found = review.advise(
        study, annotator="anna", case_id=ids["b"], strategy="expected_dice"
    )
    assert found == review.Advice(ids["b"], 2, "wrong", 0)
    store.tick_slices(study, ids["b"], [2], annotator="anna")
    found = review.advise(
        study, annotator="anna", case_id=ids["b"], strategy="expected_dice"
    )
    assert found == review.Advice(ids["a"], 1, "expected_dice", 0)
    entry = list(store.audit(study))[-1]
    assert (entry.who, entry.action, entry.case_id) == ("anna", "advise", ids["a"])
    assert entry.details == {"slice": 1, "strategy": "expected_dice", "seed": 0}


def test_nobody_is_sent_to_a_case_that_is_held_and_none_at_the_end(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    store.add_proposal(study, ids["a"], make(0.6), annotator="anna")
    store.take_lease(study, ids["a"], annotator="bo")
    found = review.advise(study, annotator="anna", strategy="entropy")
    assert found is not None
    assert (found.case_id, found.slice) == (ids["b"], None)
    for name in "bcd":
        store.set_review(study, ids[name], State.DONE, reviewer="anna")
    assert review.advise(study, annotator="anna") is None
    assert review.advise(study, annotator="bo") is not None


def test_whether_advice_was_followed_is_counted(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    for name, sure in (("a", 0.9), ("b", 0.6)):
        store.add_proposal(study, ids[name], make(sure), annotator="anna")
    assert review.followed(study) == {}

    def advised() -> review.Advice:
        found = review.advise(study, annotator="anna", strategy="entropy")
        assert found is not None
        return found

    first = advised()
    review.went_to(study, first.case_id, first.slice, annotator="anna")  # followed
    first = advised()
    review.went_to(study, first.case_id, 5, annotator="anna")  # another slice
    review.went_to(study, first.case_id, first.slice, annotator="anna")  # too late
    advised()
    advised()  # replaces the one before
    review.went_to(study, ids["c"], annotator="bo")  # somebody else
    store.set_label(study, ids["a"], "anterior", Presence.PRESENT, annotator="anna")
    first = advised()
    store.set_review(study, first.case_id, State.IN_PROGRESS, reviewer="anna")
    counts = review.followed(study)
    assert counts == {"entropy": review.Followed(given=5, answered=4, followed=2)}
    assert counts["entropy"].share == 0.5
    assert review.followed(study, annotator="bo") == {}


def test_the_second_reading_is_blind_until_it_is_done(
    study: Project, ids: dict[str, str]
) -> None:
    case = ids["a"]
    with pytest.raises(UserError, match="first reading is not done"):
        review.begin_second_reading(study, case, annotator="bo")
    first = store.add_correction(study, case, block(1, 0, 4), annotator="anna")
    store.set_review(study, case, State.DONE, reviewer="anna", comment="hard")
    with pytest.raises(UserError, match="anna has read this case before"):
        review.begin_second_reading(study, case, annotator="anna")
    review.begin_second_reading(study, case, annotator="bo")
    with pytest.raises(UserError, match="bo reads this case a second time"):
        review.begin_second_reading(study, case, annotator="cy")
    assert review.role_of(study, case, "bo") is Role.SECOND
    assert review.role_of(study, case, "anna") is Role.FIRST
    assert review.visible_corrections(study, case, annotator="bo") == ()
    second = store.add_correction(
        study, case, block(1, 2, 6), annotator="bo", role=Role.SECOND
    )
    assert not second.beside
    third = store.add_correction(
        study, case, block(1, 0, 5), annotator="anna", parent=first.id
    )
    assert not third.beside  # the second reading is none beside it
    assert review.visible_corrections(study, case, annotator="bo") == (second,)
    seen = review.visible_corrections(study, case, annotator="anna")
    assert [one.id for one in seen] == [first.id, third.id]
    newest = store.newest_correction(study, case)
    assert newest is not None
    assert newest.id == third.id
    told = store.set_review(study, case, State.DONE, reviewer="bo", role=Role.SECOND)
    assert told.correction == second.id
    for who in ("anna", "bo", "cy"):
        assert len(review.visible_corrections(study, case, annotator=who)) == 3


def test_a_second_reading_never_becomes_the_cases_mask(
    study: Project, ids: dict[str, str]
) -> None:
    read_twice(study, ids["a"], first=block(1, 0, 4), second=block(1, 2, 6))
    case = store.case_of(study, ids["a"])
    (given,) = store.export_cases(study, [case])
    np.testing.assert_array_equal(given.mask, block(1, 0, 4))
    store.set_review(study, ids["b"], State.IN_PROGRESS, reviewer="bo")
    store.add_correction(
        study, ids["b"], block(1, 0, 1), annotator="bo", role=Role.SECOND
    )
    assert not store.has_mask(study, store.case_of(study, ids["b"]))


def test_agreement_by_hand(study: Project, ids: dict[str, str]) -> None:
    read_twice(study, ids["a"], first=block(1, 0, 4), second=block(1, 2, 6))
    read_twice(study, ids["b"], first=block(7, 0, 2), second=block(7, 0, 2))
    store.set_review(study, ids["c"], State.DONE, reviewer="anna")
    report = run(review.agreement(study))
    a, b = report.cases
    assert (a.name, a.first, a.second, a.differing) == ("a", "anna", "bo", 4)
    one = a.structures["anterior"]
    assert (one.dice, one.first, one.second) == (0.5, 4, 4)
    # Rows of four voxels of 1 mm, shifted by two: distances 2, 1, 0, 0 each way.
    assert one.hd95_mm == pytest.approx(2.0)
    assert a.structures["posterior"].dice == 1  # both lack it
    assert a.structures["posterior"].hd95_mm is None
    assert b.structures["posterior"].dice == 1
    assert b.structures["posterior"].hd95_mm == 0
    pooled = report.pooled["anterior"]
    assert (pooled.cases, pooled.dice, pooled.dice_mean) == (2, 0.5, 0.75)
    assert (pooled.hd95_mm_mean, pooled.hd95_cases) == (pytest.approx(2.0), 1)
    only = run(review.agreement(study, [ids["b"]]))
    assert [case.name for case in only.cases] == ["b"]
    assert only.pooled["posterior"].dice == 1
    with pytest.raises(UserError, match=r"'c'.*second reading is not done"):
        run(review.agreement(study, [ids["c"]]))


def test_a_reading_without_a_correction_accepts_the_proposal(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    proposal = make(0.9)
    store.add_proposal(study, ids["a"], proposal, annotator="anna")
    store.set_review(study, ids["a"], State.DONE, reviewer="anna")
    review.begin_second_reading(study, ids["a"], annotator="bo")
    store.set_review(study, ids["a"], State.DONE, reviewer="bo", role=Role.SECOND)
    masks = review.readings(study, store.case_of(study, ids["a"]))
    for mask in masks:
        np.testing.assert_array_equal(mask, proposal.mask)


def test_a_consensus_is_saved_as_the_newest_version(
    study: Project, ids: dict[str, str]
) -> None:
    first, second = block(1, 0, 4), block(1, 2, 6)
    read_twice(study, ids["a"], first=first, second=second)
    saved = review.save_consensus(study, ids["a"], annotator="cy", method="majority")
    assert saved.version == 3
    assert not saved.beside
    mask = store.read_correction(study, saved)
    np.testing.assert_array_equal(mask, block(1, 2, 4))  # what both drew
    with pytest.raises(UserError, match="no consensus 'vote'"):
        review.save_consensus(
            study,
            ids["a"],
            annotator="cy",
            method="vote",  # type: ignore[arg-type]
        )


def test_a_consensus_of_three_readings(study: Project) -> None:
    table = store.label_table(study)
    assert table is not None
    masks = [block(7, 0, 4), block(7, 1, 5), block(7, 1, 4)]
    for method in review.METHODS:
        found = review.agreed_mask(masks, table, method)
        np.testing.assert_array_equal(found, block(7, 1, 4))
    for method in review.METHODS:
        np.testing.assert_array_equal(
            review.agreed_mask([block(7, 0, 3)], table, method), block(7, 0, 3)
        )
