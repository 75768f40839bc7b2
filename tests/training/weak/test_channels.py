"""Several channels, on a real brain: the chain, its model, and wrong channels."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from beside import beside

from diffseg import Request, Volume, load_segmenter
from diffseg.domain.slice_labels import ABSENT, PRESENT, SliceLabels
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg_training.run import train_model

CHANNELS = ("flair", "t1")
PARTS = {"train": slice(36, 60), "val": slice(116, 132)}


@pytest.fixture(scope="module")
def brain(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some axial slices of a patient to learn from, and others; FLAIR and T1."""
    root, given = tmp_path_factory.mktemp("brain"), data_dir / "ms_lesion"
    if not given.is_dir():
        pytest.skip(f"no ms_lesion in {data_dir}")
    rows = []
    for split, planes in PARTS.items():
        for what in (*CHANNELS, "lesion"):
            whole = nib.load(given / f"patient07_{what}.nii.gz")
            whole.slicer[:, :, planes].to_filename(root / f"{split}_{what}.nii.gz")
        images = ";".join(f"{split}_{one}.nii.gz" for one in CHANNELS)
        mask = f"{split}_lesion.nii.gz"
        rows.append([split, split, split, images, mask, "lesion"])
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "group", "split", "image", "mask", "labels"])
        writer.writerows(rows)
    (root / "classes.json").write_text(json.dumps({"1": "lesion"}))
    return root


@pytest.fixture(scope="module")
def trained(brain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = copy.deepcopy(beside(__file__, "small_chain").RECIPE)
    recipe["labels"] = {"source": "mask"}
    recipe["preparation"] = {
        "dims": 2,
        "channels": ["FLAIR", "T1"],
        "orientation": "RAS",
        "intensity": {"kind": "zscore"},
        "size": [32, 32],
    }
    path, out = brain / "recipe.yaml", tmp_path_factory.mktemp("run") / "out"
    path.write_text(yaml.safe_dump(recipe))
    run(train_model(str(path), str(brain), out, device="cpu"))
    return out / "model"


def labels(planes: int, shown: range) -> SliceLabels:
    states = np.full((planes, 1), ABSENT, np.uint8)
    states[shown] = PRESENT
    return SliceLabels(("lesion",), states)


@pytest.mark.slow
def test_two_channels_go_from_volumes_to_masks(brain: Path, trained: Path) -> None:
    segmenter = load_segmenter(trained, device="cpu")
    assert segmenter.card.network["image_channels"] == 2
    volume = Volume.read([brain / f"val_{one}.nii.gz" for one in CHANNELS])
    planes = volume.shape[0]
    said = labels(planes, range(2, 5))
    found = segmenter.propose(Request(volume, slice_labels=said))
    assert found.probability.shape[1:] == volume.shape
    shown = found.probability[0].any(axis=(1, 2))
    assert set(np.flatnonzero(shown)) <= {2, 3, 4}
    assert shown.any()
    # The second channel is looked at, and each stands for itself.
    other = Volume.read([brain / f"val_{one}.nii.gz" for one in CHANNELS[::-1]])
    turned = segmenter.propose(Request(other, slice_labels=said))
    assert np.abs(turned.probability - found.probability).max() > 0.01


@pytest.mark.slow
def test_a_missing_channel_is_told(brain: Path, trained: Path) -> None:
    segmenter = load_segmenter(trained, device="cpu")
    volume = Volume.read(brain / "val_flair.nii.gz")
    with pytest.raises(UserError, match=r"1 channel.*FLAIR, T1"):
        segmenter.propose(Request(volume))
