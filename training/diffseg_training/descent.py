"""Steps downhill: examples in, averaged weights out, on one process or many."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, cast

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor, nn

from diffseg.diffusion import generator
from diffseg.errors import UserError
from diffseg.networks import training_layout
from diffseg_training.allocation import keep_freed_memory
from diffseg_training.average import Average
from diffseg_training.known import parted
from diffseg_training.loader import Loader, default_workers
from diffseg_training.machines import all_of
from diffseg_training.optimisation import learning_rate, make_optimiser
from diffseg_training.pace import Averages, Pace
from diffseg_training.recipe import Recipe
from diffseg_training.sampling import CHANCE_KEY, Draws, Sample
from diffseg_training.slice_draws import SliceDraws
from diffseg_training.step import Step, keep_float32
from diffseg_training.synchronised import synchronise_batch_norm

AnyDraws = Draws | SliceDraws
_SHARED_EVERY = 10  # steps between agreements on the time, on a GPU


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """What is known of a step once the device has computed it."""

    terms: Mapping[str, Tensor | float]
    broken: Tensor
    cases: Sequence[str]


class Descent:
    """Network, optimiser and average of a run, and the examples they meet.

    Parameters
    ----------
    recipe : Recipe
    step : Step
        On any device; it is moved to the accelerator's.
    draws : Draws or SliceDraws
    accelerator : Accelerator
    pace : Pace
        Counted on by every step.
    """

    def __init__(
        self,
        recipe: Recipe,
        step: Step,
        draws: AnyDraws,
        accelerator: Accelerator,
        pace: Pace,
    ) -> None:
        options = recipe.optimiser
        self.recipe, self.step, self.draws, self.pace = recipe, step, draws, pace
        self.accelerator, self.device = accelerator, accelerator.device
        if accelerator.num_processes > 1:
            step.network = synchronise_batch_norm(step.network, str(self.device))
        if options.float32_below:
            keep_float32(step.network, options.float32_below)
        layout = training_layout(len(recipe.patch), str(self.device))
        step.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        if self.device.type == "cpu":
            keep_freed_memory()
        self.optimiser = make_optimiser(options, step.trained(), str(self.device))
        self.average = Average(step.averaged(), options.ema, warmup=options.ema_warmup)
        self.model, self._prepared = accelerator.prepare(step, self.optimiser)
        self.rate = 0.0
        self.skipped = 0
        self.averages = Averages()
        self._in_a_row = 0
        self._fresh = 0.0
        self._pending: list[_Taken] = []
        self._on_gpu = self.device.type == "cuda"
        workers = recipe.loading.workers
        self.loader: Loader[Sample] = Loader(
            draws.sample,
            default_workers() if workers is None else workers,
            ahead=max(8, 2 * self._images),
        )

    @property
    def _images(self) -> int:
        """Images that go through the network of one process at once."""
        options = self.recipe.optimiser
        processes: int = self.accelerator.num_processes
        return options.batch // (options.accumulate * processes)

    def _positions(self) -> Iterator[range]:
        """Positions of this process's examples, part after part, from now on."""
        size, mine = self._images, self.accelerator.process_index
        for part in count():
            first = (part * self.accelerator.num_processes + mine) * size
            yield range(self.pace.images + first, self.pace.images + first + size)

    def descend(self) -> None:
        """One step; a step whose gradient is not finite changes nothing.

        Raises
        ------
        UserError
            Too many steps in a row had no finite gradient.
        """
        began, waited = time.perf_counter(), self.loader.waited
        recipe, pace = self.recipe, self.pace
        self.step.train()
        self.rate = learning_rate(recipe.optimiser, pace.share())
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        mine = self.accelerator.process_index
        chance = generator(recipe.seed, CHANCE_KEY, pace.step, mine)
        torch.manual_seed(chance.initial_seed())  # what layers draw, as dropout does
        before = self._statistics()
        terms, cases = self._gradients()
        norm = self.accelerator.clip_grad_norm_(
            self.step.trained(), recipe.optimiser.clip
        )
        broken = ~torch.isfinite(cast("Tensor", norm))
        self._update(broken, before)
        pace.step += 1
        pace.images += recipe.optimiser.batch
        self._pending.append(_Taken(terms, broken, cases))
        if not self._on_gpu or pace.telling():
            self.settle()
        self._count_time(time.perf_counter() - began, self.loader.waited - waited)

    def _gradients(self) -> tuple[Mapping[str, Tensor | float], list[str]]:
        """Forward and backward, part after part; terms of the loss, and cases."""
        parts, options = self._positions(), self.recipe.optimiser
        blocks = list(islice(parts, options.accumulate))
        after = [at for block in islice(parts, 1 + 16 // self._images) for at in block]
        blocks_after = [*blocks[1:], range(0)]
        sums: dict[str, Tensor | float] = {}
        cases: list[str] = []
        self.optimiser.zero_grad(set_to_none=True)
        for block, following in zip(blocks, blocks_after, strict=True):
            samples = self.loader.take(block, [*following, *after])
            cases += [one.case for one in samples]
            last = block is blocks[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss, terms = self.model(*self._batch(samples, block))
                self.accelerator.backward(loss / options.accumulate)
            for name, value in {**terms, "loss": loss.detach()}.items():
                sums[name] = sums.get(name, 0.0) + value / options.accumulate
        return sums, cases

    def _batch(
        self, samples: Sequence[Sample], block: range
    ) -> tuple[Tensor, Tensor, list[torch.Generator], Tensor | None, Tensor | None]:
        image = torch.stack([one.image for one in samples])
        classes, known = parted(torch.stack([one.classes for one in samples]))
        if known is not None:
            known = known.to(self.device)
        if self._on_gpu:
            image, classes = image.pin_memory(), classes.pin_memory()
        image = image.to(
            self.device,
            memory_format=training_layout(image.ndim - 2, str(self.device)),
            non_blocking=True,
        )
        sources = [self.draws.noise(at) for at in block]
        classes = classes.to(self.device, non_blocking=True)
        said = [one.labels for one in samples if one.labels is not None]
        labels = torch.stack(said).to(self.device) if said else None
        return image, classes, sources, known, labels

    def _update(self, broken: Tensor, before: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Step the optimiser and the average, unless the gradient is broken."""
        if self._on_gpu:
            # Not asked whether it is: the device would have to be waited for.
            if self.accelerator.scaler is None:
                optimiser = cast("Any", self.optimiser)
                optimiser.grad_scale, optimiser.found_inf = None, broken.float()
            for buffer, value in before:
                torch.where(broken, value, buffer, out=buffer)
        elif bool(broken):
            for buffer, value in before:
                buffer.copy_(value)
            if self.accelerator.scaler is not None:
                self._prepared.step()  # which it skips, and lowers the scale
            return
        self._prepared.step()
        self.average.step(self.step.averaged())

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        """What layers remember of what they saw, and a copy of it."""
        return [
            (buffer, buffer.clone())
            for module in self.step.network.modules()
            if isinstance(module, nn.modules.batchnorm._NormBase)
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]

    def settle(self) -> None:
        """Count in what the steps since the last time came to."""
        limit = self.recipe.optimiser.not_finite
        for taken in self._pending:
            if bool(taken.broken):
                self.skipped += 1
                self._in_a_row += 1
            else:
                self._in_a_row = 0
                self.averages.add({k: float(v) for k, v in taken.terms.items()})
            if self._in_a_row >= limit:
                cases = ", ".join(dict.fromkeys(all_of([*taken.cases])))
                raise UserError(
                    f"{limit} steps in a row, up to step {self.pace.step}, had no "
                    f"finite gradient, the last with {cases}: look at these cases, "
                    "lower optimiser.learning_rate or set optimiser.precision to fp32"
                )
        self._pending.clear()

    def agreed(self) -> None:
        """Let all processes hold the same averages; none does alone what follows."""
        self.settle()
        if self.accelerator.num_processes == 1 or not self.averages.sums:
            return
        names = list(self.averages.sums)
        mine = torch.tensor([self.averages.sums[name] for name in names])
        shared = cast("Tensor", self.accelerator.reduce(mine.to(self.device), "mean"))
        self.averages.sums = dict(zip(names, shared.tolist(), strict=True))

    def _count_time(self, seconds: float, waited: float) -> None:
        """Add to the minutes of the run, which all processes take from the first."""
        self._fresh += seconds / 60
        self.pace.waited += waited / 60
        several = self.accelerator.num_processes > 1
        if several and self._on_gpu and self.pace.step % _SHARED_EVERY:
            return
        if several:
            fresh = torch.tensor(self._fresh, device=self.device)
            torch.distributed.broadcast(fresh, 0)
            self._fresh = float(fresh)
        self.pace.minutes += self._fresh
        self._fresh = 0.0
