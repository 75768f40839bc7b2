"""From one doubtful place to the next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffseg.domain import Region, RegionReport
from diffseg.engine.events import Finished
from diffseg.volume import Affine, Volume, write_mask

SHAPE = (20, 30, 40)


def doubtful(window: Any, card: Any, propose: Any) -> Any:
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:15, 5:25, 5:15] = 1
    mask[5:15, 5:25, 20:35] = 2
    uncertainty = np.zeros(SHAPE, np.float32)
    uncertainty[9:12, 4:7, 9:12] = 0.9
    uncertainty[4:7, 23:26, 26:29] = 0.6
    uncertainty[17:20, 0:3, 37:40] = 0.5
    proposal = propose(window.case, mask, card, uncertainty=uncertainty)
    proposal.probability[1, 17:20, 0:3, 37:40] = 0.4
    proposal.probability[1, 4:7, 23:26, 26:29] = 0.4
    return proposal


@pytest.fixture
def proposed(window: Any, tmp_path: Path, card: Any, propose: Any) -> Any:
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.uint8)
    volume = Volume.from_array(voxels, Affine.identity())
    path = write_mask(tmp_path / "big.nii.gz", voxels, volume.grid, volume.source)
    window.desk.open(str(path))
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(doubtful(window, card, propose)))
    return window


def shown(window: Any) -> tuple[Any, int, int, int]:
    place, index, total, seen, *_ = window.views.review.last("show_place")
    return place, index, total, seen


def told(window: Any) -> tuple[bool, str]:
    """Whether the place at hand was accepted, and why there is none."""
    return window.views.review.last("show_place")[4:]


def again(window: Any, proposal: Any) -> None:
    window.views.propose.run_requested.emit()
    window.runner.tell(Finished(proposal))


def test_while_places_are_looked_for_it_says_so(
    proposed: Any, card: Any, propose: Any
) -> None:
    proposed.background.held = True
    again(proposed, doubtful(proposed, card, propose))
    proposed.background.go_on()  # compared with the mask, and taken in
    assert shown(proposed)[0] is None
    assert told(proposed) == (False, "Looking for doubtful places ...")
    proposed.background.go_on()
    assert shown(proposed)[2] == 3
    assert told(proposed) == (False, "")


def test_of_places_that_were_not_found_it_no_longer_says_that_it_looks(
    proposed: Any, card: Any, propose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("napari_diffseg.presenters.review.tour_of", fail)
    again(proposed, doubtful(proposed, card, propose))
    assert "doubtful places were not found" in proposed.troubles[-1]
    assert told(proposed) == (False, "")


def test_places_are_told_in_words(proposed: Any) -> None:
    place, index, total, seen = shown(proposed)
    assert (index, total, seen) == (0, 3, 0)
    assert place.reason == (
        "members disagree at the border of anterior, 0.027 ml in doubt"
    )
    assert place.structure == "anterior"
    # Moved once at most: to what was proposed, as nothing of it was in sight.
    assert len(proposed.canvas.all("go_to")) <= 1
    reasons = set()
    for _ in range(3):
        proposed.views.review.next_requested.emit()
        reasons.add(shown(proposed)[0].reason.split(",")[0])
    assert "some members see posterior here" in reasons


def test_next_starts_at_the_first_and_goes_round(proposed: Any) -> None:
    indices = []
    for _ in range(4):
        proposed.views.review.next_requested.emit()
        place, index, *_ = shown(proposed)
        assert proposed.canvas.last("go_to") == (proposed.case, place.center)
        indices.append(index)
    assert indices == [0, 1, 2, 0]
    proposed.views.review.previous_requested.emit()
    assert shown(proposed)[1] == 2


def test_accepting_goes_on_to_what_is_open(proposed: Any) -> None:
    proposed.views.review.accept_requested.emit()  # looks first
    assert proposed.case.accepted == ()
    first = shown(proposed)[0].center
    proposed.views.review.accept_requested.emit()
    assert proposed.case.accepted == (first,)
    assert shown(proposed)[1:] == (1, 3, 1)
    proposed.views.review.accept_requested.emit()
    proposed.views.review.accept_requested.emit()
    assert len(proposed.case.accepted) == 3
    assert shown(proposed)[3] == 3
    assert shown(proposed)[0] is None  # at the end
    count = len(proposed.canvas.all("go_to"))
    proposed.views.review.next_requested.emit()
    assert len(proposed.canvas.all("go_to")) == count
    proposed.views.review.previous_requested.emit()  # to see one again
    assert shown(proposed)[0] is not None
    assert told(proposed)[0]


def test_next_passes_what_was_accepted(proposed: Any) -> None:
    review = proposed.views.review
    for intent in ("next", "next", "accept"):
        getattr(review, f"{intent}_requested").emit()
    assert shown(proposed)[1:] == (2, 3, 1)
    review.next_requested.emit()
    assert shown(proposed)[1] == 0
    review.next_requested.emit()
    assert shown(proposed)[1] == 2


def test_the_same_proposal_again_forgets_nothing(
    proposed: Any, card: Any, propose: Any
) -> None:
    proposed.views.review.accept_requested.emit()
    proposed.views.review.accept_requested.emit()
    again(proposed, doubtful(proposed, card, propose))
    assert len(proposed.case.accepted) == 1
    assert shown(proposed)[3] == 1


def test_a_proposal_opens_again_where_it_changed_the_mask(
    proposed: Any, card: Any, propose: Any
) -> None:
    proposed.views.review.next_requested.emit()
    for _ in range(3):
        proposed.views.review.accept_requested.emit()
    places = set(proposed.case.accepted)
    center = next(one for one in places if one[0] in range(9, 12))
    other = doubtful(proposed, card, propose)
    other.mask[center] = 3 - other.mask[center]
    again(proposed, other)
    assert set(proposed.case.accepted) == places - {center}
    assert shown(proposed)[3] == 2


def test_what_a_person_draws_opens_nothing_again(
    proposed: Any, card: Any, propose: Any
) -> None:
    proposed.views.review.accept_requested.emit()
    proposed.views.review.accept_requested.emit()
    (center,) = proposed.case.accepted
    proposed.draw(center, 2)
    proposed.views.propose.answers["ask_replace"] = False
    again(proposed, doubtful(proposed, card, propose))
    assert proposed.case.accepted == (center,)


def test_places_stay_where_a_proposal_did_not_look(
    proposed: Any, card: Any, propose: Any
) -> None:
    before = [one.center for one in places_of(proposed)]
    part = doubtful(proposed, card, propose)
    part.uncertainty[8:] = 0
    box = ((0, 8), (0, 30), (0, 40))
    again(
        proposed, replace(part, regions=(RegionReport("region", box, "request", {}),))
    )
    assert {one.center for one in places_of(proposed)} == set(before)


def places_of(window: Any) -> list[Any]:
    """Every place, by going round once."""
    found = []
    for _ in range(shown(window)[2]):
        window.views.review.next_requested.emit()
        found.append(shown(window)[0])
    return found


def test_one_member_is_unsure_and_disagrees_with_nobody(
    proposed: Any, card: Any, propose: Any
) -> None:
    many = doubtful(proposed, card, propose)
    one = replace(many, provenance=replace(many.provenance, members=1))
    again(proposed, one)
    for place in places_of(proposed):
        assert "the model" in place.reason
        assert "members" not in place.reason


def test_no_doubt_and_no_finding_are_told(
    proposed: Any, card: Any, propose: Any
) -> None:
    sure = doubtful(proposed, card, propose)
    again(proposed, replace(sure, uncertainty=np.zeros(SHAPE, np.float32)))
    assert told(proposed)[1].startswith("No doubtful places")
    again(proposed, propose(proposed.case, np.zeros(SHAPE), card))
    assert told(proposed)[1].startswith("Nothing was found")


def test_the_strip_is_in_the_order_that_is_shown(proposed: Any) -> None:
    proposed.canvas.answers["slice_region"] = Region((6, 7), (0, 30), (0, 40))
    proposed.canvas.moved.emit()
    doubts, here, title, where, marks, seen = proposed.views.review.last("show_strip")
    assert (title, where) == ("doubt by axial slice", "S 6.0 mm")
    assert {index for index, _ in marks} == {2, 10, 15}
    assert not any(accepted for _, accepted in marks)
    assert seen == ()
    # RAS is shown from the head to the feet: plane 6 of 20 is shown as 13.
    assert proposed.case.display.turn.flips == (True, True, True)
    assert len(doubts) == 20
    assert here == 13
    assert doubts[here] > 0  # of planes 4 to 6
    assert doubts[6] == 0
    proposed.views.review.slice_chosen.emit(here)
    case, voxel = proposed.canvas.last("go_to")
    assert voxel[0] == 6
    assert case.proposal.uncertainty[voxel] == pytest.approx(0.6)
    before = len(proposed.canvas.all("go_to"))
    proposed.views.review.slice_chosen.emit(99)
    assert len(proposed.canvas.all("go_to")) == before


def test_the_strip_follows_the_plane(proposed: Any) -> None:
    proposed.canvas.answers["slice_region"] = Region((0, 20), (0, 30), (10, 11))
    proposed.canvas.moved.emit()
    doubts, here, title, *_ = proposed.views.review.last("show_strip")
    assert title == "doubt by sagittal slice"
    assert (len(doubts), here) == (40, 29)


def test_places_of_an_older_proposal_do_not_come_late(
    proposed: Any, card: Any, propose: Any
) -> None:
    proposed.background.held = True
    proposed.views.propose.run_requested.emit()
    proposed.runner.tell(Finished(doubtful(proposed, card, propose)))
    proposed.background.go_on()  # it is taken in; its places are still looked for
    proposed.views.propose.run_requested.emit()
    sure = propose(proposed.case, np.zeros(SHAPE), card)
    proposed.runner.tell(Finished(sure))
    proposed.background.held = False
    proposed.background.go_on()
    assert shown(proposed) == (None, 0, 0, 0)


def test_nothing_to_review(window: Any, image: Path) -> None:
    window.desk.open(str(image))
    assert shown(window) == (None, 0, 0, 0)
    for intent in ("next_requested", "previous_requested", "accept_requested"):
        getattr(window.views.review, intent).emit()
    assert not window.canvas.all("go_to")
    doubts, *_ = window.views.review.last("show_strip")
    assert len(doubts) == 0
