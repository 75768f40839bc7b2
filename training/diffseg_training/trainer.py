"""The trainer: one generator that descends, validates, saves and can be resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from diffseg.errors import UserError, nearest
from diffseg.networks import build_network, fast_layout
from diffseg.progress import Work
from diffseg_training.anchor import Anchor
from diffseg_training.descent import AnyDraws, Descent
from diffseg_training.labelled import LabelledExample
from diffseg_training.learning import Learning
from diffseg_training.lora import add_lora
from diffseg_training.machines import make_accelerator
from diffseg_training.objectives import make_loss
from diffseg_training.pace import Pace
from diffseg_training.recipe import Recipe
from diffseg_training.sampling import Draws
from diffseg_training.sitting import Sitting, TrainingResult, Validate
from diffseg_training.slice_draws import SliceDraws
from diffseg_training.start import start_from
from diffseg_training.step import Step
from diffseg_training.trackers import check_trackers, start_trackers
from diffseg_training.validation import Shown

_TOLD_EVERY = 1.0  # seconds between signs of life


def iter_train(
    recipe: Recipe,
    examples: Sequence[Shown],
    validate: Validate | None,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    held_out: Sequence[Shown] = (),
    check: Callable[[nn.Module], object] | None = None,
) -> Work[TrainingResult]:
    """Train a network by a recipe; the best weights on validation win.

    Each sign of life is a `Learning`: the step, the loss, the scores on validation.
    Time spent on validating does not count as training time. Every `log.jsonl` line
    holds the step, the minutes, the learning rate and the terms of the loss, means
    since the line before; a resumed run goes on from the last state, to the same
    next batch.

    Parameters
    ----------
    recipe : Recipe
    examples : sequence of Example, StoredExample or LabelledExample
        To learn from.
    validate : callable or None
        None scores by the loss on `held_out`.
    out : Path
        Folder of the run.
    device : {"cpu", "cuda", "mps"}
        Under `accelerate launch`, of each process its own.
    resume : bool
        Go on from the state in `out`.
    held_out : sequence of Example or StoredExample
        See `validate`.
    check : callable, optional
        Refuses a network that could be trained but not be used, by a `UserError`.

    Raises
    ------
    UserError
        Nothing to learn from or to resume, too little memory, a full disk, another
        architecture, or too many steps whose gradient was not finite.
    """
    _check_reviewed(recipe, examples)
    draws = _draws(recipe, examples)
    check_trackers(recipe.trackers)
    accelerator = make_accelerator(recipe, device, out, recipe.trackers)
    torch.manual_seed(recipe.seed)
    step = make_step(recipe)
    if check is not None:
        check(step.network)
    pace = Pace(recipe.length)
    descent = Descent(recipe, step, draws, accelerator, pace)
    run = Sitting(recipe, descent, out)
    try:
        run.check_memory()
        if resume:
            run.restore()
        else:
            run.save()  # stopped before its first validation, it can be resumed too
        start_trackers(accelerator, recipe.trackers, pace.step)
        yield from _until_done(run, validate, held_out)
        return run.result()
    finally:
        descent.loader.close()
        if recipe.trackers:
            accelerator.end_training()


def _draws(recipe: Recipe, examples: Sequence[Shown]) -> AnyDraws:
    """Examples by their position in a run; they fit what the objective learns from."""
    labelled = [one for one in examples if isinstance(one, LabelledExample)]
    others = [one for one in examples if not isinstance(one, LabelledExample)]
    if recipe.objective.learns_labels and not others:
        return SliceDraws(recipe, labelled)
    if labelled or recipe.objective.learns_labels:
        kind = "image-level labels" if recipe.objective.learns_labels else "masks"
        raise UserError(
            f"objective {recipe.objective.name} learns from {kind}, and the examples "
            "have others: prepare them for it"
        )
    return Draws(recipe, others)


def _check_reviewed(recipe: Recipe, examples: Sequence[Shown]) -> None:
    of_project = recipe.finetuning is not None or recipe.self_training is not None
    if not of_project or recipe.objective.takes_unreviewed:
        return
    partial = next((one.case for one in examples if one.partial), None)
    if partial is not None:
        raise UserError(
            f"case {partial} is not reviewed to its end, and the objective "
            f"{recipe.objective.name} learns from whole cases alone: finish its review "
            "or leave it out"
        )


def make_step(recipe: Recipe) -> Step:
    """Network and loss of a recipe, with the weights that it begins from."""
    config = dict(recipe.network)
    network = build_network(config.pop("name"), **config)
    if recipe.start is not None:
        start_from(network, recipe.start)
    if recipe.lora is not None:
        add_lora(network, recipe.lora, recipe.seed)
    network = network.to(memory_format=fast_layout(len(recipe.patch)))
    # Before the loss, which may give a network weights of its own.
    anchor = _anchor(recipe, network)
    loss, parts = make_loss(recipe, network), recipe.optimiser.ema_of
    for part in parts:
        if not Step(network, loss, (part,)).averaged():
            known = dict.fromkeys(n.split(".")[0] for n, _ in network.named_children())
            raise UserError(
                f"optimiser.ema_of {part!r} begins no trained parameter's name"
                + (nearest(part, known) or f"; parts are {', '.join(known)}")
            )
    return Step(network, loss, parts, anchor)


def _anchor(recipe: Recipe, network: nn.Module) -> Anchor | None:
    """What holds a network to the weights of its start; None where nothing does."""
    options = recipe.finetuning
    if recipe.start is None or options is None or not options.anchor:
        return None
    return Anchor(network, options.anchor)


def _until_done(
    run: Sitting, validate: Validate | None, held_out: Sequence[Shown]
) -> Work[None]:
    pace = run.descent.pace
    told = 0.0
    while pace.share() < 1 and not run.stale():
        goal = pace.next_validation()
        while pace.share() < goal:
            run.descend()
            if pace.telling() or time.perf_counter() - told > _TOLD_EVERY:
                told = time.perf_counter()
                yield _sign(run, "train", run.message())
        scores = run.validated(validate, held_out)
        yield _sign(run, "validate", f"score {scores['score']:.4f}", scores)


def _sign(
    run: Sitting, stage: str, said: str, scores: Mapping[str, float] | None = None
) -> Learning:
    pace = run.descent.pace
    return Learning(
        stage,
        min(1000, round(1000 * pace.share())),
        1000,
        said,
        step=pace.step,
        loss=run.loss if math.isfinite(run.loss) else None,
        scores=dict(scores or {}),
    )


__all__ = ["TrainingResult", "Validate", "iter_train", "make_step"]
