"""Voxels that nobody reviewed have no say in any loss, and the anchor holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffseg.diffusion import generator
from diffseg.networks import build_network
from diffseg_training.anchor import Anchor
from diffseg_training.augment import example
from diffseg_training.known import UNREVIEWED, marked, parted, weights_of
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.objectives.terms import (
    foreground_loss,
    sample_errors,
    segmentation_loss,
)
from diffseg_training.recipe import load_recipe
from diffseg_training.recipe_parts import Augmentation
from diffseg_training.settings.feedforward import Settings
from diffseg_training.training_set import places_of

RECYCLING = [
    "network.channels=[8, 12]",
    "network.member_channels=[4, 6]",
    "network.embedding=16",
    "patch=[8, 8, 8]",
]


def halves(shape):
    """Which voxels are known: the upper half of each image."""
    known = torch.zeros(shape, dtype=torch.bool)
    known[:, : shape[1] // 2] = True
    return known


@pytest.mark.parametrize("loss", [segmentation_loss, foreground_loss])
def test_no_gradient_where_nobody_looked(loss):
    channels = 3 if loss is segmentation_loss else 2
    logits = torch.randn(
        (2, channels, 6, 6), generator=generator(1), requires_grad=True
    )
    classes = torch.randint(0, 3, (2, 6, 6), generator=generator(2))
    known = halves(classes.shape)
    loss(logits, classes, Settings(), known).backward()
    found = logits.grad.abs().sum(1)
    assert (found[~known] == 0).all()
    assert (found[known] > 0).all()


@pytest.mark.parametrize("loss", [segmentation_loss, foreground_loss])
def test_where_all_is_known_the_loss_is_the_same(loss):
    logits = torch.randn((2, 3, 6, 6), generator=generator(1))
    classes = torch.randint(0, 3, (2, 6, 6), generator=generator(2))
    known = torch.ones_like(classes, dtype=torch.bool)
    torch.testing.assert_close(
        loss(logits, classes, Settings(), known), loss(logits, classes, Settings())
    )


def test_errors_of_a_prediction_are_means_over_known_voxels():
    answer = torch.zeros(2, 1, 4, 4)
    wanted = torch.ones(2, 1, 4, 4)
    wanted[:, :, 2:] = 100.0
    known = halves((2, 4, 4))
    found = sample_errors(answer, wanted, "l2", weights_of(known))
    assert found.mean() == pytest.approx(1.0)


def test_nothing_known_is_no_loss_and_no_nan():
    logits = torch.randn((1, 3, 4, 4), generator=generator(1), requires_grad=True)
    classes = torch.ones((1, 4, 4), dtype=torch.long)
    known = torch.zeros((1, 4, 4), dtype=torch.bool)
    total = segmentation_loss(logits, classes, Settings(), known)
    total.backward()
    assert float(total.detach()) == pytest.approx(0.0, abs=1e-6)
    assert (logits.grad == 0).all()


def objectives():
    yield "recycling", load_recipe("hippocampus-mri", RECYCLING)
    yield "feedforward", load_recipe("hippocampus-mri-feedforward", RECYCLING)
    yield (
        "x0",
        load_recipe(
            "hippocampus-segdiff", ["patch=[16, 16]", "sampling.prediction=x0"]
        ),
    )


@pytest.mark.parametrize(
    ("name", "recipe"), list(objectives()), ids=lambda one: str(one)[:11]
)
def test_what_stands_in_unreviewed_voxels_teaches_no_objective(name, recipe):
    """The targets there may be anything: only what the network is shown differs."""
    torch.manual_seed(0)
    config = dict(recipe.network)
    network = build_network(config.pop("name"), **config)
    with torch.no_grad():  # a fresh network's last layer may be zero
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    loss = make_loss(recipe, network)
    shape = (1, *recipe.patch)
    channels = config.get("image_channels", 1)
    image = torch.randn((1, channels, *recipe.patch), generator=generator(3))
    classes = torch.randint(0, 3, shape, generator=generator(4))
    known = halves(shape)

    def value(known):
        batch = Batch(image, classes, [generator(5)], known)
        return float(loss(network, batch)[0].detach())

    nothing = torch.zeros(shape, dtype=torch.bool)
    assert value(known) > 1e-3
    assert value(nothing) == pytest.approx(0.0, abs=1e-6)
    assert value(None) != pytest.approx(value(known), abs=1e-7)


def test_marks_travel_with_classes_through_augmentation():
    classes = np.zeros((12, 12, 12), np.uint8)
    classes[:, :6] = 2
    reviewed = np.zeros(classes.shape, np.bool_)
    reviewed[:6] = True
    both = torch.from_numpy(marked(classes, reviewed))
    image = both.float()[None]
    config = Augmentation(elastic=0, gamma=0, contrast=0, noise=0, blur=0)
    _, cut = example(image, both, (12, 12, 12), config, generator(1))
    assert set(cut.unique().tolist()) <= {0, 2, UNREVIEWED, UNREVIEWED + 2}
    found, known = parted(cut)
    assert known is not None
    assert 0.2 < known.float().mean() < 0.95
    assert set(found.unique().tolist()) == {0, 2}


def test_patches_look_at_reviewed_voxels_background_among_them():
    classes = np.zeros((4, 6, 6), np.uint8)
    classes[1, 2, 2], classes[3, 2, 2] = 1, 2
    assert set(places_of(classes)) == {1, 2}
    reviewed = np.zeros(classes.shape, np.bool_)
    reviewed[:2] = True
    places = places_of(marked(classes, reviewed))
    assert set(places) == {0, 1}
    assert places[0][:, 0].max() < 2


def test_the_anchor_pulls_back_and_starts_without_a_gradient():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    anchor = Anchor(network, 0.5)
    anchor(network).backward()
    assert all((p.grad == 0).all() for p in network.parameters())
    with torch.no_grad():
        network.weight += 2.0
    assert anchor.distance(network) == pytest.approx(2.0 * 6**0.5)
    network.zero_grad()
    anchor(network).backward()
    torch.testing.assert_close(network.weight.grad, torch.full((2, 3), 1.0))
