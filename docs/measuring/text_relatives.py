"""Other methods of image-level labels on the slices of a ladder, by Dice.

    python docs/measuring/text_relatives.py run --model brain-tumour-mri-weak --set lgg
        --out ladder
    python docs/measuring/text_relatives.py show --out ladder

`--out` is where `text_ladder.py run` left its numbers, and the model one of CLDF's that
learnt from the same patients: each slice by itself, each patient as the stack that it
is with its labels by slice, and the map of its local classifier, by itself. As the
ladder's: masks as they come and by Otsu's threshold, both by labels alone; maps by
Otsu's rule. The last column is how much better the ladder's best step is, paired by
slice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer
from text_ladder import Out, showing
from text_steps import STEPS
from weak_drawn import dice_of, probabilities
from weak_folds import at_size, images_of, mean_cell, once

from diffseg.metrics import paired_interval
from diffseg.models import find_model
from diffseg.progress import finished
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.cams import raw_maps, unit_maps
from diffseg.segmenters.cams.choosing import masks_of
from diffseg.segmenters.weak.thresholds import Threshold
from diffseg.volume import read_mask
from diffseg_training.dataset import Dataset, load_dataset
from diffseg_training.labelled import prepare_labelled
from diffseg_training.recipe_labels import Labelling

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
RELATIVES = {
    "map": "local activation map",
    "cldf-alone": "CLDF, each slice by itself",
    "cldf": "CLDF, patients as stacks",
}
OTSU = Threshold(kind="otsu")


@app.command()
def run(
    model: Annotated[str, typer.Option(help="Of CLDF, with a local classifier.")],
    set_: Annotated[str, typer.Option("--set", help="A set that was run.")],
    out: Out,
) -> None:
    """Draw the ladder's slices by each."""
    home = out / set_
    dataset = load_dataset(home / "manifest.csv")
    ladder = json.loads((home / "text.json").read_text())["slices"]
    wanted = [row["case"] for row in ladder]
    folder = find_model(model).path
    work = partial(_of_map, folder, dataset, wanted)
    once(home / "relative-map.json", work)
    for name, whole in (("cldf-alone", False), ("cldf", True)):
        work = partial(_of_model, folder, dataset, wanted, whole=whole)
        once(home / f"relative-{name}.json", work)
    show(out)


@app.command()
def show(out: Out) -> None:
    """Print means over slices, 95 % intervals over patients."""
    print("| set | method | slices | as they come | Otsu | a step is better by |")
    print("|---" * 6 + "|")
    for home in sorted({path.parent for path in out.glob("*/relative-*.json")}):
        steps = {
            step: json.loads((home / f"{step}.json").read_text())["slices"]
            for step in STEPS
        }
        best = max(
            steps.values(), key=lambda rows: np.mean([row["dice otsu"] for row in rows])
        )
        for name, title in RELATIVES.items():
            rows = json.loads((home / f"relative-{name}.json").read_text())["slices"]
            groups = [row["group"] for row in rows]
            cells = [
                mean_cell([row[key] for row in rows], groups) if key in rows[0] else ""
                for key in ("dice labels", "dice otsu")
            ]
            told = [home.name, title, f"{len(rows)}", *cells, _better(best, rows)]
            print(f"| {' | '.join(told)} |")


def _better(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Mean of the ladder's Dice minus another's by Otsu's rule, and its interval."""
    other = {row["case"]: row["dice otsu"] for row in theirs}
    rows = [row for row in ours if row["case"] in other]
    pairs = [row["dice otsu"] for row in rows], [other[row["case"]] for row in rows]
    ends = paired_interval(*pairs, [row["group"] for row in rows])
    mean = float(np.mean(np.subtract(*pairs)))
    return f"{mean:+.3f}" + (f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else "")


def _of_model(
    model: Path, dataset: Dataset, wanted: list[str], *, whole: bool
) -> dict[str, Any]:
    """Dice of proposals of the slices that are wanted."""

    def rows() -> Iterator[dict[str, Any]]:
        for case, likely, mask, truth in probabilities(
            model, dataset, "test", members=1, whole=whole
        ):
            if case.case in wanted:
                cut = masks_of(likely[None].astype(np.float32), OTSU)[0]
                yield {
                    "case": case.case,
                    "group": case.group,
                    "dice labels": dice_of(mask, truth),
                    "dice otsu": dice_of(cut, truth),
                }

    return {"slices": list(rows())}


def _of_map(model: Path, dataset: Dataset, wanted: list[str]) -> dict[str, Any]:
    """Dice of the local classifier's maps, each slice by itself, by Otsu's rule."""
    segmenter = cast("Any", load_segmenter(str(model), device="cpu"))
    cases = [c for c in showing(dataset, "test", 10**6) if c.case in wanted]
    work = prepare_labelled(cases, dataset, segmenter.card.preparation, Labelling())
    maps = raw_maps("local_map", segmenter.network.local, images_of(finished(work)))
    rows = []
    for case, one in zip(cases, maps, strict=True):
        assert case.mask is not None
        truth = np.asarray(read_mask(case.mask)[0] > 0)
        cut = masks_of(at_size(unit_maps(one[None]), truth[None]), OTSU)[0]
        row = {"case": case.case, "group": case.group}
        rows.append({**row, "dice otsu": dice_of(cut, truth)})
    return {"slices": rows}


if __name__ == "__main__":
    app()
