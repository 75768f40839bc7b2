"""What the window says of a model before anybody evaluated it."""

from __future__ import annotations

from diffseg.models import find_model
from napari_diffseg.widgets.card_text import card_html


def card_with(metrics):
    return find_model("hippocampus-mri").card.model_copy(update={"metrics": metrics})


def test_a_model_that_was_only_trained_says_how_much_and_how_good_it_seemed():
    metrics = {
        "cases": {"train": 46, "val": 9},
        "steps": 1200,
        "val_during_training": {"lesion": 0.912, "score": 0.912},
    }
    page = card_html(card_with(metrics), "#888888")
    assert "46 cases to train, 1200 steps." in page
    assert "mean Dice 0.91 on the cases by which the weights were chosen" in page
    assert "Not measured" not in page


def test_a_model_that_nobody_measured_says_so():
    page = card_html(card_with({}), "#888888")
    assert "Not measured." in page
    assert "cases to train" not in page
