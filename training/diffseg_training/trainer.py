"""The trainer: one generator that descends, validates, saves and can be resumed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from diffseg.diffusion import generator
from diffseg.networks import build_network, fast_layout
from diffseg.progress import Progress, Work
from diffseg_training.augment import example
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.recipe import Recipe
from diffseg_training.state import load_state, rewind_log, save_state
from diffseg_training.training_set import Example

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Scores of a network with averaged weights; `score` is what is maximised."""

# Random keys of one run never meet those of another use of the same seed.
_STEP_KEY, _EXAMPLE_KEY = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """The best averaged weights seen on validation, and how they were reached."""

    network: nn.Module
    best: Mapping[str, float]
    steps: int
    minutes: float
    skipped: int


@dataclass(slots=True)
class _Clock:
    """Minutes of training, validation and earlier sittings apart."""

    minutes: float = 0.0
    step: int = 0


def iter_train(
    recipe: Recipe,
    examples: Sequence[Example],
    validate: Validate,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
) -> Work[TrainingResult]:
    """Train a network by a recipe; the best weights on validation win.

    Time spent on validating does not count as training time. Every `log.jsonl` line
    holds the step, the minutes, the learning rate and the terms of the loss; a
    resumed run goes on from the last validation, or from the start before the first.
    """
    torch.manual_seed(recipe.seed)
    config = dict(recipe.network)
    network = build_network(config.pop("name"), **config).to(device)
    network = network.to(memory_format=fast_layout(len(recipe.patch)))
    run = _Run(recipe, network, out, device)
    if resume:
        run.restore()
    else:
        run.save()  # stopped before its first validation, a run can be resumed too
    total = recipe.length.validations
    while (share := run.share()) < 1:
        goal = min(1.0, (math.floor(share * total + 1e-6) + 1) / total)
        while run.share() < goal:
            terms = run.descend(examples)
            if run.clock.step % 20 == 0:
                yield Progress(
                    "train",
                    round(1000 * run.share()),
                    1000,
                    f"step {run.clock.step}, loss {terms['loss']:.3f}",
                )
        scores = run.validated(validate)
        yield Progress(
            "validate", round(1000 * run.share()), 1000, f"score {scores['score']:.4f}"
        )
    return run.result()


class _Run:
    """What changes during a run: weights, their average, the optimiser, the clock."""

    def __init__(
        self, recipe: Recipe, network: nn.Module, out: Path, device: str
    ) -> None:
        self.recipe, self.network, self.out, self.device = recipe, network, out, device
        self.loss = make_loss(recipe, network)
        options = recipe.optimiser
        self.optimiser = torch.optim.AdamW(
            network.parameters(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
        )
        self.average = EMAModel(
            network.parameters(), decay=options.ema, use_ema_warmup=True, power=0.75
        )
        self.clock = _Clock()
        self.best: dict[str, float] = {"score": -math.inf}
        self.best_weights: dict[str, Tensor] = {}
        self.skipped = 0
        self.sittings: list[dict[str, Any]] = [self._sitting()]

    def _sitting(self) -> dict[str, Any]:
        recipe = self.recipe.model_dump(mode="json")
        return {"from_step": self.clock.step, "recipe": recipe}

    def share(self) -> float:
        """Finished share of the run."""
        length = self.recipe.length
        if length.steps is not None:
            return self.clock.step / length.steps
        return self.clock.minutes / length.minutes

    def rate(self) -> float:
        """Learning rate now: linear warm-up, then a cosine down to 1 %."""
        options, share = self.recipe.optimiser, min(self.share(), 1.0)
        if share < options.warmup:
            return options.learning_rate * (share + 1e-3) / options.warmup
        along = (share - options.warmup) / (1 - options.warmup)
        return options.learning_rate * (
            0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along))
        )

    def batch(self, examples: Sequence[Example]) -> Batch:
        """Examples of this step, changed at random; epoch after epoch reshuffled."""
        size, seed = self.recipe.optimiser.batch, self.recipe.seed
        first = self.clock.step * size
        picked = []
        for position in range(first, first + size):
            epoch, place = divmod(position, len(examples))
            order = torch.randperm(
                len(examples), generator=generator(seed, _EXAMPLE_KEY, epoch)
            )
            source = generator(seed, _EXAMPLE_KEY, epoch, place)
            image, classes = examples[int(order[place])].arrays(source)
            picked.append(
                example(
                    image,
                    classes,
                    self.recipe.patch,
                    self.recipe.augmentation,
                    source,
                )
            )
        images = torch.stack([image for image, _ in picked]).to(self.device)
        masks = torch.stack([mask for _, mask in picked]).to(self.device)
        sources = [generator(seed, _STEP_KEY, first + i) for i in range(size)]
        return Batch(images, masks, sources)

    def descend(self, examples: Sequence[Example]) -> dict[str, float]:
        """One step; a step whose gradient is not finite changes nothing."""
        began = time.perf_counter()
        self.network.train()
        rate = self.rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        half = self.recipe.optimiser.precision == "bf16"
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            loss, terms = self.loss(self.network, self.batch(examples))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(
            self.network.parameters(), self.recipe.optimiser.clip
        )
        if torch.isfinite(norm):
            self.optimiser.step()
            self.average.step(self.network.parameters())
        else:
            self.skipped += 1
        self.clock.step += 1
        self.clock.minutes += (time.perf_counter() - began) / 60
        row = {"loss": float(loss.detach()), **terms}
        if self.clock.step % 20 == 0:
            self.log({"rate": rate, "skipped": self.skipped, **row})
        return row

    def validated(self, validate: Validate) -> dict[str, float]:
        """Score the averaged weights, keep the best, save the state."""
        parameters = list(self.network.parameters())
        self.average.store(parameters)
        self.average.copy_to(parameters)
        self.network.eval()
        scores = dict(validate(self.network))
        # The first ones are kept whatever they score: NaN is above nothing.
        if not self.best_weights or scores["score"] > self.best["score"]:
            self.best = scores
            self.best_weights = {
                key: value.detach().cpu().clone()
                for key, value in self.network.state_dict().items()
            }
        self.average.restore(parameters)
        self.log({"validation": scores})
        self.save()
        return scores

    def log(self, row: dict[str, Any]) -> None:
        """Append a line to the run's log."""
        line = {
            "step": self.clock.step,
            "minutes": round(self.clock.minutes, 4),
            **row,
        }
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write everything a resumed run needs."""
        save_state(
            self.out / "state",
            network=self.network,
            optimiser=self.optimiser,
            average=self.average,
            best_weights=self.best_weights,
            numbers={
                "step": self.clock.step,
                "minutes": self.clock.minutes,
                "skipped": self.skipped,
                "best": self.best,
                "sittings": self.sittings,
            },
        )

    def restore(self) -> None:
        """Go on from the state that `save` wrote."""
        numbers, self.best_weights = load_state(
            self.out / "state",
            network=self.network,
            optimiser=self.optimiser,
            average=self.average,
            recipe=self.recipe,
        )
        self.clock = _Clock(numbers["minutes"], numbers["step"])
        self.best, self.skipped = numbers["best"], numbers["skipped"]
        rewind_log(self.out / "log.jsonl", self.clock.step)
        self.sittings = [*numbers["sittings"], self._sitting()]

    def result(self) -> TrainingResult:
        """The network with its best averaged weights."""
        self.network.load_state_dict(self.best_weights)
        self.network.eval()
        return TrainingResult(
            self.network,
            self.best,
            self.clock.step,
            self.clock.minutes,
            self.skipped,
        )
