"""Measure the training losses of finished runs against the timestep, on val.

    python docs/measuring/results_losses.py --data DATASET --run runs/ph2-ensemdiff \
        --run runs/ph2-ensemdiff-images --out losses.json

A run is told by its recipe: `denoising` is E2 of the analysis paper, and
`image_generation` E4. Every timestep is measured on the same images under the same
noise, so that neighbouring points differ by the timestep and not by chance.
`results_figures.py` draws the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from diffseg.diffusion import generator, schedule_of
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.volume import atomic_write_bytes
from diffseg_training.augment import example
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.loss_curve import AtTimesteps, trained_network
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.recipe import Recipe
from diffseg_training.training_set import prepare_examples

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPERIMENTS = {"denoising": "E2", "image_generation": "E4"}
MOST_IMAGES = 48
POINTS, EARLY_POINTS, EARLY = 60, 20, 0.15
"""Timesteps evenly over the schedule, and over its first part, where E2 dips."""
BATCH = 16
_EXAMPLE_KEY, _NOISE_KEY = 31, 32


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """The loss of one run against the timestep.

    Attributes
    ----------
    experiment : {"E2", "E4"}
    recipe : Recipe
    steps : int
        That it was trained for.
    timesteps : (N,) int64 ndarray
    errors : (N, M) float64 ndarray
        Of each of M images at each timestep.
    """

    experiment: str
    recipe: Recipe
    steps: int
    timesteps: NDArray[np.int64]
    errors: NDArray[np.float64]


def grid(timesteps: int, points: int = POINTS, early: int = EARLY_POINTS) -> list[int]:
    """Timesteps evenly over a schedule of `timesteps`, closer over its first part.

    Raises
    ------
    UserError
        There are fewer than two points.
    """
    if points < 2 or early < 0:
        raise UserError(f"points is {points} and early {early}; give 2 and 0, or more")
    whole = np.linspace(0, timesteps - 1, min(points, timesteps)).round().astype(int)
    if not early:
        return [int(t) for t in whole]
    last = round(EARLY * timesteps)
    first = np.linspace(0, last, min(early, last + 1)).round().astype(int)
    return [int(t) for t in (*first, *whole[whole > last])]


def run_recipe(folder: Path) -> tuple[Recipe, int]:
    """Recipe of a run's last sitting, and the steps that it made.

    Raises
    ------
    UserError
        The folder holds no run of E2 or E4.
    """
    file = folder / "state" / "state.json"
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        recipe = Recipe.model_validate(state["sittings"][-1]["recipe"])
    except (OSError, ValueError, LookupError, TypeError) as err:
        raise UserError(
            f"{file} does not tell a recipe ({type(err).__name__}): give the folder "
            "that `diffseg train --out` wrote"
        ) from None
    if recipe.objective.name not in EXPERIMENTS:
        raise UserError(
            f"run {folder} is one of {recipe.objective.name}: give one of denoising "
            "(E2) or image_generation (E4)"
        )
    return recipe, int(state["step"])


def iter_images(
    recipe: Recipe, dataset: Dataset, most: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """At most `most` images of val, evenly over its cases, and their classes."""
    if most < 1:
        raise UserError(f"images is {most}; give 1 or more")
    every = dataset.split("val")
    count = min(most, len(every))
    cases = [every[int(i)] for i in np.linspace(0, len(every) - 1, count)]
    prepared = run(prepare_examples(cases, dataset, recipe.preparation))
    for number, one in enumerate(prepared):
        source = generator(seed, _EXAMPLE_KEY, number)
        yield example(*one.arrays(source), recipe.patch, None, source)


@torch.no_grad()
def errors_at(
    loss: AtTimesteps,
    network: nn.Module,
    images: Sequence[tuple[Tensor, Tensor]],
    timesteps: Sequence[int],
    *,
    seed: int = 0,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Error of every image's prediction at every timestep, under one noise each.

    Parameters
    ----------
    loss : AtTimesteps
    network : nn.Module
        On `device`.
    images : sequence of (image (C, *S), classes (*S)) Tensors
    timesteps : sequence of int
    seed : int
        With an image's number, of its noise.
    device : str

    Returns
    -------
    (len(timesteps), len(images)) float64 ndarray
    """
    found = np.zeros((len(timesteps), len(images)))
    for start in range(0, len(images), BATCH):
        those = images[start : start + BATCH]
        shown = torch.stack([image for image, _ in those]).to(device)
        classes = torch.stack([one for _, one in those]).to(device)
        numbers = range(start, start + len(those))
        for row, timestep in enumerate(timesteps):
            sources = [generator(seed, _NOISE_KEY, number) for number in numbers]
            t = torch.full((len(those),), timestep)
            errors = loss.errors(network, Batch(shown, classes, sources), t)
            found[row, numbers.start : numbers.stop] = errors.double().cpu().numpy()
    return found


