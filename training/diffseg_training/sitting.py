"""What a run has reached: its state on disk, its log and its best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffseg_training import memory
from diffseg_training.descent import Descent
from diffseg_training.lora import merged
from diffseg_training.objectives import Scoring
from diffseg_training.pace import Averages
from diffseg_training.recipe import Recipe
from diffseg_training.state import load_state, rewind_log, save_state, write_row
from diffseg_training.trackers import track
from diffseg_training.validation import Shown, loss_scores

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Scores of a network with averaged weights; `score` is what is maximised."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """The best averaged weights seen on validation, and how they were reached.

    `waiting` is the share of the time that steps waited for examples, `images` the
    images per second, both of the last sitting; `stopped` says whether validations
    without a gain ended the run.
    """

    network: nn.Module
    best: Mapping[str, float]
    steps: int
    minutes: float
    skipped: int
    images: float = 0.0
    waiting: float = 0.0
    stopped: bool = False

    def told(self) -> dict[str, Any]:
        """What every command tells of it, rounded."""
        return {
            "steps": self.steps,
            "minutes": round(self.minutes, 2),
            "skipped": self.skipped,
            "best": {key: round(value, 4) for key, value in self.best.items()},
            "images_per_second": round(self.images, 2),
            "waiting": round(self.waiting, 4),
        }


class Sitting:
    """One go at a run, from its start or from a state, up to its end.

    Parameters
    ----------
    recipe : Recipe
    descent : Descent
    out : Path
        Folder of the run.
    """

    def __init__(self, recipe: Recipe, descent: Descent, out: Path) -> None:
        self.recipe, self.descent, self.out = recipe, descent, out
        self.best: dict[str, float] = {"score": -math.inf}
        self.best_weights: dict[str, Tensor] = {}
        self.unimproved = 0
        self.loss = math.nan
        self.sittings: list[dict[str, Any]] = [self._sitting()]

    def _sitting(self) -> dict[str, Any]:
        recipe = self.recipe.model_dump(mode="json")
        return {"from_step": self.descent.pace.step, "recipe": recipe}

    def check_memory(self) -> None:
        """Refuse a run whose first step would not fit; log what it should take."""
        descent, recipe = self.descent, self.recipe
        image, _ = descent.draws.examples[0].arrays(torch.Generator())
        size = recipe.optimiser.batch // recipe.optimiser.accumulate
        size //= descent.accelerator.num_processes
        device = str(descent.device)
        need = memory.predict(
            descent.step, recipe, len(image), size, device, descent.draws.structures
        )
        memory.check(need, recipe, device)

    def stale(self) -> bool:
        """Whether validations have not gained for too long."""
        patience = self.recipe.length.patience
        return patience is not None and self.unimproved >= patience

    def message(self) -> str:
        """One line for a person."""
        pace = self.descent.pace
        return (
            f"step {pace.step}, loss {self.loss:.3f}, {pace.speed():.1f} images/s, "
            f"{pace.left()}"
        )

    def descend(self) -> None:
        """One step, and what is due after it."""
        descent, pace = self.descent, self.descent.pace
        descent.descend()
        if pace.telling():
            descent.agreed()
            row = descent.averages.taken()
            self.loss = row.get("loss", math.nan)
            self.log({**self._pace(), **row})
        elif descent.averages.count:
            self.loss = descent.averages.sums["loss"] / descent.averages.count
        if pace.saving():
            self.save()

    def _pace(self) -> dict[str, float]:
        pace = self.descent.pace
        return {
            "rate": self.descent.rate,
            "skipped": self.descent.skipped,
            "images_per_second": round(pace.speed(), 3),
            "waiting": round(pace.waiting(), 4),
        }

    def validated(
        self, validate: Validate | None, held_out: Sequence[Shown]
    ) -> dict[str, float]:
        """Score the averaged weights, keep the best, save the state."""
        descent = self.descent
        step, average = descent.step, descent.average
        parameters = step.averaged()
        with average.in_place_of(parameters):
            step.eval()
            if validate is not None:
                found = validate(step.network)
            elif isinstance(step.loss, Scoring):
                found = step.loss.scores(step.network, held_out, self.recipe)
            else:
                found = loss_scores(step, self.recipe, held_out, descent.accelerator)
            scores = dict(found)
            # The first ones are kept whatever they score: NaN is above nothing.
            self.unimproved += 1
            if not self.best_weights or scores["score"] > self.best["score"]:
                self.best, self.unimproved = scores, 0
                self.best_weights = {
                    key: value.detach().cpu().clone()
                    for key, value in step.learnt().items()
                }
        self.log({"validation": scores})
        self.save()
        return scores

    def log(self, row: dict[str, Any]) -> None:
        """Append a line to the run's log, and hand it to the trackers."""
        pace, accelerator = self.descent.pace, self.descent.accelerator
        if accelerator.is_main_process:
            line = {"step": pace.step, "minutes": round(pace.minutes, 4), **row}
            write_row(self.out / "log.jsonl", line)
        if self.recipe.trackers:
            track(accelerator, row, pace.step)

    def save(self) -> None:
        """Write everything a resumed run needs."""
        descent, pace = self.descent, self.descent.pace
        scaler = descent.accelerator.scaler
        descent.agreed()
        pace.saved_minutes = pace.minutes
        if not descent.accelerator.is_main_process:
            return
        save_state(
            self.out / "state",
            step=descent.step,
            optimiser=descent.optimiser,
            average=descent.average,
            best_weights=self.best_weights,
            numbers={
                "step": pace.step,
                "images": pace.images,
                "minutes": pace.minutes,
                "skipped": descent.skipped,
                "best": self.best,
                "unimproved": self.unimproved,
                "scaler": None if scaler is None else scaler.state_dict(),
                "since": {"count": descent.averages.count, **descent.averages.sums},
                "sittings": self.sittings,
            },
        )

    def restore(self) -> None:
        """Go on from the state that `save` wrote."""
        descent, pace = self.descent, self.descent.pace
        numbers, self.best_weights = load_state(
            self.out / "state",
            step=descent.step,
            optimiser=descent.optimiser,
            average=descent.average,
            recipe=self.recipe,
        )
        pace.step, pace.minutes = numbers["step"], numbers["minutes"]
        batch = self.recipe.optimiser.batch
        pace.images = numbers.get("images", pace.step * batch)
        pace.first_minutes = pace.saved_minutes = pace.minutes
        pace.first_images = pace.images
        self.best, descent.skipped = numbers["best"], numbers["skipped"]
        self.unimproved = numbers.get("unimproved", 0)
        scaler = descent.accelerator.scaler
        if scaler is not None and numbers.get("scaler"):  # else it was no fp16 before
            scaler.load_state_dict(numbers["scaler"])
        since = dict(numbers.get("since", {"count": 0}))
        descent.averages = Averages(since.pop("count"), since)
        if descent.accelerator.is_main_process:
            rewind_log(self.out / "log.jsonl", pace.step)
        descent.accelerator.wait_for_everyone()
        self.sittings = [*numbers["sittings"], self._sitting()]

    def result(self) -> TrainingResult:
        """The network with its best averaged weights, its updates merged."""
        descent, pace = self.descent, self.descent.pace
        network = descent.step.network
        network.load_state_dict(self.best_weights, strict=False)
        if self.recipe.lora is not None:
            network = merged(network)
        network.eval()
        return TrainingResult(
            network,
            self.best,
            pace.step,
            pace.minutes,
            descent.skipped,
            pace.speed(),
            pace.waiting(),
            pace.share() < 1,
        )
