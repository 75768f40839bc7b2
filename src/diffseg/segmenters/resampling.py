"""Resampling around a correction: the posterior of the mask, given the strokes.

What the annotator drew and erased stays as it is, voxel by voxel; the rest of the mask
is noised to a given level and denoised again, held to the strokes. Every member agrees
with them; those that would not, disappear. How the chains are held, the request's
`Resampling` says; see `diffseg.diffusion.constrained`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from diffseg.diffusion import schedule_of
from diffseg.diffusion.constrained import share_at
from diffseg.domain import ModelCard, Proposal, Provenance, Request
from diffseg.domain.resampling import LEVEL
from diffseg.domain.strokes import in_classes
from diffseg.ensemble import EnsembleSummary
from diffseg.ensemble.calibration import Calibration
from diffseg.errors import DiffsegError, UserError
from diffseg.progress import Progress, Work
from diffseg.segmenters.calibrating import calibration_warnings, card_calibration
from diffseg.segmenters.checks import absent_classes, check_request, missed_labels
from diffseg.segmenters.clock import Clock
from diffseg.segmenters.composing import common
from diffseg.segmenters.constraint import (
    Codes,
    Constraint,
    onto_frame,
    pull_of,
    widths_of,
)
from diffseg.segmenters.constraint_members import HeldEnsemble
from diffseg.segmenters.drawing import Ensemble
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.pipeline import Host, seed_of
from diffseg.segmenters.preparation import prepare
from diffseg.segmenters.resampling_answer import Resampled, laid
from diffseg.segmenters.resampling_gathering import HeldGathering, Wanted
from diffseg.segmenters.resampling_place import Patch, patch_of
from diffseg.segmenters.source import MEMORY, MemberSource, Slab, Step

USED = frozenset({"region", "labels", "strokes", "initial_mask", "noise_level"})
"""What a request may carry to be resampled, whatever its model proposes from."""
REFINE = "refine_log_snr"
"""Among a card's metrics: what its fingerprint recommends for refining a mask."""


class Drawing(Protocol):
    """A loaded model that draws members."""

    @property
    def card(self) -> ModelCard:
        """Its card."""
        ...

    @property
    def host(self) -> Host:
        """Where it runs."""
        ...

    def source(self, *, block_voxels: int = ...) -> MemberSource:
        """What draws the members of one request."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A request with what was missing filled in; `base` holds class indices."""

    card: ModelCard
    request: Request
    patch: Patch
    base: Codes | None
    level: float
    members: int
    steps: int
    absent: tuple[int, ...]
    calibration: Calibration | None


def iter_resample(segmenter: Drawing, request: Request) -> Work[Proposal]:
    """Draw the mask anew around a request's strokes.

    Parameters
    ----------
    segmenter : Drawing
        A diffusion model over masks, whatever it predicts.
    request : Request
        `strokes` are kept. `initial_mask` is what the rest starts from, noised to
        `noise_level`, without it to `level_of` the model; without a mask it starts
        from noise alone.

    Yields
    ------
    Progress
        Stages ``prepare``, ``sample`` and ``memory``, and among them
        `diffseg.domain.preview.Preview`. Closing the generator cancels, between any
        two evaluations of the network.

    Returns
    -------
    Proposal
        On the whole grid: beyond the patch, the initial mask.

    Raises
    ------
    UserError
        There are no strokes, the model denoises no masks, or the request does not
        fit it.
    """
    clock, card = Clock(), segmenter.card
    yield Progress("prepare", message=request.volume.name)
    with clock.stage("load"):
        voxels = request.volume.data
    with clock.stage("prepare"):
        able = card.model_copy(update={"capabilities": card.capabilities | USED})
        warnings = [*request.volume.warnings, *check_request(able, request)]
        plan = _plan(card, request)
        intensity = card.preparation.intensity
        name = f"{request.volume.name} ({plan.patch.place.name})"
        prepared = prepare(voxels, plan.patch.frame, intensity, name=name)
        warnings += prepared.warnings
        source = _source(segmenter, plan, prepared.image)
    summary = yield from _sampled(plan, source, prepared.image, warnings, clock)
    with clock.stage("sample"):
        proposal = _proposal(plan, summary, warnings, segmenter.host)
    clock.seconds["load"] += segmenter.host.load_seconds
    provenance = replace(proposal.provenance, seconds=clock.seconds)
    return replace(proposal, provenance=provenance)