def measure_run(
    folder: Path,
    dataset: Dataset,
    *,
    points: int = POINTS,
    early: int = EARLY_POINTS,
    most: int = MOST_IMAGES,
    seed: int = 0,
    device: str = "cpu",
) -> Losses:
    """Measure one finished run by its own objective, without timestep weights.

    Raises
    ------
    UserError
        It is no run of E2 or E4, is not finished, or its data are others.
    """
    recipe, steps = run_recipe(folder)
    network = trained_network(recipe, folder / recipe.product).to(device)
    loss = make_loss(recipe, network)
    assert isinstance(loss, AtTimesteps)
    timesteps = grid(recipe.sampling.timesteps, points, early)
    images = list(iter_images(recipe, dataset, most, seed))
    errors = errors_at(loss, network, images, timesteps, seed=seed, device=device)
    name = EXPERIMENTS[recipe.objective.name]
    return Losses(name, recipe, steps, np.array(timesteps), errors)


def told(measured: Sequence[Losses], data: str, seed: int) -> dict[str, Any]:
    """What ``losses.json`` says of runs on one data set.

    Raises
    ------
    UserError
        Two runs are of one experiment, or of different schedules or images.
    """
    first = measured[0]
    schedule = schedule_of(first.recipe.sampling)
    for one in measured[1:]:
        other = schedule_of(one.recipe.sampling)
        same = torch.equal(other.alpha_bar, schedule.alpha_bar)
        if not same or one.errors.shape != first.errors.shape:
            raise UserError(
                f"runs of {first.recipe.name} and {one.recipe.name} differ in schedule "
                "or images: measure each into a file of its own"
            )
    names = [one.experiment for one in measured]
    if len(set(names)) < len(names):
        raise UserError(f"runs are of {', '.join(names)}: give one of each experiment")
    count = first.errors.shape[1]
    spread = {o.experiment: o.errors.std(1, ddof=min(1, count - 1)) for o in measured}
    return {
        "data": data,
        "split": "val",
        "count": count,
        "seed": seed,
        "timesteps": first.timesteps.tolist(),
        "log_snr": _numbers(schedule.log_snr().numpy()[first.timesteps]),
        "errors": {o.experiment: _numbers(o.errors.mean(1)) for o in measured},
        "standard_errors": {k: _numbers(v / count**0.5) for k, v in spread.items()},
        "runs": {
            o.experiment: {
                "recipe": o.recipe.name,
                "steps": o.steps,
                "size": o.recipe.preparation.size,
            }
            for o in measured
        },
    }


def _numbers(values: NDArray[Any]) -> list[float | None]:
    """Six digits each; None for the infinite log SNR where no signal is left."""
    return [float(f"{one:.6g}") if np.isfinite(one) else None for one in values]


def main() -> None:
    """Measure the runs that the command line names, into one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--early", type=int, default=EARLY_POINTS)
    parser.add_argument("--images", type=int, default=MOST_IMAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    try:
        dataset = load_dataset(given.data)
        measured = []
        for folder in given.run:
            print(folder, file=sys.stderr, flush=True)
            measured.append(
                measure_run(
                    folder,
                    dataset,
                    points=given.points,
                    early=given.early,
                    most=given.images,
                    seed=given.seed,
                    device=given.device,
                )
            )
        about = told(measured, dataset.root.name, given.seed)
        atomic_write_bytes(given.out, (json.dumps(about, indent=1) + "\n").encode())
    except UserError as err:
        sys.exit(f"error: {err}")


if __name__ == "__main__":
    main()
