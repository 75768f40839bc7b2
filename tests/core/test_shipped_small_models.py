"""The small models of pictures and slices that ship: whole, honest, and of use."""

import csv

import numpy as np
import pytest

from diffseg import Request, Volume, load_segmenter
from diffseg.metrics import dice
from diffseg.models import list_models, verify_model

SMALL = {
    "lesion-dermoscopy": ("ph2", 0.85),
    "nuclei-microscopy": ("nuclei", 0.75),
    "tumour-flair": ("lgg", 0.6),
    "vessels-fundus": ("chasedb1", 0.7),
}
"""The data set of each, and the Dice that its first cases of val surpass."""
CASES = 3


def shipped():
    return {one.card.id: one for one in list_models() if one.origin == "shipped"}


def test_each_slice_model_that_ships_is_tested_here():
    slices = {
        id
        for id, one in shipped().items()
        if one.card.preparation.dims == 2 and one.card.method == "feedforward"
    }
    assert slices == set(SMALL)


@pytest.mark.parametrize("id", SMALL)
def test_a_card_says_what_it_may_be_used_for_and_how_good_it_is(id):
    model = shipped()[id]
    verify_model(model)
    card = model.card
    assert model.weights.stat().st_size <= 10_000_000
    assert card.licence.lower() in card.data.lower()
    assert card.metrics["val"]["data"].startswith(f"{SMALL[id][0]}, split val")
    assert card.metrics["val"]["dice_macro"] > SMALL[id][1]
    assert any("not intended for clinical use" in limit for limit in card.limits)


@pytest.mark.parametrize("id", SMALL)
def test_it_finds_what_it_was_trained_for_in_patients_it_has_not_seen(id, data_dir):
    data, least = SMALL[id]
    folder = data_dir / data
    if not folder.is_dir():
        pytest.skip(f"no {data} in {data_dir}")
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        val = [row for row in csv.DictReader(file) if row["split"] == "val"]
    segmenter = load_segmenter(id, device="cpu")
    found = []
    for row in [one for one in val if one["labels"]][:CASES]:
        proposal = segmenter.propose(Request(Volume.read(folder / row["image"])))
        reference = Volume.read(folder / row["mask"]).data[0] > 0
        found.append(dice(proposal.mask == 1, reference))
    assert np.mean(found) > least
