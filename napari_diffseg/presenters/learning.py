"""Signs of life of a fine-tuning as a curve, and its end as a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from diffseg.progress import Progress
from napari_diffseg.views import ClassChange, LearningCurve, TrainVerdict

if TYPE_CHECKING:
    from diffseg_training.finetuning.job import Finetuned

_SURE = 0.05
_STAGES = {
    "start": "starting",
    "weigh": "weighing weak masks",
    "gather": "gathering masks",
    "parent, held out": "the model as it is, on held-out cases",
    "child, held out": "the model as it becomes, on held-out cases",
    "prepare": "preparing images",
    "cache": "making ready the model that teaches",
    "look": "looking at slices for its cache",
    "train": "learning",
    "validate": "learning; asked on held-out cases",
    "blend": "trying weights on the way back",
}


def longer(curve: LearningCurve, told: Progress) -> LearningCurve:
    """The curve with what a sign of life adds to it; the same where that is nothing."""
    step = getattr(told, "step", None)
    if step is None:
        return curve
    loss, scores = getattr(told, "loss", None), getattr(told, "scores", {})
    if loss is not None and (not curve.losses or curve.losses[-1][0] < step):
        curve = replace(curve, losses=(*curve.losses, (step, float(loss))))
    if "score" in scores and (not curve.scores or curve.scores[-1][0] < step):
        scored = (step, float(scores["score"]))
        curve = replace(curve, scores=(*curve.scores, scored))
    share = told.fraction  # of the steps, or of the minutes that were given
    total = round(step / share) if share >= _SURE else curve.total
    return curve if curve.total == total else replace(curve, total=total)


def line_of(told: Progress) -> tuple[str, float | None]:
    """What is being done, in a line; and the share of it that is, where known."""
    words = _STAGES.get(told.stage, told.stage)
    loss = getattr(told, "loss", None)
    if loss is not None:
        words += f", loss {loss:.3f}"
    elif told.total > 1:
        words += f" ({min(told.done + 1, told.total)} of {told.total})"
    return words, told.fraction if told.total else None


def verdict_of(done: Finetuned, names: Mapping[str, str]) -> TrainVerdict:
    """How a run ended; `names` are the cases' by id."""
    told = done.verdict
    return TrainVerdict(
        kept=done.outcome == "kept",
        model=done.model,
        sentence=str(told.get("sentence", done.outcome)),
        classes=tuple(_change(one) for one in told.get("classes", ())),
        held_out=tuple((id, names.get(id, id)) for id in done.held_out),
    )


def _change(one: Mapping[str, Any]) -> ClassChange:
    return ClassChange(
        name=one["name"],
        before=one["parent"],
        after=one["child"],
        low=one.get("low"),
        high=one.get("high"),
        present=int(one.get("present", 0)),
        worse=bool(one.get("worse")),
    )
