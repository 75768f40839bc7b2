"""How many rounds, and how far, pixels that look alike should agree: by Dice on val.

    python docs/measuring/weak_refinement.py 0 --data DIR --out weak

Draws the slices of val that show the structure with a fold's model (`weak_methods.py
fold`) without its last step, takes that step with several settings, and prints the mean
Dice of masks as they come. Masks of val are read: it is for choosing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch.nn import functional
from weak_drawn import dice_of, probabilities
from weak_folds import FOLDS
from weak_sources import RECIPE

from diffseg.segmenters.refining.neighbours import ring_offsets
from diffseg.segmenters.refining.pixels import pixel_affinity, refine_by_pixels
from diffseg_training.dataset import load_dataset, read_image
from diffseg_training.evenly import evenly
from diffseg_training.recipe import load_recipe

ROUNDS = (3, 5, 10, 15, 20, 40)
DISTANCES = ((1, 2), (1, 2, 4, 8), (1, 2, 4, 6, 12), (1, 2, 4, 8, 12, 24))


def main(
    number: Annotated[int, typer.Argument(min=0, max=FOLDS - 1)],
    data: Annotated[Path, typer.Option(help="Folder with the manifest of slices.")],
    out: Annotated[Path, typer.Option(help="Of weak_methods.py.")],
    recipe: Annotated[str, typer.Option(help="Of the chain: name or file.")] = RECIPE,
    most: Annotated[int, typer.Option(help="Most slices, evenly.")] = 1000,
) -> None:
    """Print a line for each choice of neighbours, a column for each count of rounds."""
    home = out / f"fold{number}"
    dataset = load_dataset(home / "manifest.csv")
    model = home / "cldf" / "model"
    every = probabilities(model, dataset, "val", 1, whole=True, refined=False)
    drawn = evenly(list(every), most)
    truth = [one[3] for one in drawn]
    size = load_recipe(recipe).preparation.size
    images = [read_image(case).data.squeeze() for case, *_ in drawn]
    # As the network sees them: its probabilities came to the files' grid from there.
    image, likely = (
        functional.adaptive_avg_pool2d(
            torch.from_numpy(np.stack(some).astype(np.float32))[:, None], size
        )
        for some in (images, [one[1] for one in drawn])
    )
    plain = [one[1] > 0.5 for one in drawn]
    mean = np.mean([dice_of(a, b) for a, b in zip(plain, truth, strict=True)])
    print(f"without it: {mean:.3f}, {len(drawn)} slices")
    print(f"| neighbours at | {' | '.join(f'{n} rounds' for n in ROUNDS)} |")
    print("|---" * (1 + len(ROUNDS)) + "|")
    for distances in DISTANCES:
        cells = _tried(likely, image, truth, distances)
        print(f"| {', '.join(map(str, distances))} | {' | '.join(cells)} |", flush=True)


def _tried(
    likely: torch.Tensor,
    image: torch.Tensor,
    truth: list[np.ndarray],
    distances: tuple[int, ...],
) -> list[str]:
    weights = pixel_affinity(image, ring_offsets(distances))
    cells, done = [], 0
    for rounds in ROUNDS:
        likely = refine_by_pixels(
            likely,
            image,
            iterations=rounds - done,
            dilations=distances,
            weights=weights,
        )
        done = rounds
        full = functional.interpolate(likely, truth[0].shape, mode="bilinear")
        masks = full[:, 0].numpy() > 0.5
        each = [dice_of(a, b) for a, b in zip(masks, truth, strict=True)]
        cells.append(f"{np.mean([one for one in each if one is not None]):.3f}")
    return cells


if __name__ == "__main__":
    typer.run(main)
