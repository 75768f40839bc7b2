"""From a request to a proposal, whatever the method: only the drawing differs."""

from __future__ import annotations

import time
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Proposal, Provenance, Request
from diffseg.ensemble import Accumulator, EnsembleSummary, forbid
from diffseg.errors import DiffsegError
from diffseg.progress import Progress, Work
from diffseg.segmenters.checks import absent_classes, check_request, missed_labels
from diffseg.segmenters.composing import Answer, compose, in_values, on_grid
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.preparation import Prepared, frame_of, prepare, restore
from diffseg.segmenters.regions import Place, places


class MemberSource(Protocol):
    """Draws members of an ensemble for a prepared image."""

    def __call__(
        self, image: Floats, *, members: int, steps: int, seed: int
    ) -> Iterator[Floats]:
        """Yield each member's class probabilities, in order of member index.

        Parameters
        ----------
        image : (C, Z, Y, X) float32 ndarray

        Yields
        ------
        (K, Z, Y, X) float32 ndarray in [0, 1], background first, summing to 1.
        """


@dataclass(frozen=True, slots=True)
class Host:
    """Where a method runs, and how long its model took to load."""

    device: str
    threads: int
    load_seconds: float = 0.0


@dataclass(slots=True)
class _Clock:
    """Seconds spent so far in each stage."""

    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("load", "prepare", "sample", "write"), 0.0
        )
    )

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class _Plan:
    """The request with the card's defaults filled in."""

    card: ModelCard
    request: Request
    members: int
    steps: int
    absent: tuple[int, ...]


def iter_propose_with(
    card: ModelCard, draw: MemberSource, request: Request, host: Host
) -> Work[Proposal]:
    """Answer `request` with members from `draw`, piece by piece.

    Regions are handled one after another, so that a whole head never exists as
    members x classes x voxels. Closing the generator cancels; nothing is written.

    Parameters
    ----------
    card : ModelCard
    draw : MemberSource
    request : Request
    host : Host

    Yields
    ------
    Progress
        Stages ``prepare`` (regions) and ``sample`` (members over all regions).

    Returns
    -------
    Proposal

    Raises
    ------
    UserError
        The request does not fit the model, or no region was found.
    """
    clock = _Clock()
    yield Progress("prepare", message=request.volume.name)
    with clock.stage("load"):
        voxels = request.volume.data
    with clock.stage("prepare"):
        warnings = [*request.volume.warnings, *check_request(card, request)]
        looked_at, doubts = places(card, request)
    warnings += doubts
    plan = _plan(card, request)
    total = plan.members * len(looked_at)
    answers: list[Answer] = []
    for index, place in enumerate(looked_at):
        yield Progress("prepare", index, len(looked_at), place.name)
        with clock.stage("prepare"):
            prepared = _prepared(plan, place, voxels)
        warnings += prepared.warnings
        yield Progress("sample", index * plan.members, total, place.name)
        summary = yield from _sampled(
            plan, place, prepared, draw, clock, index * plan.members, total
        )
        answers.append(Answer(place, summary))
    with clock.stage("sample"):
        proposal = _proposal(plan, answers, host, warnings)
    clock.seconds["load"] += host.load_seconds
    provenance = replace(proposal.provenance, seconds=clock.seconds)
    return replace(proposal, provenance=provenance)


def seed_of(seed: int, place: Place) -> int:
    """Seed of one place: it depends on the place's name, not on its position.

    So the order of the regions, and the way an image is stored, change nothing.
    """
    words = np.random.SeedSequence([seed, zlib.crc32(place.name.encode())])
    return int(words.generate_state(1)[0])


def _plan(card: ModelCard, request: Request) -> _Plan:
    sampling = card.sampling
    return _Plan(
        card,
        request,
        sampling.members if request.members is None else request.members,
        sampling.steps if request.steps is None else request.steps,
        absent_classes(card, request),
    )


def _prepared(plan: _Plan, place: Place, voxels: NDArray[Any]) -> Prepared:
    preparation = plan.card.preparation
    frame = frame_of(plan.request.volume.grid, place.region, preparation)
    name = f"{plan.request.volume.name} ({place.name})"
    return prepare(voxels, frame, preparation.intensity, name=name)


def _sampled(
    plan: _Plan,
    place: Place,
    prepared: Prepared,
    draw: MemberSource,
    clock: _Clock,
    done: int,
    total: int,
) -> Work[EnsembleSummary]:
    """Draw the members of one place and bring each back to the source's voxels."""
    n_classes = len(plan.card.labels) + 1
    accumulator = Accumulator(n_classes, place.region.shape)
    expected = (n_classes, *prepared.image.shape[1:])
    seed = seed_of(plan.request.seed, place)
    drawn = draw(prepared.image, members=plan.members, steps=plan.steps, seed=seed)
    try:
        while True:
            with clock.stage("sample"):
                member = next(drawn, None)
                if member is None:
                    break
                if member.shape != expected:
                    raise DiffsegError(
                        f"method {plan.card.method} drew a member of shape "
                        f"{member.shape} instead of {expected}"
                    )
                accumulator.add(forbid(restore(member, prepared.frame), plan.absent))
            yield Progress("sample", done + accumulator.members, total, place.name)
    finally:
        close = getattr(drawn, "close", None)
        if close is not None:  # frees what a half-drawn ensemble holds
            close()
    if accumulator.members != plan.members:
        raise DiffsegError(
            f"method {plan.card.method} drew {accumulator.members} members "
            f"instead of {plan.members}"
        )
    with clock.stage("sample"):
        return accumulator.summary()


def _proposal(
    plan: _Plan, answers: Sequence[Answer], host: Host, warnings: Sequence[str]
) -> Proposal:
    request, table = plan.request, plan.card.labels
    grid = request.volume.grid
    composed = compose(answers, grid)
    structures = composed.structures(table, grid.voxel_ml)
    missed = missed_labels(request, {one.name: one.voxels for one in structures})
    members = None
    if request.keep_members:
        full = on_grid(composed.member_classes, composed.union, grid.shape)
        members = in_values(full, table)
    return Proposal(
        mask=in_values(composed.classes, table),
        probability=composed.probability,
        uncertainty=composed.uncertainty,
        labels=table,
        grid=grid,
        source=request.volume.source,
        provenance=_provenance(plan, host),
        structures=structures,
        regions=tuple(
            composed.region_report(one.place, table, grid.voxel_ml) for one in answers
        ),
        mutual_information_mean=composed.mutual_information_mean,
        members=members,
        warnings=(*warnings, *missed),
    )


def _provenance(plan: _Plan, host: Host) -> Provenance:
    card = plan.card
    model = {
        "id": card.id,
        "version": card.version,
        "sha256": card.sha256,
        "licence": card.licence,
        "calibration": card.calibration,
    }
    return Provenance(
        model=model,
        seed=plan.request.seed,
        members=plan.members,
        steps=plan.steps,
        device=host.device,
        threads=host.threads,
        seconds={},
    )
