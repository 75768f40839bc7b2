"""The running scores of one model over the cases of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffseg.domain import Proposal, Provenance
from diffseg.metrics import Confusion
from diffseg.volume import Volume
from diffseg_training.case_score import (
    CaseScore,
    class_indices,
    count_structures,
    score_case,
)
from diffseg_training.case_trust import Rankings
from diffseg_training.dataset import Case
from diffseg_training.evaluation_summary import stability, summarise
from diffseg_training.gallery import Gallery
from diffseg_training.pictures import picture_of

if TYPE_CHECKING:
    from diffseg.segmenters import Segmenter


@dataclass(slots=True)
class Tally:
    """The running scores of one model; nothing in it grows with a volume."""

    segmenter: Segmenter
    scores: list[CaseScore] = field(default_factory=list)
    rankings: Rankings = field(default_factory=Rankings)
    gallery: Gallery = field(default_factory=Gallery)
    seeds: dict[int, list[dict[str, Confusion]]] = field(default_factory=dict)
    run: Provenance | None = None

    def add(
        self,
        case: Case,
        volume: Volume,
        proposal: Proposal,
        references: Sequence[NDArray[np.uint8]],
        seconds: float,
    ) -> None:
        """Score a case's proposal; `references` are in its classes, one a rater."""
        score, rankings = score_case(
            case.case, case.group, proposal, references, seconds
        )
        self.scores.append(score)
        self.rankings = self.rankings + rankings
        self.run = proposal.provenance
        self.seeds.setdefault(proposal.provenance.seed, []).append(dict(score.counts))
        if self.gallery.wants(score):
            self.gallery.add(picture_of(score, volume, proposal, references))

    def add_seed(
        self, seed: int, proposal: Proposal, reference: NDArray[np.uint8]
    ) -> None:
        """Count what the same case gives under another seed."""
        predicted = class_indices(proposal.mask, proposal.labels, proposal.labels)
        counts = count_structures(predicted, reference, proposal.labels)
        self.seeds.setdefault(seed, []).append(counts)

    def summary(self) -> dict[str, Any]:
        """Return every number of this model."""
        groups = [score.group for score in self.scores]
        several = len(self.seeds) > 1
        return {
            **summarise(self.scores, self.rankings),
            "stability": stability(self.seeds, groups) if several else None,
        }

    def about(self) -> dict[str, Any]:
        """Return which model it was, and how it was run."""
        card, run = self.segmenter.card, self.run
        assert run is not None
        return {
            "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
            "members": run.members,
            "steps": run.steps,
            "device": run.device,
            "threads": run.threads,
        }
