"""A fine-tuning from end to end: gather, judge the parent, train, judge the child."""

from __future__ import annotations

from typing import Any

from diffseg.models import ModelFolder, load_weights
from diffseg.progress import Work
from diffseg.segmenters import resolve_device
from diffseg_training.curve import draw_curve
from diffseg_training.finetuning.begun import Begun, begin
from diffseg_training.finetuning.blending import Blend, iter_blend
from diffseg_training.finetuning.descending import iter_learnt
from diffseg_training.finetuning.gate import iter_held_out
from diffseg_training.finetuning.job import Finetuned, FinetuneJob
from diffseg_training.finetuning.keeping import keep, save_child, with_verdict
from diffseg_training.finetuning.noting import iter_noted
from diffseg_training.finetuning.replaying import mixed, replay_data
from diffseg_training.finetuning.verdict import CaseDice, Verdict, judge
from diffseg_training.sitting import TrainingResult
from diffseg_training.training_set import AnyExample, prepare_examples


def iter_finetune(job: FinetuneJob) -> Work[Finetuned]:
    """Fine-tune a model on a project's corrections; the gate keeps or refuses it.

    The run is noted in the project from its begin to its end. Closing the generator
    cancels it; ``resume`` goes on with one that was cancelled or killed.

    Yields
    ------
    Progress
        While it trains, a `diffseg_training.learning.Learning`.

    Raises
    ------
    UserError
        Nothing to learn from or to judge by, or project, model, recipe or replay data
        that cannot be used.
    """
    device = resolve_device(job.checked().device)
    begun = yield from begin(job)
    return (yield from iter_noted(begun, _carried_out(begun, device)))


def _carried_out(begun: Begun[FinetuneJob], device: str) -> Work[Finetuned]:
    job, folder, materials = begun.job, begun.folder, begun.materials

    def asked(model: ModelFolder, who: str) -> Work[tuple[CaseDice, ...]]:
        return iter_held_out(
            model, who, materials, folder, seed=job.seed, device=device
        )

    before = yield from asked(begun.parent, "parent")
    result, child = yield from _made(begun, device)
    draw_curve(folder / "log.jsonl", folder / "curve.png", begun.recipe.title)
    after = yield from asked(child, "child")
    assert begun.recipe.finetuning is not None
    options = begun.recipe.finetuning
    verdict = judge(before, after, options.tolerance, options.overall_tolerance)
    child = with_verdict(child, verdict)
    if verdict.kept:
        child = keep(child)
    return _result(begun, child, verdict, result)


def _made(
    begun: Begun[FinetuneJob], device: str
) -> Work[tuple[TrainingResult, ModelFolder]]:
    """Train the child, and write it into the run's folder."""
    facts = _facts(begun)
    if begun.recipe.objective.assembled:
        from diffseg_training.text.tuning import iter_tuned

        return (yield from iter_tuned(begun, facts, device))
    blend = yield from _trained(begun, device)
    facts["blend"] = blend.share
    child = save_child(begun.parent, blend.result, facts, begun.folder)
    return blend.result, child


def _trained(begun: Begun[FinetuneJob], device: str) -> Work[Blend]:
    def base(corrected: list[AnyExample], memory: float) -> Work[list[AnyExample]]:
        return _with_base(begun, corrected, memory)

    learnt = yield from iter_learnt(begun, device, base)
    assert begun.recipe.finetuning is not None
    parent, shares = load_weights(begun.parent), begun.recipe.finetuning.blends
    return (yield from iter_blend(parent, learnt.result, learnt.scores, shares))


def _with_base(
    begun: Begun[FinetuneJob], corrected: list[AnyExample], memory: float
) -> Work[list[AnyExample]]:
    """Corrected examples, mixed with those of the base data where there are some."""
    options, job = begun.recipe.finetuning, begun.job
    assert options is not None
    if job.replay is None:
        return corrected
    labels = begun.parent.card.labels
    dataset = replay_data(job.replay, labels, options.replay_cases, job.seed)
    base = yield from prepare_examples(
        dataset.cases,
        dataset,
        begun.recipe.preparation,
        cache=begun.folder / "cache",
        memory=max(0.0, memory),
    )
    return mixed(corrected, base, options.replay)


def _facts(begun: Begun[FinetuneJob]) -> dict[str, Any]:
    """What the child's card says of its run; neither names nor paths."""
    dataset, options = begun.materials.dataset, begun.recipe.finetuning
    assert options is not None
    labelled = begun.materials.labelled
    return {
        "project": begun.project_id,
        "run": begun.id,
        "cases": len(dataset.split("train")),
        "held_out": len(dataset.split("val")),
        "voxels": begun.materials.voxels,
        **({"labelled": labelled} if labelled else {}),
        "replay": begun.job.replay is not None,
        "anchor": options.anchor,
        "seed": begun.job.seed,
    }


def _result(
    begun: Begun[FinetuneJob],
    child: ModelFolder,
    verdict: Verdict,
    result: TrainingResult,
) -> Finetuned:
    learnt, held = begun.materials.sides()
    return Finetuned(
        outcome="kept" if verdict.kept else "refused",
        model=child.name,
        parent=begun.parent.name,
        sha256=child.card.sha256,
        path=child.path,
        run=begun.folder,
        run_id=begun.id,
        verdict=verdict.as_json(),
        learnt=learnt,
        held_out=held,
        voxels=begun.materials.voxels,
        steps=result.steps,
        minutes=result.minutes,
    )
