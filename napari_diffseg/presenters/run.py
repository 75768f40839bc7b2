"""One proposal under way, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffseg.domain import ModelCard, Proposal
from diffseg.progress import Progress
from napari_diffseg.presenters.asking import Question
from napari_diffseg.presenters.words import counted, voxel_word
from napari_diffseg.session import Busy, Case
from napari_diffseg.views import Ticket

_WORDS = {"load": "loading the model", "prepare": "preparing", "sample": "drawing"}


@dataclass(slots=True, eq=False)
class Run:
    """A proposal under way for one case."""

    case: Case
    card: ModelCard
    question: Question
    batch: bool
    ticket: Ticket | None = None
    drawing_since: float | None = None
    last: Busy | None = field(default=None)
    taken: bool = False  # the mask holds the answer; layers are still to come

    def busy_with(self, progress: Progress, now: float) -> Busy:
        """Say how far it is, at a time in seconds."""
        fraction = left = None
        if progress.stage == "sample" and progress.total:
            fraction = progress.fraction
            if self.drawing_since is None:
                self.drawing_since = now
            if fraction > 0:
                left = (now - self.drawing_since) * (1 - fraction) / fraction
                left = left if left > 0 else None
        words = _WORDS.get(progress.stage, progress.stage)
        detail = f" {progress.message}" if progress.message else ""
        if progress.detail:
            detail += f", {progress.detail}"
        elif progress.stage == "sample" and progress.total:
            detail += f", {progress.done} of {progress.total}"
        message = f"{self.case.name}: {words}{detail}"
        return Busy(self.case.id, message, fraction, left)


def summary(run: Run, proposal: Proposal, changed: int, kept: int) -> str:
    """Say what came of it."""
    case, redrawn = run.case, run.question.kept is not None
    model = proposal.provenance.model.get("id", "the model")
    word = voxel_word(proposal)
    verb = "drawn anew around your strokes" if redrawn else "proposed"
    text = f"{case.name}: {verb} by {model}, {counted(changed, word)} changed"
    if kept and not redrawn:
        are = "is" if kept == 1 else "are"
        text += f"; {counted(kept, word)} that you drew {are} kept"
    return text
