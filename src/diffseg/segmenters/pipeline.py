"""From a request to a proposal, whatever the method: only the drawing differs."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import ModelCard, Proposal, Provenance, Request
from diffseg.ensemble import EnsembleSummary
from diffseg.ensemble.calibration import Calibration
from diffseg.progress import Progress, Work
from diffseg.segmenters.calibrating import (
    calibration_warnings,
    card_calibration,
    predicted,
)
from diffseg.segmenters.checks import absent_classes, check_request, missed_labels
from diffseg.segmenters.clock import Clock
from diffseg.segmenters.composing import Answer, compose, in_values, on_grid
from diffseg.segmenters.gathering import Expected, Gathering, Pace, units_of
from diffseg.segmenters.preparation import (
    Frame,
    Prepared,
    frame_of,
    planes_of,
    prepare,
)
from diffseg.segmenters.regions import IMAGE, Place, places
from diffseg.segmenters.source import MEMORY, NOTICE, MemberSource, Slab, Step, drawn_of

_END = object()


@dataclass(frozen=True, slots=True)
class Host:
    """Where a method runs, and how long its model took to load."""

    device: str
    threads: int
    load_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """The request with the card's defaults filled in."""

    card: ModelCard
    request: Request
    members: int
    steps: int
    absent: tuple[int, ...]
    calibration: Calibration | None


@dataclass(slots=True)
class _Tour:
    """The way from place to place: how far it is, and what was noticed."""

    plan: _Plan
    clock: Clock
    warnings: list[str]
    total: int
    done: int = 0

    def progress(self, place: Place, here: Gathering) -> Progress:
        done, beyond = self.done + here.done, here.under_way
        return Progress("sample", done, self.total, place.name, beyond, here.told)

    def note(self, progress: Progress) -> None:
        if progress.stage in (MEMORY, NOTICE):
            self.warnings.append(progress.message)


def _tour(
    plan: _Plan, looked_at: Sequence[Place], clock: Clock, warnings: list[str]
) -> _Tour:
    framed = ((_frame(plan, place), place.region) for place in looked_at)
    units = sum(units_of(plan.card, planes_of(*one)) for one in framed)
    return _Tour(plan, clock, warnings, plan.members * units)


def iter_propose_with(
    card: ModelCard, draw: MemberSource, request: Request, host: Host
) -> Work[Proposal]:
    """Answer `request` with members from `draw`, piece by piece.

    Regions are handled one after another, so that a whole head never exists as
    members x classes x voxels. Closing the generator cancels; nothing is written.
    What is finished is shown: of a network over 2 dimensions slices, one after
    another, over 3 dimensions what the members so far say together.

    Parameters
    ----------
    card : ModelCard
    draw : MemberSource
    request : Request
    host : Host

    Yields
    ------
    Progress
        Stages ``prepare`` (regions) and ``sample`` (members over all regions, or
        members x slices), and ``memory`` where it is exhausted: its message is also
        a warning of the proposal. Among them `diffseg.domain.preview.Preview`.

    Returns
    -------
    Proposal

    Raises
    ------
    UserError
        The request does not fit the model, or no region was found.
    """
    clock = Clock()
    yield Progress("prepare", message=request.volume.name)
    with clock.stage("load"):
        voxels = request.volume.data
    with clock.stage("prepare"):
        warnings = [*request.volume.warnings, *check_request(card, request)]
        looking = places(card, request)
    looked_at, doubts = yield from clock.timed("prepare", looking)
    tour = _tour(_plan(card, request), looked_at, clock, [*warnings, *doubts])
    answers: list[Answer] = []
    for index, place in enumerate(looked_at):
        yield Progress("prepare", index, len(looked_at), place.name)
        with clock.stage("prepare"):
            prepared = _prepared(tour.plan, place, voxels)
        tour.warnings += prepared.warnings
        summary = yield from _sampled(tour, place, prepared, draw)
        answers.append(Answer(place, summary))
    with clock.stage("sample"):
        # Of two places with the same trouble one line is enough.
        warnings = list(dict.fromkeys(tour.warnings))
        proposal = _proposal(tour.plan, answers, host, warnings)
    clock.seconds["load"] += host.load_seconds
    provenance = replace(proposal.provenance, seconds=clock.seconds)
    return replace(proposal, provenance=provenance)


