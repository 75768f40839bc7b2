"""A fine-tuning from end to end: gather, judge the parent, train, judge the child."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from diffseg.errors import Cancelled, DiffsegError
from diffseg.models import ModelFolder, load_weights
from diffseg.progress import Work
from diffseg.project import store
from diffseg.segmenters import resolve_device
from diffseg_training.curve import draw_curve
from diffseg_training.finetuning.begun import Begun, begin
from diffseg_training.finetuning.blending import Blend, iter_blend
from diffseg_training.finetuning.gate import iter_held_out
from diffseg_training.finetuning.job import Finetuned, FinetuneJob
from diffseg_training.finetuning.keeping import keep, save_child, with_verdict
from diffseg_training.finetuning.replaying import mixed, replay_data
from diffseg_training.finetuning.verdict import CaseDice, Verdict, judge
from diffseg_training.lock import alone_in
from diffseg_training.sitting import TrainingResult
from diffseg_training.trainer import iter_train
from diffseg_training.training_set import AnyExample, prepare_examples
from diffseg_training.validation import check_network, chosen_cases, dice_scores


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
    outcome: store.Outcome = "failed"
    told: dict[str, Any] = {}
    try:
        with alone_in(begun.folder):
            done = yield from _carried_out(begun, device)
        outcome, told = done.outcome, _noted(done)
        return done
    except (GeneratorExit, KeyboardInterrupt, Cancelled):
        outcome = "cancelled"
        raise
    except DiffsegError as err:
        told = {"why": str(err)}
        raise
    except Exception as err:
        told = {"why": type(err).__name__}  # its message may name a file
        raise
    finally:
        _ended(begun, outcome, told)


def _carried_out(begun: Begun, device: str) -> Work[Finetuned]:
    job, folder, materials = begun.job, begun.folder, begun.materials

    def asked(model: ModelFolder, who: str) -> Work[tuple[CaseDice, ...]]:
        return iter_held_out(
            model, who, materials, folder, seed=job.seed, device=device
        )

    before = yield from asked(begun.parent, "parent")
    blend = yield from _trained(begun, device)
    result = blend.result
    draw_curve(folder / "log.jsonl", folder / "curve.png", begun.recipe.title)
    facts = {**_facts(begun), "blend": blend.share}
    child = save_child(begun.parent, result, facts, folder)
    after = yield from asked(child, "child")
    assert begun.recipe.finetuning is not None
    options = begun.recipe.finetuning
    verdict = judge(before, after, options.tolerance, options.overall_tolerance)
    child = with_verdict(child, verdict)
    if verdict.kept:
        child = keep(child)
    return _result(begun, child, verdict, result)


def _trained(begun: Begun, device: str) -> Work[Blend]:
    recipe, folder, card = begun.recipe, begun.folder, begun.parent.card
    dataset = begun.materials.dataset
    cache, memory = folder / "cache", recipe.loading.memory_gb * 1e9
    found: list[list[AnyExample]] = []
    for split in ("train", "val"):
        examples = yield from prepare_examples(
            dataset.split(split),
            dataset,
            recipe.preparation,
            cache=cache,
            memory=memory,
        )
        memory -= sum(one.bytes_held for one in examples)
        found.append(examples)
    learners, judges = found
    learners = yield from _with_base(begun, learners, memory)
    held_out = chosen_cases(judges, recipe.length)

    def validate(network: nn.Module) -> Mapping[str, float]:
        return dice_scores(network, card, held_out, recipe.length, device)

    def check(network: nn.Module) -> None:
        check_network(network, card, device)

    result = yield from iter_train(
        recipe,
        learners,
        validate,
        folder,
        device=device,
        resume=(folder / "state" / "state.json").is_file(),
        held_out=held_out,
        check=check,
    )
    assert recipe.finetuning is not None
    parent, shares = load_weights(begun.parent), recipe.finetuning.blends
    return (yield from iter_blend(parent, result, validate, shares))


def _with_base(
    begun: Begun, corrected: list[AnyExample], memory: float
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


def _facts(begun: Begun) -> dict[str, Any]:
    """What the child's card says of its run; neither names nor paths."""
    dataset, options = begun.materials.dataset, begun.recipe.finetuning
    assert options is not None
    return {
        "project": begun.project_id,
        "run": begun.id,
        "cases": len(dataset.split("train")),
        "held_out": len(dataset.split("val")),
        "voxels": begun.materials.voxels,
        "replay": begun.job.replay is not None,
        "anchor": options.anchor,
        "seed": begun.job.seed,
    }


def _result(
    begun: Begun, child: ModelFolder, verdict: Verdict, result: TrainingResult
) -> Finetuned:
    materials, ids = begun.materials, begun.materials.ids
    learnt, held = (
        tuple(ids[one.case] for one in materials.dataset.split(name))
        for name in ("train", "val")
    )
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
        voxels=materials.voxels,
        steps=result.steps,
        minutes=result.minutes,
    )


def _noted(done: Finetuned) -> dict[str, Any]:
    """What the project's table of runs keeps of a result."""
    kept = ("model", "sha256", "verdict", "voxels", "steps", "minutes")
    told = done.as_json()
    return {name: told[name] for name in kept}


def _ended(begun: Begun, outcome: store.Outcome, told: Mapping[str, Any]) -> None:
    """Note the end; where a run broke off, what broke it is what is told."""
    try:
        with store.open_project(begun.job.project) as project:
            store.end_run(project, begun.id, outcome, told)
    except DiffsegError:
        if outcome in ("kept", "refused"):
            raise
