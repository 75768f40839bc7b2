"""The queue, its order, and the slices of a case: by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import delete

from diffseg.domain import Label, LabelTable, Proposal
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.project import review, store
from diffseg.project.review import strategies
from diffseg.project.store import Project, Role, State, schema, summaries

Make = Callable[..., Proposal]
SURE = {"a": 0.9, "b": 0.6, "c": 0.8}


@pytest.fixture
def proposed(study: Project, ids: dict[str, str], make: Make) -> Project:
    """Proposals for a, b and c; b is the least sure; none for d."""
    for name, sure in SURE.items():
        store.add_proposal(study, ids[name], make(sure), annotator="anna")
    return study


def names(made: review.Queue) -> list[str]:
    return [one.name for one in made.cases]


def test_the_least_sure_comes_first_and_the_unknown_last(proposed: Project) -> None:
    for strategy in ("expected_dice", "entropy"):
        made = review.queue(proposed, strategy=strategy)
        assert names(made) == ["b", "c", "a", "d"]
    assert made.total == 4
    first, last = made.cases[0], made.cases[-1]
    assert first.error is not None
    # Soft Dice of a mask of 0.6 everywhere is 2 * 0.6 / 1.6, nearly.
    assert first.error == pytest.approx(1 - 1.2 / 1.6, abs=0.02)
    assert set(first.errors) == {"anterior", "posterior"}
    assert first.entropy == pytest.approx(0.6 * 0.4, abs=1e-6)
    assert first.information is None  # no members were kept
    assert (last.proposal, last.error, last.errors) == (None, None, {})


@pytest.mark.parametrize("strategy", review.ORDERS)
def test_every_strategy_orders_all_cases_and_follows_from_its_seed(
    proposed: Project, strategy: str
) -> None:
    once = review.queue(proposed, strategy=strategy, seed=5)
    assert sorted(names(once)) == ["a", "b", "c", "d"]
    assert names(once)[-1] == "d"
    assert review.queue(proposed, strategy=strategy, seed=5) == once
    assert len(review.queue(proposed, strategy=strategy, limit=2).cases) == 2


def test_members_that_differ_come_first_by_information(
    proposed: Project, ids: dict[str, str], make: Make
) -> None:
    alike = make(0.9)
    differing = np.stack([alike.mask, np.zeros_like(alike.mask)])
    for name, members in (("a", differing), ("b", np.stack([alike.mask] * 2))):
        drawn = replace(alike, members=members)
        store.add_proposal(proposed, ids[name], drawn, annotator="anna")
    made = review.queue(proposed, strategy="information")
    assert names(made) == ["a", "b", "c", "d"]
    told = {one.name: one.information for one in made.cases}
    assert told["a"] == pytest.approx(np.log(2) / np.log(3))
    assert told["b"] == pytest.approx(0, abs=1e-12)
    assert told["c"] is None


def test_a_prediction_of_dice_is_preferred(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    from diffseg.domain import StructureReport

    def told(name: str, label: int, dice: float) -> StructureReport:
        return StructureReport(name, label, 24, None, None, None, None, dice, 0.0, 1.0)

    parts = (told("posterior", 7, 0.3), told("anterior", 1, 0.7))
    proposal = replace(make(0.9), structures=parts)
    stored = store.add_proposal(study, ids["a"], proposal, annotator="anna")
    (first, *_) = review.queue(study).cases
    assert first.errors == pytest.approx({"anterior": 0.3, "posterior": 0.7})
    assert store.measured(stored) == parts


def test_what_is_done_flagged_or_held_does_not_wait_in_front(
    proposed: Project, ids: dict[str, str]
) -> None:
    store.set_review(proposed, ids["b"], State.DONE, reviewer="anna")
    store.set_review(proposed, ids["d"], State.FLAGGED, reviewer="anna")
    store.take_lease(proposed, ids["c"], annotator="bo")
    made = review.queue(proposed, strategy="expected_dice", annotator="anna")
    assert names(made) == ["a", "c"]
    assert [one.holder for one in made.cases] == ["", "bo"]
    mine = review.queue(proposed, strategy="expected_dice", annotator="bo")
    assert names(mine) == ["c", "a"]
    asked = review.queue(proposed, states=[State.FLAGGED])
    assert names(asked) == ["d"]


def test_a_second_reader_gets_what_somebody_else_has_done(
    proposed: Project, ids: dict[str, str]
) -> None:
    for name, who in (("a", "anna"), ("b", "bo")):
        store.set_review(proposed, ids[name], State.DONE, reviewer=who)
    assert names(review.queue(proposed, role=Role.SECOND, annotator="bo")) == ["a"]
    both = review.queue(proposed, role=Role.SECOND, annotator="cy", strategy="entropy")
    assert names(both) == ["b", "a"]
    review.begin_second_reading(proposed, ids["b"], annotator="cy")
    assert names(review.queue(proposed, role=Role.SECOND, annotator="di")) == ["a"]
    again = review.queue(proposed, role=Role.SECOND, annotator="cy", strategy="entropy")
    assert names(again) == ["b", "a"]


def test_summaries_are_made_again_where_they_are_missing(proposed: Project) -> None:
    before = review.queue(proposed, strategy="expected_dice")
    with proposed.write() as db:
        db.execute(delete(schema.summaries))
    assert names(review.queue(proposed)) == ["a", "b", "c", "d"]  # nothing is known
    assert run(store.summarise(proposed)) == 3
    assert run(store.summarise(proposed)) == 0
    after = review.queue(proposed, strategy="expected_dice")
    assert names(after) == names(before)
    for one, other in zip(before.cases, after.cases, strict=True):
        assert one.error == pytest.approx(other.error)


def test_models_of_different_structures_share_a_queue(
    proposed: Project, ids: dict[str, str], make: Make
) -> None:
    table = LabelTable(
        labels=(Label(name="whole", value=9, color="#000000", code=None),)
    )
    some = make(0.55)
    other = replace(
        some, labels=table, mask=(some.mask > 0).astype(np.uint8) * 9,
        probability=some.probability.sum(0, keepdims=True),
    )  # fmt: skip
    store.add_proposal(proposed, ids["d"], other, annotator="anna")
    for strategy in review.ORDERS:
        assert sorted(names(review.queue(proposed, strategy=strategy))) == list("abcd")
    told = {one.name: one.errors for one in review.queue(proposed).cases}
    assert told["d"]["anterior"] == 0
    assert told["d"]["whole"] > 0.2
    assert told["b"]["whole"] == 0


def test_a_candidate_is_the_same_after_it_was_packed(make: Make) -> None:
    made = summaries.summary_of_proposal("c", make(0.7, planes=(0, 3, 5)))
    numbers = np.stack([summaries.packed(one) for one in made.slices])
    planes = [one.slice for one in made.slices]
    assert planes == [0, 3, 5]
    assert summaries.unpacked(["c"] * 3, numbers, planes) == made.slices


def test_the_noise_of_the_draw_decays(make: Make) -> None:
    """Early on the order varies with the seed, later it hardly does."""
    some = [
        summaries.summary_of_proposal(str(i), make(0.55 + i / 30)).whole
        for i in range(12)
    ]

    def firsts(taken: int) -> int:
        reviewed = [some[-1]] * taken
        drawn = [strategies.ordered(some, seed=i, taken=reviewed) for i in range(30)]
        return len({order[0] for order in drawn})

    assert firsts(0) > firsts(2000)


def test_an_unknown_strategy_is_refused(proposed: Project) -> None:
    with pytest.raises(UserError, match=r"'expected_dise'.*expected_dice"):
        review.queue(proposed, strategy="expected_dise")


def test_the_strip_tells_of_each_slice(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    proposal = make(0.9, planes=(1, 2, 4))
    proposal.probability[:, 2] *= np.float32(0.6 / 0.9)
    proposal.probability[1, 4] = 0
    proposal.mask[4, proposal.mask[4] == 7] = 0
    proposal.uncertainty[4] = np.where(proposal.mask[4] > 0, 0.05, 0)
    store.add_proposal(study, ids["a"], proposal, annotator="anna")
    store.tick_slices(study, ids["a"], [1], annotator="anna")
    strip = review.slice_strip(study, ids["a"], annotator="anna")
    assert strip is not None
    assert strip.error.shape == (6,)
    assert (strip.error[[0, 3, 5]] == 0).all()
    assert (strip.wrong[[0, 3, 5]] == 0).all()
    # 24 voxels of 0.6 and of 0.9: so many are expected to be wrong.
    np.testing.assert_allclose(strip.wrong[[1, 2, 4]], [2.4, 9.6, 1.2], rtol=1e-5)
    assert strip.error[2] > strip.error[1] > 0
    # In slice 4 only the anterior part is claimed: the other is no part of the mean.
    assert strip.errors[1, 4] == 0
    assert strip.error[4] == strip.errors[0, 4] == pytest.approx(strip.errors[0, 1])
    assert np.isnan(strip.information).all()
    assert strip.seen.tolist() == [False, True, False, False, False, False]
    everybody = review.slice_strip(study, ids["a"])
    assert everybody is not None
    assert everybody.seen[1]
    bo = review.slice_strip(study, ids["a"], annotator="bo")
    assert bo is not None
    assert not bo.seen.any()
    assert review.slice_strip(study, ids["b"]) is None


def test_the_next_slice_is_one_that_was_not_seen(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    proposal = make(0.9, planes=(1, 2, 4))
    proposal.probability[:, 2] *= np.float32(0.6 / 0.9)
    store.add_proposal(study, ids["a"], proposal, annotator="anna")
    visited = []
    while True:
        strip = review.slice_strip(study, ids["a"], annotator="anna")
        assert strip is not None
        index = review.next_slice(strip)
        if index is None:
            break
        visited.append(index)
        store.tick_slices(study, ids["a"], [index], annotator="anna")
    assert visited == [2, 1, 4]
    strip = review.slice_strip(study, ids["a"], annotator="bo")
    assert strip is not None
    assert review.next_slice(strip, least=5) == 2
    assert review.next_slice(strip, least=10) is None
    for strategy in review.ORDERS:
        assert review.next_slice(strip, strategy) in (1, 2, 4)
    assert review.next_slice(strip, "expected_dice") == 2


def test_slices_of_a_proposal_of_an_older_project_are_summed_up_anew(
    study: Project,
    ids: dict[str, str],
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = store.add_proposal(study, ids["a"], make(0.7), annotator="anna")
    known = review.slice_strip(study, ids["a"])
    assert known is not None
    assert "slices" in stored.files
    path = stored.files["slices"]
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match="changed outside"):
        review.slice_strip(study, ids["a"])
    from diffseg.project.store import proposals

    def without(*args: object) -> dict[str, object]:
        files = written(*args)
        return {name: one for name, one in files.items() if name != "slices"}

    written = proposals._write
    monkeypatch.setattr(proposals, "_write", without)
    store.add_proposal(study, ids["b"], make(0.7), annotator="anna")
    anew = review.slice_strip(study, ids["b"])
    assert anew is not None
    np.testing.assert_allclose(anew.wrong, known.wrong, rtol=1e-5)
    np.testing.assert_allclose(anew.errors, known.errors, rtol=1e-5)