def seed_of(seed: int, place: Place) -> int:
    """Seed of one place: it depends on the place's name, not on its position.

    So the order of the regions, and the way an image is stored, change nothing. A
    region of an image that is shown as a whole has the seed of the whole image: it
    is answered for as it would be there.
    """
    name = place.name if place.shown is None else IMAGE
    words = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
    return int(words.generate_state(1)[0])


def _plan(card: ModelCard, request: Request) -> _Plan:
    sampling = card.sampling
    return _Plan(
        card,
        request,
        sampling.members if request.members is None else request.members,
        sampling.steps if request.steps is None else request.steps,
        absent_classes(card, request),
        card_calibration(card),
    )


def _frame(plan: _Plan, place: Place) -> Frame:
    grid = plan.request.volume.grid
    return frame_of(grid, place.shown or place.region, plan.card.preparation)


def _prepared(plan: _Plan, place: Place, voxels: NDArray[Any]) -> Prepared:
    frame, preparation = _frame(plan, place), plan.card.preparation
    name = f"{plan.request.volume.name} ({place.name})"
    return prepare(voxels, frame, preparation.intensity, name=name)


def _sampled(
    tour: _Tour, place: Place, prepared: Prepared, draw: MemberSource
) -> Work[EnsembleSummary]:
    """Draw the members of one place and bring each back to the source's voxels."""
    plan, clock, pace = tour.plan, tour.clock, Pace()
    expected = Expected(
        plan.card, prepared, plan.members, plan.absent, place.region, plan.calibration
    )
    gathering = Gathering(expected)
    yield tour.progress(place, gathering)
    drawn = drawn_of(
        draw,
        prepared.image,
        expected.planes,
        members=plan.members,
        steps=plan.steps,
        seed=seed_of(plan.request.seed, place),
    )
    try:
        while True:
            with clock.stage("sample"):
                piece = next(drawn, _END)
                if piece is _END:
                    break
                if isinstance(piece, np.ndarray | Slab):
                    gathering.add(piece)
                elif isinstance(piece, Step):
                    gathering.note(piece)
            progress = tour.progress(place, gathering)
            if isinstance(piece, Progress):
                tour.note(piece)
                progress = replace(progress, stage=piece.stage, message=piece.message)
            yield progress
            if isinstance(piece, np.ndarray | Slab) and (gathering.settled or pace.due):
                with clock.stage("sample"):
                    began = time.perf_counter()
                    preview = gathering.preview(progress)
                    pace.took(time.perf_counter() - began)
                yield preview
    finally:
        close = getattr(drawn, "close", None)
        if close is not None:  # frees what a half-drawn ensemble holds
            close()
    with clock.stage("sample"):
        summary = gathering.summary()
    tour.done += gathering.units
    return summary


def _proposal(
    plan: _Plan, answers: Sequence[Answer], host: Host, warnings: Sequence[str]
) -> Proposal:
    request, table = plan.request, plan.card.labels
    grid = request.volume.grid
    composed = compose(answers, grid)
    measured = composed.structures(table, grid.voxel_ml)
    structures = predicted(measured, composed, plan.calibration)
    missed = missed_labels(request, {one.name: one.voxels for one in structures})
    doubted = calibration_warnings(plan.calibration, plan.members, plan.steps)
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
        warnings=(*warnings, *missed, *doubted),
    )


def _provenance(plan: _Plan, host: Host) -> Provenance:
    card = plan.card
    model = {
        "id": card.id,
        "version": card.version,
        "sha256": card.sha256,
        "licence": card.licence,
        "calibration": None if plan.calibration is None else plan.calibration.brief(),
    }
    return Provenance(
        model=model,
        seed=plan.request.seed,
        members=plan.members,
        steps=plan.steps,
        device=host.device,
        threads=host.threads,
        seconds={},
        text=plan.request.text,
    )
