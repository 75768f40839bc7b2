"""What the scripts that measure DiCLIP's parts compute beside the method itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from beside import measuring
from skimage.io import imread, imsave

from diffseg.diffusion.attention_clustering import cluster_tokens


def test_the_best_of_all_attentions_parts_inside_and_outside() -> None:
    attention = measuring("text_attention")
    inside = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    found = attention.alike(inside)
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 6))
    torch.testing.assert_close(found[0, 0], torch.tensor([0.5, 0.5, 0, 0, 0, 0]))
    clusters = cluster_tokens(found, torch.tensor([0, 5]))[0]
    assert clusters.tolist() == [0, 0, 1, 1, 1, 1]
    near = attention._near((2, 3))[0]
    torch.testing.assert_close(near.sum(-1), torch.ones(6))
    # The corner attends to itself, two beside it and one across; not two away.
    torch.testing.assert_close(near[0], torch.tensor([0.25, 0.25, 0, 0.25, 0.25, 0]))


def test_a_manifest_of_pictures_with_one_structure_each(tmp_path: Path) -> None:
    cache, data, home = measuring("text_cache"), tmp_path / "data", tmp_path / "home"
    data.mkdir()
    shown = ["skin;lesion", "skin", "tissue;nucleus", "tissue;nucleus"]
    mask = np.zeros((8, 8), np.uint8)
    mask[:4], mask[4:] = 4, 6
    lines = []
    for number, labels in enumerate(shown):
        picture = np.full((8, 8, 3), 90, np.uint8)
        imsave(data / f"{number}.png", picture, check_contrast=False)
        imsave(data / f"m{number}.png", mask, check_contrast=False)
        told = [f"{number}.png", f"m{number}.png", labels]
        lines.append([f"c{number}", f"p{number}", "train", *told])
    with (data / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "group", "split", "image", "mask", "labels"])
        writer.writerows(lines)
    cache._write(data, home, {"lesion": 4, "nucleus": 6}, {"train": 1})
    with (home / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["labels"] for row in rows] == ["lesion", "nucleus"]
    assert json.loads((home / "classes.json").read_text()) == {
        "1": "lesion",
        "2": "nucleus",
    }
    second = imread(rows[1]["mask"])
    assert not second[:4].any()
    assert (second[4:] == 2).all()


def test_the_share_of_full_supervision_is_of_mean_dice() -> None:
    heads = measuring("text_heads")
    weak, full = ([{"dice labels": one} for one in values]
                  for values in ([0.2, 0.6], [0.7, 0.9]))  # fmt: skip
    assert heads._share({"labels": weak, "masks": full}) == "50.0%"


def test_a_difference_is_paired_by_slice() -> None:
    relatives = measuring("text_relatives")

    def rows(*values: float) -> list[dict[str, object]]:
        return [
            {"case": f"c{at}", "group": f"p{at % 2}", "dice otsu": value}
            for at, value in enumerate(values)
        ]

    theirs = rows(0.1, 0.2, 0.3, 0.4)
    ours = list(reversed(rows(0.3, 0.4, 0.5, 0.6)))
    assert relatives._better(ours, theirs) == "+0.200 (+0.200 to +0.200)"


def test_an_effect_is_of_slices_and_its_spread_of_patients() -> None:
    effects = measuring("text_effects")
    ours, theirs = (
        [
            {"case": case, "group": case[0], "dice otsu": value}
            for case, value in zip(("a1", "a2", "b1"), values, strict=True)
        ]
        for values in ((0.5, 0.7, 0.9), (0.4, 0.6, 0.2))
    )
    value, draws = effects.effect(ours, theirs, "dice otsu")
    assert value == pytest.approx(0.3)
    # Twice the first patient, one of each, twice the second.
    assert np.allclose(np.unique(draws.round(6)), [0.1, 0.3, 0.7])
    assert effects.cell(value, draws) == "+0.300 (+0.100 to +0.700)"
