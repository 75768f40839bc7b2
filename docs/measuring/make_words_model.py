"""Make the model of words that ships: the small pair, and a cache that it drew itself.

    python docs/measuring/make_words_model.py --data DIR

No image of any set is in its cache: the text-to-image model draws them. Masks of val of
PH2 are read here, to measure what it finds of the word "lesion".
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from make_models import MODELS
from weak_drawn import dice_of

from diffseg import Request, load_segmenter
from diffseg.metrics import bootstrap_interval
from diffseg.models import ModelFolder
from diffseg.models.registry import copy_model
from diffseg.progress import run
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly
from diffseg.volume import read_mask
from diffseg_training.dataset import load_dataset, read_image
from diffseg_training.settings.diclip import Caching
from diffseg_training.text.caching import CacheJob, iter_cached_model

ID, TEXT = "lesion-words", "lesion"
ABOUT = {
    "title": "Lesion on dermoscopic images, by words",
    "modality": "dermoscopy",
    "licence": "CC BY-NC-SA 4.0, and research and education only",
    "data": "The small pair, which learnt from captions of TCGA-LGG, PH2, nuclei of "
    "the 2018 Data Science Bowl and CHASE DB1; its cache holds images that it drew.",
    "intended_use": "A first look at masks from words, and a start for training a head "
    "on corrections, in research.",
    "limits": (
        "It reads a few dozen words, and its masks are coarse: correct every one.",
        "Captions of the pair told sides and sizes, which came from masks.",
        "Not a medical device; not intended for clinical use.",
    ),
}


def main(
    data: Annotated[Path, typer.Option(help="PH2, with its masks of val.")],
    images: Annotated[int, typer.Option(help="That it draws.")] = 16,
) -> None:
    """Put it together, let it draw, measure it, and copy it among those that ship."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        parts = Assembly(
            clip="small-clip",
            labels=(TEXT,),
            diffusion="small-text-diffusion",
            prompts="small-dermoscopy",
            # They find more of lesions than the paper's; see docs/text-results.md.
            options={"streams": "surgery", "similarity": "surgery"},
            about=ABOUT,
        )
        plain = assemble(folder / "plain", ID, parts)
        job = CacheJob(Caching(generated=images))
        made, told = run(iter_cached_model(plain, job, folder / "made", ID, "cpu"))
        print(told)
        found = {"text alone": measured(plain, data), "val": measured(made, data)}
        card = made.card.model_copy(
            update={"metrics": {**made.card.metrics, **found}, **ABOUT}
        )
        shutil.rmtree(MODELS / ID, ignore_errors=True)
        copy_model(made, card, MODELS / ID)
    print(found)


def measured(model: ModelFolder, data: Path) -> dict[str, Any]:
    """Mean Dice over the images of val."""
    segmenter, values, groups = load_segmenter(model.path, device="cpu"), [], []
    for case in load_dataset(data).split("val"):
        assert case.mask is not None
        request = Request(read_image(case), text=TEXT, members=1)
        mask = segmenter.propose(request).mask[0] > 0
        values.append(dice_of(mask, np.asarray(read_mask(case.mask)[0] > 0)) or 0.0)
        groups.append(case.group)
    return {
        "dice": round(float(np.mean(values)), 4),
        "ci95": bootstrap_interval(values, groups),
        "images": len(values),
        "data": "PH2, split val",
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    typer.run(main)
