"""Objectives that learn from image-level labels, against their formulas."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.objectives.aggregation import contrast, pull, similarity
from diffseg_training.objectives.labels import auroc, begin_with, known_cross_entropy
from diffseg_training.objectives.seam import (
    cross,
    emptiness,
    equivariance,
    strongest,
    with_background,
)
from diffseg_training.recipe import load_recipe

LABELS = torch.tensor([[1, 0], [2, 1], [1, 2], [2, 2]])


def batch(side=64, count=4):
    image = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(count, 0, dtype=torch.int64)
    return Batch(image, nothing, [], labels=LABELS[:count])


def loss_of(name, *more):
    recipe = load_recipe(name, ["network.classes=2", *more])
    config = dict(recipe.network)
    torch.manual_seed(0)
    network = build_network(config.pop("name"), **config)
    return make_loss(recipe, network), network, recipe


def test_what_is_unknown_has_no_say_in_the_cross_entropy():
    logits = torch.tensor([[0.3, -9.0], [1.0, 2.0], [-1.0, 0.0], [0.5, 0.1]])
    by_hand = [
        math.log1p(math.exp(-x if present else x))
        for x, present in (
            (0.3, True),
            (1.0, False),
            (2.0, True),
            (-1.0, True),
            (0.0, False),
            (0.5, False),
            (0.1, False),
        )
    ]
    found = known_cross_entropy(logits, LABELS)
    assert float(found) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-6)
    assert float(known_cross_entropy(logits, LABELS * 0)) == 0


def test_auroc_is_the_share_of_pairs_in_order():
    values = np.array([0.1, 0.4, 0.4, 0.9, 0.3])
    positive = np.array([False, True, False, True, False])
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in values[positive]
        for b in values[~positive]
    ]
    assert auroc(values, positive) == pytest.approx(np.mean(pairs))
    assert auroc(values, positive & False) is None


def test_maps_that_follow_their_image_cost_nothing():
    image = torch.rand(2, 3, 32, 32)
    small = functional.interpolate(
        image, scale_factor=0.5, mode="bilinear", align_corners=True
    )
    # A map computed pixel by pixel follows the image, whatever its size.
    weights = torch.tensor([0.2, 0.3, 0.5]).view(1, 3, 1, 1)
    maps, of_small = ((one * weights).sum(1, keepdim=True) for one in (image, small))
    assert float(equivariance(maps, of_small)) == pytest.approx(0, abs=1e-6)
    assert float(equivariance(maps, 1 - of_small)) > 0.05


def test_the_cross_term_takes_the_hardest_pixels_and_sends_no_gradient_back():
    other = torch.tensor([[[[0.9, 0.1], [0.2, 0.7]]]], requires_grad=True)
    refined = torch.tensor([[[[0.5, 0.1], [0.2, 0.6]]]], requires_grad=True)
    # Of background and structure only the stronger is kept of the other branch.
    wanted = torch.tensor([[0.0, 0.9, 0.8, 0.0], [0.9, 0.0, 0.0, 0.7]])
    mine = torch.tensor([[0.5, 0.9, 0.8, 0.4], [0.5, 0.1, 0.2, 0.6]])
    hardest = (wanted - mine).abs().flatten().sort(descending=True).values[:4]
    found = cross(refined, other, 0.5)
    assert float(found.detach()) == pytest.approx(float(hardest.mean()), rel=1e-5)
    found.backward()
    assert other.grad is None
    assert refined.grad is not None
    kept = strongest(with_background(other.detach()))
    torch.testing.assert_close(kept.flatten(2)[0], wanted)


def test_emptiness_is_the_mean_of_the_lowest_quarter():
    maps = torch.linspace(0, 1, 16).view(1, 1, 4, 4)
    assert float(emptiness(maps)) == pytest.approx((0 + 1 + 2 + 3) / 15 / 4)


def test_contrast_is_what_a_double_loop_says():
    rows = torch.Generator().manual_seed(1)
    grey, maps = torch.rand(2, 5, 30, generator=rows).unbind()

    def cosine(a, b):
        return min(max(float(a @ b / (a.norm() * b.norm())), 5e-4), 0.9995)

    inside, outside = grey * maps, grey * (1 - maps)
    push = np.mean([-math.log(1 - cosine(a, b)) for a in outside for b in inside])

    def pulled(vectors):
        total = 0.0
        for a in vectors:
            alike = [cosine(a, b) for b in vectors]
            order = sorted(range(5), key=lambda i: -alike[i])
            for i, one in enumerate(alike):
                total += -math.log(one) * math.exp(-0.25 * (order.index(i) - 1))
        return total / 25

    found = contrast(grey, maps, 0.25)
    assert float(found) == pytest.approx(push + pulled(inside) + pulled(outside))
    assert float(pull(inside, 0.25)) == pytest.approx(pulled(inside))
    assert float(similarity(inside, inside).diagonal().min()) == pytest.approx(0.9995)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("lgg-classifier", {"cross_entropy"}),
        ("lgg-seam", {"cross_entropy", "equivariance", "cross", "emptiness"}),
        ("lgg-ame-cam", {"exit_1", "exit_2", "exit_3", "exit_4", "contrast"}),
    ],
)
def test_every_recipe_learns_from_labels_what_its_network_has(name, terms):
    loss, network, recipe = loss_of(name)
    assert recipe.objective.learns_labels
    total, told = loss(network.train(), batch())
    assert set(told) == terms
    total.backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert not without
    assert torch.isfinite(total)


def test_several_exits_are_weighed_the_later_the_more():
    loss, network, _ = loss_of("lgg-ame-cam", "objective.contrast=0")
    network.eval()
    total, told = loss(network, batch())
    weights = {"exit_1": 0.25, "exit_2": 0.5, "exit_3": 0.75, "exit_4": 1.0}
    by_hand = sum(weights[key] * value for key, value in told.items())
    assert total.item() == pytest.approx(by_hand, rel=1e-5)
    # The aggregation is not taught by the classification.
    total.backward()
    assert all(p.grad is None for p in network.aggregation.parameters())


def test_an_aggregation_of_its_own_leaves_the_classifier_as_it_is(tmp_path):
    from diffseg_training.parts import save_part
    from diffseg_training.sitting import TrainingResult

    _, network, recipe = loss_of("lgg-ame-cam", "network.norm=batch")
    part = save_part(tmp_path / "part", recipe, TrainingResult(network, {}, 1, 0, 0))
    more = f"objective={{name: aggregation, classifier: {part}}}"
    loss, learnt, _ = loss_of("lgg-ame-cam", "network.norm=batch", more)
    before = {k: v.clone() for k, v in learnt.state_dict().items()}
    kept = network.state_dict()
    assert all((v == kept[k]).all() for k, v in before.items())
    total, told = loss(learnt.train(), batch())
    total.backward()
    trained = [n for n, p in learnt.named_parameters() if p.grad is not None]
    assert trained
    assert all(name.startswith("aggregation") for name in trained)
    assert told["contrast"] > 0
    for key, value in learnt.state_dict().items():
        if key.startswith(("backbone", "exits")):
            assert (value == before[key]).all(), key
    # One slice alone has nothing to be compared with.
    alone, _ = loss(learnt, batch(count=1))
    assert float(alone.detach()) == 0


def test_first_weights_come_from_a_folder_for_any_number_of_channels(tmp_path):
    import timm

    torch.manual_seed(4)
    whole = timm.create_model("resnet18", pretrained=False)
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    network = build_network("slice_classifier", channels=1)
    begin_with(network, tmp_path)
    first = network.backbone.body.conv1.weight
    torch.testing.assert_close(first, whole.conv1.weight.sum(1, keepdim=True))
    mine = network.backbone.body.layer4[1].conv2.weight
    torch.testing.assert_close(mine, whole.layer4[1].conv2.weight)
    with pytest.raises(UserError, match="is of another network than the recipe's"):
        begin_with(build_network("slice_classifier", backbone="resnet50"), tmp_path)
    with pytest.raises(UserError, match="there is no file"):
        begin_with(network, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("lgg-classifier", "network={name: rrdb}", "is not one of|needs network"),
        ("lgg-seam", "network={name: slice_classifier}", "needs network seam, not"),
        ("lgg-ame-cam", "objective.exits=[1, 1]", "give 4 weights"),
    ],
)
def test_an_objective_names_the_network_that_it_needs(name, more, said):
    with pytest.raises(UserError, match=said):
        loss_of(name, more)


def test_labels_of_other_structures_and_too_small_a_branch_are_refused():
    loss, _, _ = loss_of("lgg-classifier")
    with pytest.raises(UserError, match=r"set network\.classes=2"):
        loss(build_network("slice_classifier", classes=1), batch())
    loss, network, _ = loss_of("lgg-seam")
    with pytest.raises(UserError, match=r"raise objective\.scale or patch"):
        loss(network, batch(side=40))
