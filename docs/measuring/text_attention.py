"""Whether the diffusion model's attention can help: one option at a time, on val.

    python docs/measuring/text_attention.py run --set ph2 --out ladder --most 20
    python docs/measuring/text_attention.py show --out ladder

`--out` is where `text_ladder.py run` left its models. Each setting draws slices of val
by texts and attention, without a cache: mean Dice of masks as they come and by Otsu's
threshold, and the area under the ROC curve of the probability inside of the reference
against outside, which no threshold touches; 0.5 says nothing, less is inverted. Three
attentions are no model's: `same` is what the best of all would say, that patches attend
to those which are as much inside of the reference; `near` and `even` know nothing of
the image, and let patches attend to those around them, or to all alike. `paper` is the
paper's stream and likeness, whatever the ladder was run with.

Of layers and timesteps it is also told how many times more than chance places inside
attend to places inside, before the clustering: 1 is an attention that knows nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any
from unittest import mock

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from text_ladder import Most, Out, showing
from text_steps import Drawn, drawn_by, model_of, told_of
from torch import Tensor
from weak_folds import once

from diffseg.progress import finished
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text import looking
from diffseg.segmenters.text.enhancement import Correlation, Enhancement, enhance
from diffseg.segmenters.text.feature_store import FeatureStore
from diffseg.segmenters.text.seen import Noise, channels_shown, fitting_size
from diffseg.volume import atomic_write_bytes, read_mask
from diffseg_training.dataset import Case, Dataset, load_dataset
from diffseg_training.labelled import prepare_labelled
from diffseg_training.recipe_labels import Labelling

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
LAYERS = (
    "down_blocks.1.attentions.1",
    "down_blocks.2.attentions.1",
    "mid_block",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.2",
    "up_blocks.2.attentions.1",
    "up_blocks.3.attentions.1",
)
PAPER = {"streams": "recursive", "similarity": "cosine"}
TIMESTEPS = (1, 81, 201, 401, 601)
TRIED: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "timestep": {f"{t}": {"timesteps": (t,)} for t in TIMESTEPS},
    "layer": {name: {"attention_layers": (name,)} for name in LAYERS},
    "weight": {f"{w:g}": {"weight": w} for w in (0.0, 0.3, 1.0, 3.0)},
    "fusion": {
        name: {"fusion": name}
        for name in ("normalised", "multiplied", "gated", "diffusion", "clip")
    },
    "noises": {"8": {"draws": 8}},
    "variant": {"code": {"attention": "code", "stepped": True, "threshold": 0.0}},
    "paper": {f"{w:g}": {**PAPER, "weight": w} for w in (0.0, 1.0, 3.0)},
}
"""Options that are changed, one at a time."""
FOREIGN: Mapping[str, dict[str, Any]] = {
    "same": {},
    "near": {},
    "even": {},
    "same-paper": PAPER,
    "near-paper": PAPER,
    "even-paper": PAPER,
}
"""Attentions of no model."""
WEIGHTS = ("1", "3")


@app.command()
def run(
    set_: Annotated[str, typer.Option("--set", help="A set that was run.")],
    out: Out,
    most: Most = 20,
) -> None:
    """Draw val with every setting."""
    home = out / set_
    dataset = load_dataset(home / "manifest.csv")
    cases = showing(dataset, "val", most)
    model = model_of(home / "run", "vce")
    pieces = home / "attention"  # of which a run that was ended goes on
    pieces.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    for option, values in TRIED.items():
        for value, changes in values.items():
            work = partial(_of_options, model, dataset, cases, changes)
            name = f"{option} {value}"
            found[name] = once(pieces / f"{option}-{value}.json", work)
    for kind in FOREIGN:
        for weight in WEIGHTS:
            work = partial(_of_foreign, model, dataset, cases, kind, float(weight))
            name = f"{kind} {weight}"
            found[name] = once(pieces / f"{kind}-{weight}.json", work)
    found |= once(pieces / "lift.json", partial(_lifts, model, dataset, cases))
    atomic_write_bytes(home / "attention.json", json.dumps(found).encode())
    show(out)


@app.command()
def show(out: Out) -> None:
    """Print what every setting reaches, and what layers attend to."""
    paths = sorted(out.glob("*/attention.json"))
    sets = " | ".join(path.parent.name for path in paths)
    found = [json.loads(path.read_text()) for path in paths]
    print(f"| option | value | {sets} |")
    print("|---" * (2 + len(paths)) + "|")
    rows = [(option, value) for option in TRIED for value in TRIED[option]]
    rows += [(kind, weight) for kind in FOREIGN for weight in WEIGHTS]
    for option, value in rows:
        cells = " | ".join(_cell(one[f"{option} {value}"]) for one in found)
        print(f"| {option} | {value} | {cells} |")
    print(f"\n| layer | timestep | {sets} |")
    print("|---" * (2 + len(paths)) + "|")
    for layer in LAYERS:
        for timestep in TIMESTEPS:
            told = [f"{one['lift'][layer][f'{timestep}']:.2f}" for one in found]
            print(f"| {layer} | {timestep} | {' | '.join(told)} |")


def _cell(one: Mapping[str, Any]) -> str:
    return f"{one['dice']:.3f}; {one['dice otsu']:.3f}; {one['auroc']:.3f}"


def _of_options(
    model: Diclip, dataset: Dataset, cases: Sequence[Case], changes: dict[str, Any]
) -> dict[str, Any]:
    drawn = drawn_by(_configured(model, changes), dataset, cases)
    return {"changed": changes, **_told(list(drawn))}


def _configured(model: Diclip, changes: Mapping[str, Any]) -> Diclip:
    parts = model.network
    config = parts.config.model_validate(parts.config.model_dump() | dict(changes))
    answerer = replace(parts.answerer, config=config)
    return replace(model, network=replace(parts, config=config, answerer=answerer))


def _of_foreign(
    model: Diclip, dataset: Dataset, cases: Sequence[Case], kind: str, weight: float
) -> dict[str, Any]:
    """Draw with an attention of no model in the place of the diffusion model's."""
    changes = {**FOREIGN[kind], "weight": weight}
    # What is kept would be taken for the model's own.
    changed = replace(_configured(model, changes), store=FeatureStore(limit=0))
    drawn: list[Drawn] = []
    for case in cases:

        def foreign(
            _: Any, image: Tensor, grid: tuple[int, int], *rest: Any, case: Case = case
        ) -> Correlation:
            found = _foreign(kind.removesuffix("-paper"), case, grid)
            return Correlation(found, found)

        with mock.patch.object(looking, "enhance", foreign):
            drawn += drawn_by(changed, dataset, [case])
    return {"changed": changes, **_told(drawn)}


