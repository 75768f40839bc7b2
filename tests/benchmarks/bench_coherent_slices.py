"""How coherent single members are from slice to slice, with and without shared noise.

Needs a model that works slice by slice and the data it was chosen on:

    DIFFSEG_BENCH_MODEL=runs/slices/model python -m pytest -m bench -s \
        tests/benchmarks/bench_coherent_slices.py

Draws each case of the split val twice from the same seeds: with white noise, and
with noise that is correlated along the slice axis. Prints the mean Dice between
neighbouring slices of single members, that of the reference masks as the yardstick,
the mean Dice with the reference, and the volume's spread over members.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from diffseg.metrics import dice
from diffseg.models import find_model
from diffseg.progress import run
from diffseg.segmenters.ensemdiff import EnsemDiff
from diffseg_training.dataset import load_dataset
from diffseg_training.training_set import prepare_examples

CORRELATIONS = (0.0, 0.9)
MEMBERS = 4


def slice_to_slice(mask):
    """Mean Dice of foreground between neighbouring slices that both hold some."""
    pairs = zip(mask[:-1] > 0, mask[1:] > 0, strict=True)
    scores = [dice(a, b) for a, b in pairs if a.any() and b.any()]
    return float(np.mean(scores)) if scores else float("nan")


@pytest.mark.bench
def test_members_are_coherent_along_slices(data_dir):
    model = os.environ.get("DIFFSEG_BENCH_MODEL")
    if model is None:
        pytest.skip("set DIFFSEG_BENCH_MODEL to a model that works slice by slice")
    loaded = EnsemDiff.from_model(find_model(model), "cpu")
    assert loaded.card.preparation.dims == 2
    dataset = load_dataset(data_dir / "hippocampus")
    examples = run(
        prepare_examples(dataset.split("val"), dataset, loaded.card.preparation)
    )
    reference = np.nanmean([slice_to_slice(one.classes.numpy()) for one in examples])
    print(f"\nreference masks: slice-to-slice Dice {reference:.4f}")
    for correlation in CORRELATIONS:
        sampling = loaded.card.sampling.model_copy(
            update={"slice_correlation": correlation}
        )
        card = loaded.card.model_copy(update={"sampling": sampling})
        print(f"correlation {correlation}: {_measured(loaded, card, examples)}")


def _measured(loaded, card, examples):
    segmenter = EnsemDiff(card, loaded.network, loaded.host)
    coherence, spread, scores = [], [], []
    for one in examples:
        drawn = segmenter.draw(
            one.image.numpy(), members=MEMBERS, steps=card.sampling.steps, seed=0
        )
        members = [np.asarray(member) for member in drawn]
        masks = [member.argmax(0) for member in members]
        coherence += [slice_to_slice(mask) for mask in masks]
        volumes = [(mask > 0).sum() for mask in masks]
        spread.append(np.std(volumes) / np.mean(volumes))
        answer, truth = np.mean(members, 0).argmax(0), one.classes.numpy()
        scores += [dice(answer, truth, value) for value in (1, 2)]
    return (
        f"slice-to-slice Dice of members {np.nanmean(coherence):.4f}, "
        f"SD of the volume over members {100 * np.mean(spread):.2f} %, "
        f"Dice of the ensemble {np.mean(scores):.4f}"
    )
