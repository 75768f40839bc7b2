"""One chain of denoising that is held to strokes, step by step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffseg.diffusion import to_x0
from diffseg.diffusion.constrained import (
    held,
    log_likelihood,
    moved_down,
    pulled,
    regressed,
    replaced,
)
from diffseg.diffusion.samplers import Noise
from diffseg.domain import Resampling
from diffseg.segmenters.constraint import Seen
from diffseg.segmenters.denoiser import Denoiser, Evaluation
from diffseg.segmenters.drawing import chain
from diffseg.segmenters.readout import Readout
from diffseg.segmenters.source import Step

# Draws of noise beyond those of any chain; see `diffusion.member_noise`.
_BEYOND = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """Where a chain ended.

    Parameters
    ----------
    mask : (M, C, n, Y, X) Tensor
        In the mask's range.
    beside : (M, C', n, Y, X) Tensor
        What the network's last output held beside the mask.
    likely : (M,) Tensor
        Mean log-likelihood of the strokes in the last estimate, before it was set to
        them.
    """

    mask: Tensor
    beside: Tensor
    likely: Tensor


class HeldChain:
    """A chain of several members of one image, and how it is held to the strokes.

    Parameters
    ----------
    readout : Readout
        Its schedule ends where the chain begins.
    seen : Seen
    options : Resampling
    noise : function
        The draw-th standard normal field of these members.
    """

    def __init__(
        self, readout: Readout, seen: Seen, options: Resampling, noise: Noise
    ) -> None:
        self._readout, self._seen, self._options = readout, seen, options
        self._noise, self._drawn = noise, 0
        self._encoded = False
        self._truth = self._as_mask(seen.truth)

    def walk(self, steps: int, denoiser: Denoiser) -> Generator[Step | None, None, End]:
        """Denoise from the schedule's end to a clean mask."""
        asked: list[tuple[Tensor, Tensor, Tensor]] = []
        readout, channels = self._readout, self._readout.channels

        # As in `drawing`: an estimate is promised, and filled in when it is yielded.
        def promised(x: Tensor, t: Tensor) -> Tensor:
            promise = x.new_empty(len(x), readout.width, *x.shape[2:])
            asked.append((x, t, promise))
            return promise

        end: End | None = None
        sampling, schedule = readout.sampling, readout.schedule
        estimates = chain(sampling, schedule, steps, promised, self._given)
        for done, estimate in enumerate(estimates):
            if steps > 1:
                yield Step(done, steps)
            x, t, promise = asked.pop()
            for jump in range(self._options.jumps):
                if jump:
                    again = promise[:, :channels]
                    x.copy_(schedule.add_noise(again, self._more(), t))
                yield from self._hold(x, t, denoiser)
                output = yield from denoiser.evaluate(x, t)
                promise.copy_(readout.estimate(output, x, t))
                likely = self._likely(promise[:, :channels])
                self._set(promise[:, :channels])
            end = End(estimate, output[:, readout.width :], likely)
        assert end is not None
        return end

    def _given(self, draw: int) -> Tensor:
        """A sampler's noise; in place of its first, the mask to start from, noised."""
        fresh = self._noise(draw)
        if draw or self._seen.base is None:
            return fresh
        t = torch.full((len(fresh),), self._readout.schedule.timesteps - 1)
        return self._readout.schedule.add_noise(self._start(fresh), fresh, t)

    def _start(self, like: Tensor) -> Tensor:
        seen, options = self._seen, self._options
        assert seen.base is not None
        shares = seen.base[None]
        if options.projects:
            shares = pulled(shares, seen.pull, options.strength)
        if options.way != "weighting":
            shares = held(shares, seen.truth, seen.known)
        return self._as_mask(shares).expand_as(like)

    def _more(self) -> Tensor:
        """Noise that no sampler has drawn."""
        self._drawn += 1
        return self._noise(_BEYOND + self._drawn)

    def _hold(self, x: Tensor, t: Tensor, denoiser: Denoiser) -> Generator[
        Step | None, None, None
    ]:  # fmt: skip
        """Hold the noisy mask, in place, before the network sees it."""
        seen, schedule = self._seen, self._readout.schedule
        if self._options.way == "replacement":
            x.copy_(replaced(x, self._truth, seen.known, self._more(), t, schedule))
        elif self._options.way == "guidance" and bool(seen.known.any()):
            gradient = yield from self._gradient(x, t, denoiser)
            x.copy_(moved_down(x, gradient, t, self._options.strength, schedule))

    def _set(self, estimate: Tensor) -> None:
        """Set an estimate of the clean mask, in place, to the strokes."""
        seen, readout, options = self._seen, self._readout, self._options
        if options.projects:
            shares = readout.completed(readout.shares(estimate))
            shares = pulled(shares, seen.pull, options.strength)
            felt = seen.known | (seen.pull.amax(0) > 0)
        elif options.regresses:
            shares = regressed(
                readout.completed(readout.shares(estimate)),
                seen.truth,
                seen.known,
                seen.widths,
                gain=options.gain,
                shrink=options.shrink,
                rounds=options.rounds,
            )
            felt = torch.ones_like(seen.known)
        else:
            return
        wanted = self._as_mask(held(shares, seen.truth, seen.known))
        estimate.copy_(torch.where(felt, wanted, estimate))

    def _likely(self, estimate: Tensor) -> Tensor:
        readout, seen = self._readout, self._seen
        shares = readout.completed(readout.shares(estimate))
        return log_likelihood(shares, seen.truth, seen.known)

    def _as_mask(self, shares: Tensor) -> Tensor:
        """Shares (..., K, *S), background first, as channels in the mask's range."""
        low, high = self._readout.sampling.mask_range
        first = 0 if self._readout.background else 1
        return low + (high - low) * shares.narrow(-4, first, self._readout.channels)

    def _gradient(self, x: Tensor, t: Tensor, denoiser: Denoiser) -> Evaluation:
        """Gradient of the strokes' error with respect to the noisy mask."""
        if not self._encoded:  # what is kept of the image needs no gradient
            yield from _computed(lambda: denoiser.evaluate(x, t), gradients=False)
            self._encoded = True
        with torch.inference_mode(mode=False):
            leaf, t = x.clone().requires_grad_(), t.clone()
        output = yield from _computed(lambda: denoiser.evaluate(leaf, t))
        with torch.inference_mode(mode=False), torch.enable_grad():
            error = self._error(output, leaf, t)
            (gradient,) = torch.autograd.grad(error, leaf)
        return gradient

    def _error(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """Cross-entropy of classes, else squared error, at the known voxels."""
        readout, seen = self._readout, self._seen
        mask = output[:, : readout.channels]
        prediction = readout.sampling.prediction
        if prediction == "classes":
            truth = seen.truth[0 if readout.background else 1 :]
            likely = torch.where(truth > 0, mask, 1 - mask).clamp_min(1e-12).log()
            if readout.background:
                likely = likely * truth
            return -(likely * seen.known).sum()
        # Not clipped: a clipped estimate has no gradient where it errs the most.
        x0 = to_x0(prediction, mask, noisy, t, readout.schedule)
        return ((x0 - self._truth) ** 2 * seen.known).sum()


def _computed(work: Callable[[], Evaluation], *, gradients: bool = True) -> Evaluation:
    """Carry an evaluation on outside inference mode; who waits for it stays within."""
    going = work()
    try:
        while True:
            with torch.inference_mode(mode=False), torch.set_grad_enabled(gradients):
                try:
                    piece = next(going)
                except StopIteration as stop:
                    answer: Tensor = stop.value
                    return answer
            yield piece
    finally:
        going.close()