def _told(drawn: Sequence[Drawn]) -> dict[str, Any]:
    """Mean Dice, and how well probabilities part inside and outside."""
    rows = [told_of(one) for one in drawn]
    names = {"dice": "dice labels", "dice otsu": "dice otsu", "auroc": "auroc"}
    found: dict[str, Any] = {"slices": len(rows)}
    for name, key in names.items():
        values = [row[key] for row in rows if row[key] is not None]
        found[name] = float(np.mean(values))
    return found


def _foreign(kind: str, case: Case, grid: tuple[int, int]) -> Tensor:
    """An attention (1, N, N) of no model."""
    if kind == "near":
        return _near(grid)
    inside = inside_of(case, grid)
    return alike(torch.zeros_like(inside) if kind == "even" else inside)


def inside_of(case: Case, grid: tuple[int, int]) -> Tensor:
    """How much of each patch (N,) is inside of the reference."""
    assert case.mask is not None
    truth: NDArray[np.float32] = (read_mask(case.mask)[0] > 0).astype(np.float32)
    pooled = torch.nn.functional.adaptive_avg_pool2d(
        torch.from_numpy(truth)[None], grid
    )
    return pooled.flatten()


def alike(inside: Tensor) -> Tensor:
    """Attention (1, N, N) to patches that are as much inside; rows sum to 1."""
    both = inside[:, None] * inside + (1 - inside[:, None]) * (1 - inside)
    return (both / both.sum(-1, keepdim=True))[None]


def _near(grid: tuple[int, int]) -> Tensor:
    """Attention (1, N, N) to patches one away at most; rows sum to 1."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    places = torch.stack([rows, columns], -1).reshape(-1, 2)
    close = ((places[:, None] - places).abs().amax(-1) <= 1).float()
    return (close / close.sum(-1, keepdim=True))[None]


def _lifts(model: Diclip, dataset: Dataset, cases: Sequence[Case]) -> dict[str, Any]:
    """How many times more than chance places inside attend to places inside."""
    found: dict[str, dict[str, float]] = {}
    for layer in LAYERS:
        found[layer] = {}
        for timestep in TIMESTEPS:
            each = list(_lift(model, dataset, cases, layer, timestep))
            found[layer][f"{timestep}"] = float(np.mean(each))
    return {"lift": found, "slices": len(cases)}


def _lift(
    model: Diclip, dataset: Dataset, cases: Sequence[Case], layer: str, timestep: int
) -> Iterator[float]:
    for one in attended(model, dataset, cases, (layer,), timestep):
        inside = inside_of(one.case, one.grid)
        if float(inside.sum()):
            share = inside @ one.attention @ inside / inside.sum()
            yield float(share / inside.mean())


@dataclass(frozen=True, slots=True, eq=False)
class Attended:
    """A slice (1, C, Y, X) as it is shown, and the attention (N, N) of its patches."""

    case: Case
    shown: Tensor
    grid: tuple[int, int]
    attention: Tensor


def attended(
    model: Diclip,
    dataset: Dataset,
    cases: Sequence[Case],
    layers: tuple[str, ...],
    timestep: int,
) -> Iterator[Attended]:
    """What the diffusion model attends to in slices, on CLIP's grid, as it is read."""
    parts, config = model.network, model.network.config
    assert parts.diffusion is not None
    assert config.seen is not None
    looker = looking.Looker(parts.clip, parts.diffusion, config, model.store)
    work = prepare_labelled(cases, dataset, model.card.preparation, Labelling())
    channels, patch = model.card.preparation.channels, parts.clip.patch
    for case, example in zip(cases, finished(work), strict=True):
        plane = example.image[:, 0].numpy()
        shown = looker.shown(channels_shown(plane, config.shown, channels))
        extent = (shown.shape[2], shown.shape[3])
        grid = (extent[0] // patch[0], extent[1] // patch[1])
        factor = (parts.diffusion.factor,) * 2
        size = fitting_size(extent, config.seen, factor)
        how = Enhancement(layers=layers, size=size, timesteps=(timestep,))
        noise = Noise(0, 0, (timestep,)).drawn(parts.diffusion.latent_shape(size), 1)
        found = enhance(parts.diffusion, shown, grid, noise, how)
        yield Attended(case, shown, grid, found.attention[0])


if __name__ == "__main__":
    app()
