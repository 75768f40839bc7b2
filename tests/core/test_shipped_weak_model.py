"""The model that ships for masks from image-level labels: honest, and of use."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from diffseg import Proposal, Request, Volume, load_segmenter
from diffseg.domain import ImageLabels
from diffseg.domain.slice_labels import ABSENT, PRESENT, SliceLabels
from diffseg.metrics import dice
from diffseg.models import list_models, verify_model
from diffseg.volume import read_mask

ID, PATIENT = "brain-tumour-mri-weak", "TCGA_DU_8166_19970322"


def test_its_card_says_what_taught_it_and_how_little_it_knows() -> None:
    model = next(one for one in list_models() if one.card.id == ID)
    verify_model(model)
    card = model.card
    assert model.weights.stat().st_size <= 16_000_000
    assert card.licence == "CC BY-NC-SA 4.0"
    assert card.metrics["trained_on"] == "image-level labels alone"
    assert card.metrics["val"]["dice_of_slices_with_tumour"] > 0.5
    assert {"labels", "slice_labels"} <= card.capabilities
    assert any("not intended for clinical use" in limit for limit in card.limits)


@pytest.fixture(scope="module")
def stack(data_dir: Path) -> tuple[Volume, np.ndarray, np.ndarray]:
    """Slices of a patient whom it has not seen, whether each shows it, and where."""
    folder = data_dir / "lgg"
    if not folder.is_dir():
        pytest.skip(f"no lgg in {data_dir}")
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] == PATIENT]
    assert {row["split"] for row in rows} == {"val"}
    shown = np.array([bool(row["labels"]) for row in rows])
    # Around the first slice that shows it: some without, some with.
    first = int(np.flatnonzero(shown)[0])
    some = slice(max(0, first - 2), first + 8)
    planes = [Volume.read(folder / row["image"]).data[0] for row in rows[some]]
    masks = [read_mask(folder / row["mask"])[0] > 0 for row in rows[some]]
    return Volume.from_array(np.concatenate(planes)), shown[some], np.stack(masks)


def proposed(stack: tuple[Volume, np.ndarray, np.ndarray], members: int) -> Proposal:
    volume, shown, _ = stack
    states = np.where(shown, PRESENT, ABSENT).astype(np.uint8)[:, None]
    labels = SliceLabels(("tumour",), states)
    return load_segmenter(ID, device="cpu").propose(
        Request(volume, slice_labels=labels, members=members)
    )


@pytest.mark.slow
def test_it_draws_where_somebody_said_present_and_nowhere_else(
    stack: tuple[Volume, np.ndarray, np.ndarray],
) -> None:
    _, shown, masks = stack
    found = proposed(stack, 2)
    drawn = found.mask.any(axis=(1, 2))
    assert not drawn[~shown].any()
    assert drawn[shown].mean() > 0.7
    each = [dice(found.mask[z] == 1, masks[z]) for z in np.flatnonzero(shown)]
    assert np.mean([one for one in each if one is not None]) > 0.5
    # Members differ, and where they do is told.
    assert found.uncertainty.max() > 0.1
    assert not found.uncertainty[~shown].any()


@pytest.mark.slow
def test_where_nothing_was_said_it_looks_by_itself(
    stack: tuple[Volume, np.ndarray, np.ndarray],
) -> None:
    volume, _, _ = stack
    segmenter = load_segmenter(ID, device="cpu")
    found = segmenter.propose(Request(volume, members=1))
    drawn = found.mask.any(axis=(1, 2))
    assert drawn.any()
    assert not drawn.all()
    absent = ImageLabels.parse("tumour=absent")
    nothing = segmenter.propose(Request(volume, labels=absent, members=1))
    assert not nothing.mask.any()
