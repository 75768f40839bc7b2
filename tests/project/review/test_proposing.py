"""A model proposes for a project: labels used, cases skipped, others refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffseg.domain import Presence, Proposal, Request
from diffseg.progress import Progress, Work, run
from diffseg.project import review, store
from diffseg.project.store import Project

Make = Callable[..., Proposal]


class Fake:
    """A segmenter that remembers what it was asked."""

    def __init__(self, make: Make, capabilities: set[str] | None = None) -> None:
        uses = {"labels"} if capabilities is None else capabilities
        self.make, self.asked = make, list[Request]()
        self.closed = 0
        self.card: Any = SimpleNamespace(
            id="m", version="1", sha256="ab" * 32, labels=make().labels,
            capabilities=frozenset(uses),
        )  # fmt: skip

    def iter_propose(self, request: Request) -> Work[Proposal]:
        self.asked.append(request)
        try:
            yield Progress("sample", 1, 2, "inside")
        except GeneratorExit:
            self.closed += 1
            raise
        made = replace(self.make(0.8, seed=request.seed), source=request.volume.source)
        provenance = replace(made.provenance, members=request.members or 4)
        return replace(made, provenance=provenance)


def cases(study: Project) -> list[store.Case]:
    lines = store.list_cases(study).lines
    return [store.case_of(study, line.id) for line in lines]


def propose(study: Project, fake: Any, **wish: Any) -> review.Proposed:
    return run(
        review.propose_cases(
            study, fake, cases(study), annotator="anna", wish=review.Wish(**wish)
        )
    )


def test_image_level_labels_are_used_and_others_told(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    said = {
        "anterior": Presence.ABSENT,
        "posterior": Presence.UNKNOWN,
        "cyst": Presence.PRESENT,
    }
    store.set_labels(study, ids["a"], said, annotator="anna", new=True)
    fake = Fake(make)
    done = propose(study, fake, seed=7, members=2)
    asked = {request.volume.name: request for request in fake.asked}
    assert dict(asked["a"].labels) == {"anterior": Presence.ABSENT}
    assert dict(asked["b"].labels) == {}
    assert (asked["b"].seed, asked["b"].members, asked["b"].steps) == (7, 2, None)
    assert asked["b"].keep_members
    assert done.notes == ("a: cyst not used: model m has no such structure",)
    stored = store.proposals_of(study, ids["a"])[-1]
    assert (stored.model_id, stored.model_version, stored.seed) == ("m", "1", 7)
    assert stored.model_sha256 == "ab" * 32
    blind = Fake(make, set())
    done = propose(study, blind, seed=8)
    assert dict(blind.asked[0].labels) == {}
    assert "does not use image-level labels" in done.notes[0]


def test_what_was_said_of_slices_reaches_a_model_that_hears_it(
    study: Project, ids: dict[str, str], make: Make
) -> None:
    store.set_label(
        study, ids["a"], "posterior", Presence.PRESENT, annotator="anna", slices=(2, 4)
    )
    fake = Fake(make, {"labels", "slice_labels"})
    propose(study, fake)
    asked = {request.volume.name: request.slice_labels for request in fake.asked}
    assert asked["a"] is not None
    assert asked["a"].names == ("anterior", "posterior")
    assert asked["a"].of("posterior").tolist() == [0, 0, 1, 1, 0, 0]
    assert asked["b"] is None
    deaf = Fake(make)
    propose(study, deaf, seed=8)
    assert all(request.slice_labels is None for request in deaf.asked)


def test_what_was_proposed_is_skipped_and_the_rest_goes_on(
    study: Project, make: Make
) -> None:
    fake = Fake(make)
    work = review.propose_cases(study, fake, cases(study), annotator="anna")  # type: ignore[arg-type]
    said = [next(work) for _ in range(3)]
    assert [one.message for one in said] == ["a (1 of 4)", "b (2 of 4)", "c (3 of 4)"]
    work.close()
    assert fake.closed == 1
    again = Fake(make)
    done = propose(study, again)
    assert done.skipped == ("a", "b")
    assert [request.volume.name for request in again.asked] == ["c", "d"]
    assert len(propose(study, Fake(make)).skipped) == 4
    assert len(propose(study, Fake(make), seed=1).made) == 4
    assert len(propose(study, Fake(make), members=4).skipped) == 4
    assert len(propose(study, Fake(make), members=2).made) == 4
    assert len(propose(study, Fake(make), again=True).made) == 4
    newer = Fake(make)
    newer.card.version = "2"
    assert len(propose(study, newer).made) == 4


def test_a_case_that_cannot_be_used_does_not_end_the_others(
    study: Project, make: Make, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    write_image(tmp_path / "b.nii.gz", 9)
    (tmp_path / "c.nii.gz").unlink()
    done = propose(study, Fake(make))
    assert list(done.refused) == ["b", "c"]
    assert "has changed since" in done.refused["b"]
    assert "is not there" in done.refused["c"]
    assert len(done.made) == 2


def test_a_calibration_is_kept_with_the_proposal(study: Project, make: Make) -> None:
    class Calibrated(Fake):
        def iter_propose(self, request: Request) -> Work[Proposal]:
            made = yield from super().iter_propose(request)
            model = {**made.provenance.model, "calibration": {"words": "temperature"}}
            return replace(made, provenance=replace(made.provenance, model=model))

    (first, *_) = propose(study, Calibrated(make)).made
    assert store.provenance_of(first).model["calibration"] == {"words": "temperature"}
