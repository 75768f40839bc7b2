"""BraTS 2021: four MR contrasts of a glioma, all of its parts as one mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffseg_training.preparers.looking import files, told
from diffseg_training.preparers.nouns import About, Found, Item, Values
from diffseg_training.preparers.pictures import nifti_mask
from diffseg_training.preparers.splitting import by_counts, with_val

CONTRASTS = ("flair", "t1", "t1ce", "t2")

ABOUT = About(
    title="BraTS 2021",
    home="https://www.synapse.org/brats2021",
    layout="BraTS2021_*/BraTS2021_*_flair.nii.gz, _t1, _t1ce, _t2 and _seg",
    classes={1: "tumour"},
    counts={"train": 1013, "val": 113, "test": 125},
    split="9:1 by patient as AME-CAM, and a tenth of train is val; which patients is "
    "ours",
)


def find(folder: Path) -> Found:
    """Look for the contrasts and the mask of every patient."""
    found = {
        kind: files(folder, rf"(?P<key>BraTS2021_\d+)_{kind}\.nii(?:\.gz)?")
        for kind in (*CONTRASTS, "seg")
    }
    cases = list(dict.fromkeys(key for kind in found.values() for key in kind))
    lacking = [
        f"{case}_{kind}.nii.gz is missing"
        for case in cases
        for kind in found
        if case not in found[kind]
    ]
    missing = told(lacking) if cases else ["no BraTS2021_*_flair.nii.gz"]
    items = [
        Item(
            case,
            case,
            "train",
            tuple(found[kind][case] for kind in CONTRASTS),
            nifti_mask(f"masks/{case}", found["seg"][case], _whole),
        )
        for case in cases
        if all(case in kind for kind in found.values())
    ]
    dealt = by_counts(items, (("train", 9), ("test", 1)))
    return Found(tuple(with_val(dealt, 0.1)), tuple(missing))


def _whole(values: Values) -> Values:
    return (values > 0).astype(np.uint8)
