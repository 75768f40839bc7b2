"""A figure: which patches cluster by the attention, and what a cache's keys hold.

    python docs/measuring/text_clusters_picture.py --set nuclei --out ladder FIGURE.png

`--out` is where `text_ladder.py run` left its models. Above, images of val, what the
diffusion model attends to from the place that the reference marks most, the clusters of
its attention, and those that a perfect attention would make. Below, keys of the cache,
each by the image that has the largest share in it: what was averaged is bright, all
else of the image blue.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from text_attention import Attended, alike, attended, inside_of
from text_ladder import showing
from text_steps import drawn_by, model_of
from torch import Tensor

from diffseg.diffusion.attention_clustering import cluster_tokens, grid_anchors
from diffseg.segmenters.diclip import Diclip
from diffseg.volume import read_mask
from diffseg_training.dataset import Case, Dataset, load_dataset, read_image

KEYS = 8
TITLES = (
    "image",
    "reference",
    "attention from the cross",
    "clusters of the attention",
    "clusters of a perfect one",
)
Pixels = NDArray[Any]


def main(
    figure: Annotated[Path, typer.Argument(help="PNG to be written.")],
    set_: Annotated[str, typer.Option("--set", help="A set that was run.")],
    out: Annotated[Path, typer.Option(help="Where its runs are.")],
    images: Annotated[int, typer.Option(help="Rows.")] = 3,
) -> None:
    """Draw the figure."""
    home = out / set_
    dataset = load_dataset(home / "manifest.csv")
    model = model_of(home / "run", "negative")
    cases = showing(dataset, "val", images)
    plot = plt.figure(figsize=(9.6, 2.0 * images + 3.4), layout="constrained")
    upper, lower = plot.subfigures(2, 1, height_ratios=(2.0 * images, 3.4))
    draw_clusters(upper, model, dataset, cases)
    draw_keys(lower, home, model, dataset)
    plot.savefig(figure, dpi=90, pil_kwargs={"optimize": True})


def draw_clusters(
    plot: Figure, model: Diclip, dataset: Dataset, cases: list[Case]
) -> None:
    """One row an image: what is attended to, and how that clusters."""
    axes = plot.subplots(len(cases), len(TITLES), squeeze=False)
    config = model.network.config
    anchors = (config.groups, config.lloyd)
    found = attended(model, dataset, cases, (), config.timesteps[0])
    for row, one in zip(axes, found, strict=True):
        assert one.case.mask is not None
        inside = inside_of(one.case, one.grid)
        place = int(inside.argmax())
        panels = [
            _pixels(one.case),
            read_mask(one.case.mask)[0] > 0,
            one.attention[place].reshape(one.grid).numpy(),
            _clusters(one.attention, one, *anchors),
            _clusters(alike(inside)[0], one, *anchors),
        ]
        for axis, panel, title in zip(row, panels, TITLES, strict=True):
            _show(axis, panel, colours="tab10" if "clusters" in title else "gray")
            if one.case is cases[0]:
                axis.set_title(fill(title, 16), fontsize=10)
        y, x = divmod(place, one.grid[1])
        row[2].plot(x, y, "+", color="#E69F00", markersize=12, markeredgewidth=2)


def _clusters(attention: Tensor, one: Attended, groups: int, lloyd: int) -> Pixels:
    """Clusters (y, x), the largest first."""
    anchors = grid_anchors(one.grid, groups)
    found = cluster_tokens(attention[None], anchors, lloyd)[0].numpy()
    sizes = np.bincount(found, minlength=groups)
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    ranked: Pixels = rank[found].reshape(one.grid)
    return ranked


def draw_keys(plot: Figure, home: Path, model: Diclip, dataset: Dataset) -> None:
    """Keys of the class and of the background, those of most images."""
    cache = model.network.cache
    assert cache is not None
    words = model_of(home / "run", "vce")  # whose masks the cache averaged
    known = {case.case: case for case in dataset.split("train")}
    plot.suptitle("Keys of the cache: what was averaged; blue was not", fontsize=11)
    axes = plot.subplots(2, KEYS, squeeze=False)
    for row, label in zip(axes, (1, 0), strict=True):
        mine = [int(key) for key in np.flatnonzero(cache.classes == label)]
        mine.sort(key=lambda key: -len(cache.images[key]))
        for axis in row:
            axis.set_axis_off()
        for axis, key in zip(row, mine, strict=False):
            group = cache.images[key]
            first = max(group, key=lambda image: image.weight)
            case = known[first.id]
            (drawn,) = drawn_by(words, dataset, [case])
            bright = drawn.mask if label else ~drawn.mask
            _show(axis, _dimmed(_pixels(case), bright))
            many = f"{len(group)} images" if len(group) > 1 else "1 image"
            axis.set_title(f"mean of {many}", fontsize=8)
        name = cache.names[0] if label else "background"
        row[0].text(
            -0.08, 0.5, f"keys of {name}", rotation=90, fontsize=10, va="center",
            ha="right", transform=row[0].transAxes,
        )  # fmt: skip


def _pixels(case: Case) -> Pixels:
    """An image (Y, X) or (Y, X, 3), its darkest 0 and its brightest 1."""
    values = np.moveaxis(np.asarray(read_image(case).data)[:, 0], 0, -1).squeeze()
    values = (values[..., :3] if values.ndim == 3 else values).astype(np.float32)
    low, high = values.min(), np.percentile(values, 99.8)
    shown: Pixels = np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)
    return shown


def _dimmed(pixels: Pixels, bright: NDArray[np.bool_]) -> Pixels:
    """The image in blue where it was not averaged."""
    colours = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, -1)
    tint = 0.35 * colours + np.array([0.0, 0.08, 0.3])
    shown: Pixels = np.where(bright[..., None], colours, np.clip(tint, 0, 1))
    return shown


def _show(axis: Axes, panel: Pixels, colours: str = "gray") -> None:
    """A panel as a square, whatever its image's sides."""
    limits = {"vmin": 0, "vmax": 9} if colours == "tab10" else {}
    axis.imshow(panel, cmap=colours, interpolation="nearest", aspect="auto", **limits)
    axis.set_box_aspect(1)
    axis.set_axis_off()


if __name__ == "__main__":
    typer.run(main)
