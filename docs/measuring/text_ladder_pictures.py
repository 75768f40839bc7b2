"""A figure of a ladder's maps: some images of val, and what each step says of them.

    python docs/measuring/text_ladder_pictures.py --set nuclei --out ladder FIGURE.png

`--out` is where `text_ladder.py run` left its models. Of the diffusion model's finest
attention the row of one place is shown, the one that the reference marks most.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from text_ladder import showing
from text_steps import STEPS, Drawn, drawn_by, model_of

from diffseg.progress import finished
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.looking import Looker
from diffseg.segmenters.text.seen import Noise, channels_shown
from diffseg_training.dataset import Case, load_dataset, read_image
from diffseg_training.labelled import prepare_labelled
from diffseg_training.recipe_labels import Labelling


def main(
    figure: Annotated[Path, typer.Argument(help="PNG to be written.")],
    set_: Annotated[str, typer.Option("--set", help="A set that was run.")],
    out: Annotated[Path, typer.Option(help="Where its runs are.")],
    images: Annotated[int, typer.Option(help="Rows.")] = 3,
) -> None:
    """Draw the figure."""
    home = out / set_
    dataset = load_dataset(home / "manifest.csv")
    cases = showing(dataset, "val", images)
    models = {step: model_of(home / "run", step) for step in STEPS}
    drawn = {step: list(drawn_by(one, dataset, cases)) for step, one in models.items()}
    first = drawn["text"]
    titles = ["image", "reference", "attention there", *STEPS]
    size = (1.7 * len(titles), 1.75 * len(first))
    plot, axes = plt.subplots(len(first), len(titles), figsize=size, squeeze=False)
    for row, one in enumerate(first):
        case = next(case for case in cases if case.case == one.case)
        near = attention_at(models["vce"], dataset, case, one)
        shown = np.moveaxis(np.asarray(read_image(case).data)[:, 0], 0, -1).squeeze()
        maps = [drawn[step][row].likely for step in STEPS]
        panels: list[NDArray[Any]] = [shown, one.truth, near, *maps]
        for axis, panel, title in zip(axes[row], panels, titles, strict=True):
            axis.imshow(panel, cmap="gray" if panel.ndim == 2 else None)
            axis.set_axis_off()
            if not row:
                axis.set_title(fill(STEPS.get(title, title), 18), fontsize=8)
    plot.tight_layout(pad=0.4)
    plot.savefig(figure, dpi=100)


def attention_at(
    model: Diclip, dataset: Any, case: Case, drawn: Drawn
) -> NDArray[np.float32]:
    """The diffusion model's finest attention of a place inside, to all others."""
    preparation = model.card.preparation
    work = prepare_labelled([case], dataset, preparation, Labelling())
    (example,) = finished(work)
    plane = example.image[:, 0].numpy()
    shown = channels_shown(plane, model.network.config.shown, preparation.channels)
    parts = model.network
    config = parts.config.model_copy(update={"refinement": ("diffusion",)})
    noise = Noise(0, 0, tuple(config.timesteps[:1]))
    looker = Looker(parts.clip, parts.diffusion, config, model.store)
    seen = finished(looker.look(shown, noise))
    assert seen.fine is not None
    assert seen.fine_grid is not None
    rows, columns = seen.fine_grid
    truth = torch.from_numpy(drawn.truth.astype(np.float32))[None, None]
    share = torch.nn.functional.interpolate(truth, (rows, columns), mode="area")
    place = int(share.flatten().argmax())
    found = seen.fine[0, place].reshape(1, 1, rows, columns).cpu()
    return torch.nn.functional.interpolate(found, drawn.truth.shape)[0, 0].numpy()


if __name__ == "__main__":
    typer.run(main)
