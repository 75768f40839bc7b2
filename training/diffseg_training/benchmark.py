"""Training's rows of ``diffseg bench``: beside the matrix rate and the public code."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import IO, Any, cast

import torch

from diffseg.cli.benchmarks import Row
from diffseg.cli.benchmarks.arithmetic import flops_of
from diffseg.cli.benchmarks.timing import matrix_rate
from diffseg.diffusion import generator
from diffseg.errors import DiffsegError, UserError
from diffseg.segmenters import resolve_device
from diffseg_training.benchmark_sides import RECIPE, our_recipe
from diffseg_training.machines import arithmetic
from diffseg_training.recipe import Recipe
from diffseg_training.trainer import make_step

HOME = "JuliaWolleb/Diffusion-based-Segmentation"
AT_LEAST = 1.5  # times the public code's images per second
ROUNDS, STEPS = 7, 5


@dataclass(frozen=True, slots=True)
class Turn:
    """Some steps of one side: seconds an image, and the share of them in waiting."""

    seconds: float
    waiting: float


def rows(
    model: str = "",
    device: str = "auto",
    reference: Path | None = None,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
) -> Iterator[Row]:
    """Measure training in images per second, and tell row by row.

    Parameters
    ----------
    model : str
        Of no concern here: one recipe is measured.
    device : {"auto", "cpu", "cuda", "mps"}
    reference : Path, optional
        Checkout of the public EnsemDiff code.
    rounds, steps : int
        How often all sides take turns, and steps a turn.

    Raises
    ------
    UserError
        `reference` is not such a checkout.
    DiffsegError
        A side failed.
    """
    device = resolve_device(device)
    if reference is not None:
        checked(reference)
    default = arithmetic("auto", device)
    precisions = list(dict.fromkeys(["fp32", default]))
    commands: dict[str, tuple[str, str]] = {one: ("ours", one) for one in precisions}
    if reference is not None:
        commands["public"] = ("public", str(reference.resolve()))
    turns = alternate(commands, device, rounds, steps)
    recipe = our_recipe("fp32")
    yield over_arithmetic(recipe, turns["fp32"], device)
    limits = {"fp32": None, default: 1 / AT_LEAST}
    for one in precisions:
        names = [f"at {one}"] if one == "fp32" else []
        names += ["at our default"] if one == default else []
        yield over_public(
            f"training an image, {', '.join(names)}: over public EnsemDiff",
            turns[one],
            turns.get("public"),
            limits[one],
        )


def checked(reference: Path) -> None:
    """Refuse a folder that is not a checkout of the public code.

    Raises
    ------
    UserError
        It is not.
    """
    if not (reference / "guided_diffusion" / "train_util.py").is_file():
        raise UserError(
            f"--reference {reference}: there is no guided_diffusion/train_util.py; "
            f"give a checkout of {HOME}"
        )


def training_flops(recipe: Recipe) -> int:
    """Operations of a step, forward and backward, as our network runs them."""
    step, source = make_step(recipe), generator(0)
    size = (recipe.optimiser.batch, *recipe.patch)
    channels = int(recipe.network["image_channels"])
    image = torch.randn((size[0], channels, *size[1:]), generator=source)
    classes = torch.randint(2, size, generator=source)
    sources = [generator(0, at) for at in range(size[0])]
    return flops_of(lambda: step(image, classes, sources)[0].backward())


def over_arithmetic(recipe: Recipe, turns: Sequence[Turn], device: str) -> Row:
    """Seconds an image against its operations at the matrix rate."""
    batch = recipe.optimiser.batch
    flops, rate = training_flops(recipe) / batch, matrix_rate(device)
    seconds = median(turn.seconds for turn in turns)
    waiting = median(turn.waiting for turn in turns)
    side = "x".join(map(str, recipe.patch))
    return Row(
        what=f"training an image, {side}, batch {batch}: over the arithmetic",
        ours=seconds,
        reference=flops / rate,
        settings=(
            f"Ours: the recipe {RECIPE} at fp32 on made images through the trainer's "
            f"own step, its loading included: {1 / seconds:.2f} images/s, "
            f"{flops / rate / seconds:.0%} of the matrix rate, {waiting:.1%} of the "
            f"time waiting for examples. Reference: {flops / 1e9:.2f} GFLOP an image, "
            f"forward and backward, at {rate / 1e9:,.0f} GFLOP/s."
        ),
    )


def over_public(
    what: str, ours: Sequence[Turn], public: Sequence[Turn] | None, limit: float | None
) -> Row:
    """Seconds an image against those of the public code, turn by turn."""
    if public is None:
        why = f"no public code: give --reference DIR, a checkout of {HOME}"
        return Row(what=what, skipped=why)
    faster = [b.seconds / a.seconds for a, b in zip(ours, public, strict=True)]
    low, _, high = quantiles(faster, n=4) if len(faster) > 1 else faster * 3
    mine = median(turn.seconds for turn in ours)
    # The turns are ratios of neighbours in time: their median is what is judged.
    return Row(
        what=what,
        ours=mine,
        reference=mine * median(faster),
        limit=limit,
        limit_of="ratio",
        settings=(
            f"{1 / mine:.2f} images/s, median of {len(faster)} turns; "
            f"{median(faster):.2f} times the public code's (quartiles {low:.2f} to "
            f"{high:.2f}), which took turns with it. Reference: the public network, "
            "loss, optimiser and averages at fp32, the same size and batch, fed by "
            "its own loader from files, "
            f"{median(turn.waiting for turn in public):.1%} of the time; seconds of "
            "ours times the median ratio of a turn."
        ),
    )


def alternate(
    commands: dict[str, tuple[str, str]], device: str, rounds: int, steps: int
) -> dict[str, list[Turn]]:
    """Let all sides take turns, each in a process of its own.

    Raises
    ------
    DiffsegError
        A side failed, or the networks are not of one size.
    """
    batch = our_recipe("fp32").optimiser.batch * steps
    turns: dict[str, list[Turn]] = {name: [] for name in commands}
    with contextlib.ExitStack() as stack:
        sides = {}
        said = stack.enter_context(tempfile.TemporaryFile("w+"))
        for name, (side, what) in commands.items():
            sides[name] = stack.enter_context(_started(side, what, device, said))
        heard = [_answer(name, one, said).split()[1] for name, one in sides.items()]
        if len(set(heard)) > 1:
            raise DiffsegError("the public network has another number of parameters")
        for number in range(rounds):
            # Who goes first changes, so that nobody always follows the same one.
            order = list(sides) if number % 2 else list(reversed(sides))
            for name in order:
                told = _turn(name, sides[name], steps, said)
                waiting = told["waited"] / told["seconds"]
                turns[name].append(Turn(told["seconds"] / batch, waiting))
    return turns


@contextlib.contextmanager
def _started(
    side: str, what: str, device: str, said: IO[str]
) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "diffseg_training.benchmark_sides"]
    hidden = {} if device.startswith("cuda") else {"CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [*words, side, what, device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        env={**os.environ, **hidden},
    )
    try:
        yield process
    finally:
        cast("IO[str]", process.stdin).close()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        cast("IO[str]", process.stdout).close()


def _turn(
    name: str, side: subprocess.Popen[str], steps: int, said: IO[str]
) -> dict[str, Any]:
    with contextlib.suppress(BrokenPipeError):
        entry = cast("IO[str]", side.stdin)
        entry.write(f"{steps}\n")
        entry.flush()
    found: dict[str, Any] = json.loads(_answer(name, side, said))
    return found


def _answer(name: str, side: subprocess.Popen[str], said: IO[str]) -> str:
    """The next line of a side that is ours: what else it prints is passed over."""
    for line in cast("IO[str]", side.stdout):
        if line.startswith(("ready", '{"seconds"')):
            return line
    said.seek(0)
    last = said.read().strip().splitlines()[-1:]
    raise DiffsegError(f"the trainer {name!r} ended: {' '.join(last)}")
