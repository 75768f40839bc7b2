"""A self-training from end to end: take masks, train, judge by the weak model."""

from __future__ import annotations

from diffseg.models import ModelFolder
from diffseg.progress import Work
from diffseg.segmenters import resolve_device
from diffseg_training.curve import draw_curve
from diffseg_training.finetuning.begun import Begun
from diffseg_training.finetuning.descending import iter_learnt
from diffseg_training.finetuning.gate import iter_held_out
from diffseg_training.finetuning.keeping import keep, with_verdict
from diffseg_training.finetuning.noting import iter_noted
from diffseg_training.finetuning.verdict import CaseDice, Verdict, judge, unjudged
from diffseg_training.selftraining.begun import begin
from diffseg_training.selftraining.carding import next_student, save_student
from diffseg_training.selftraining.job import SelfTrained, SelfTrainJob
from diffseg_training.sitting import TrainingResult


def iter_self_train(job: SelfTrainJob) -> Work[SelfTrained]:
    """Train a segmenter from weak masks and corrections; the gate keeps or refuses it.

    The run is noted in the project from its begin to its end. Closing the generator
    cancels it; ``resume`` goes on with one that was cancelled or killed.

    Yields
    ------
    Progress
        While it trains, a `diffseg_training.learning.Learning`.

    Raises
    ------
    UserError
        There is no weak mask, none is sure enough, nobody could judge, or project,
        model or recipe cannot be used.
    """
    device = resolve_device(job.checked().device)
    begun = yield from begin(job)
    return (yield from iter_noted(begun, _carried_out(begun, device)))


def _carried_out(begun: Begun[SelfTrainJob], device: str) -> Work[SelfTrained]:
    before = yield from _asked(begun, begun.parent, "parent", device)
    learnt = yield from iter_learnt(begun, device)
    folder = begun.folder
    draw_curve(folder / "log.jsonl", folder / "curve.png", begun.recipe.title)
    child = save_student(begun, learnt.result)
    after = yield from _asked(begun, child, "child", device)
    options = begun.recipe.self_training
    assert options is not None
    allowed = options.tolerance, options.overall_tolerance
    judged = begun.job.judged
    verdict = judge(before, after, *allowed) if judged else unjudged(*allowed)
    child = with_verdict(child, verdict, "self_training")
    if verdict.kept:
        child = keep(child, next_student)
    return _result(begun, child, verdict, learnt.result)


def _asked(
    begun: Begun[SelfTrainJob], model: ModelFolder, who: str, device: str
) -> Work[tuple[CaseDice, ...]]:
    """How well a model does on the held-out cases, each with its own members."""
    if not begun.job.judged:
        return ()
    seed = begun.job.seed
    return (
        yield from iter_held_out(
            model, who, begun.materials, begun.folder, seed=seed, device=device
        )
    )


def _result(
    begun: Begun[SelfTrainJob],
    child: ModelFolder,
    verdict: Verdict,
    result: TrainingResult,
) -> SelfTrained:
    materials = begun.materials
    learnt, apart = materials.sides()
    return SelfTrained(
        outcome="kept" if verdict.kept else "refused",
        model=child.name,
        parent=begun.parent.name,
        sha256=child.card.sha256,
        path=child.path,
        run=begun.folder,
        run_id=begun.id,
        verdict=verdict.as_json(),
        learnt=learnt,
        held_out=apart if begun.job.judged else (),
        voxels=materials.voxels,
        steps=result.steps,
        minutes=result.minutes,
        weak_cases=len(materials.weak),
        weak_voxels=sum(materials.weak.values()),
        left_out=int(materials.told.get("left_out", 0)),
        lacking=int(materials.told.get("lacking", 0)),
    )