def _plan(card: ModelCard, request: Request) -> _Plan:
    strokes, base = request.strokes, request.initial_mask
    patch, absent = patch_of(card, request), absent_classes(card, request)
    assert strokes is not None
    told = set(np.unique(strokes.classes).tolist())
    if told and max(told) > len(card.labels):
        raise UserError(
            f"strokes are of class {max(told)}, but model {card.id} knows "
            f"{len(card.labels)}: {', '.join(card.labels.names)}"
        )
    for index in sorted(told & set(absent)):
        raise UserError(
            f"{card.labels.names[index - 1]} is said to be absent, but strokes draw "
            "it; erase them, or say that it is present"
        )
    if base is not None and base.shape != request.volume.shape:
        raise UserError(
            f"the initial mask has {base.shape} voxels, but {request.volume.name} "
            f"{request.volume.shape}"
        )
    if base is None and request.noise_level not in (None, 1.0):
        raise UserError(
            "noise_level is given, but no initial_mask that could be noised to it"
        )
    level = request.noise_level or (1.0 if base is None else level_of(card))
    classes = None if base is None else in_classes(base, card.labels)
    members = request.members or card.sampling.members
    steps = request.steps or card.sampling.steps
    calibration = card_calibration(card)
    return _Plan(
        card, request, patch, classes, level, members, steps, absent, calibration
    )


def level_of(card: ModelCard) -> float:
    """The noise level that a mask of this model is refined at, where nobody says.

    What its fingerprint recommends, where the card has it (`refine_log_snr` among its
    metrics, of a mask in [0, 1]); else `LEVEL`.
    """
    log_snr = card.metrics.get(REFINE)
    if not isinstance(log_snr, int | float):
        return LEVEL
    schedule = schedule_of(card.sampling)
    return share_at(schedule, float(log_snr), card.sampling.mask_range)


def _source(segmenter: Drawing, plan: _Plan, image: Floats) -> HeldEnsemble:
    """The model's own ensemble, held to the strokes."""
    card, options = plan.card, plan.request.resampling
    ensemble = segmenter.source(block_voxels=image.size * plan.steps)  # one block
    # Other methods have ensembles of their own, which do not denoise masks.
    if type(ensemble) is not Ensemble:
        raise UserError(
            f"model {card.id} (method {card.method}) does not use strokes: it "
            "denoises no masks; choose a diffusion model of masks"
        )
    strokes, part, planes = plan.request.strokes, plan.patch.part, plan.patch.planes
    assert strokes is not None
    within = part.region.slices
    kept = onto_frame(strokes.dense()[within], part, thin=True)
    base = None if plan.base is None else onto_frame(plan.base[within], part)
    pull = pull_of(
        kept,
        image[:, planes.start : planes.stop],
        len(card.labels) + 1,
        part.spacing_mm,
        reach_mm=options.reach_mm,
        contrast=options.contrast,
    )
    widths = widths_of(part.spacing_mm, options.width_mm)
    constraint = Constraint(planes.start, kept, pull, base, widths)
    return HeldEnsemble(ensemble, card, constraint, plan.level, options)


def _sampled(
    plan: _Plan,
    source: HeldEnsemble,
    image: Floats,
    warnings: list[str],
    clock: Clock,
) -> Work[EnsembleSummary]:
    """Draw the members, on the region that may change."""
    request, patch, part = plan.request, plan.patch, plan.patch.part
    assert request.strokes is not None
    kept = request.strokes.dense()[part.region.slices]
    here = HeldGathering(
        Wanted(plan.card, part, patch.place.region, kept, plan.absent, plan.calibration)
    )
    drawn = source(
        image,
        members=plan.members,
        steps=plan.steps,
        seed=seed_of(request.seed, patch.place),
        planes=patch.planes,
    )
    try:
        while True:
            with clock.stage("sample"):
                piece = next(drawn, _END)
                if piece is _END:
                    break
                if isinstance(piece, Slab):
                    here.add(piece)
            if isinstance(piece, Progress) and piece.stage == MEMORY:
                warnings.append(piece.message)
                yield piece
                continue
            told = piece.told(plan.members, len(patch.planes)) if isinstance(
                piece, Step) else ""  # fmt: skip
            name = patch.place.name
            progress = Progress("sample", here.members, plan.members, name, detail=told)
            yield progress
            if isinstance(piece, Slab) and here.due:
                yield here.preview(progress)
    finally:
        close = getattr(drawn, "close", None)
        if close is not None:
            close()
    if here.members != plan.members:
        raise DiffsegError(
            f"method {plan.card.method} drew {here.members} members instead of "
            f"{plan.members}"
        )
    with clock.stage("sample"):
        return here.summary()


_END = object()


def _proposal(
    plan: _Plan, summary: EnsembleSummary, warnings: Sequence[str], host: Host
) -> Proposal:
    request, card, patch = plan.request, plan.card, plan.patch
    calibration = plan.calibration
    region = common(patch.part.region, patch.place.region)
    resampled = Resampled(summary, region, plan.base, card.labels)
    model = {
        "id": card.id,
        "version": card.version,
        "sha256": card.sha256,
        "licence": card.licence,
        "calibration": None if calibration is None else calibration.brief(),
    }
    provenance = Provenance(
        model, request.seed, plan.members, plan.steps, host.device, host.threads, {}
    )
    proposal = laid(resampled, request, patch.place, provenance)
    missed = missed_labels(
        request, {one.name: one.voxels for one in proposal.structures}
    )
    doubted = calibration_warnings(calibration, plan.members, plan.steps)
    return replace(proposal, warnings=(*dict.fromkeys(warnings), *missed, *doubted))
