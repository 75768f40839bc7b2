"""Training: examples, objectives, a run that learns, a run that is resumed."""

import json

import numpy as np
import pytest
import torch

from diffseg.diffusion import generator
from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.progress import run
from diffseg_training.augment import example
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.objectives.terms import coarser, dice_loss, one_hot
from diffseg_training.recipe import Augmentation, load_recipe, recipe_names
from diffseg_training.state import read_log
from diffseg_training.trainer import iter_train
from diffseg_training.training_set import Example

TINY = [
    "network.channels=[8, 12]",
    "network.member_channels=[4, 6]",
    "network.embedding=16",
    "patch=[16, 16, 16]",
    "length.validations=2",
    "optimiser.precision=fp32",
    "optimiser.ema=0.5",
]


def ball_example(seed):
    """A bright and a brighter half ball on noise: classes 1 and 2."""
    random = np.random.default_rng(seed)
    z, y, x = np.mgrid[:18, :20, :16] - random.uniform(7, 10, (3, 1, 1, 1))
    inside = z**2 + y**2 + x**2 < 30
    classes = np.where(inside, np.where(y < 0, 1, 2), 0).astype(np.uint8)
    image = classes + 0.3 * random.standard_normal(classes.shape)
    image = ((image - image.mean()) / image.std()).astype(np.float32)
    return Example(
        f"ball{seed}", torch.from_numpy(image)[None], torch.from_numpy(classes)
    )


def tiny_recipe(*more, name="hippocampus-mri"):
    return load_recipe(name, [*TINY, *more])


# Recipes


def test_shipped_recipes_are_valid():
    assert "hippocampus-mri" in recipe_names()
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_twin_differs_from_the_model_in_diffusion_alone():
    model = load_recipe("hippocampus-mri").model_dump()
    twin = load_recipe("hippocampus-mri-feedforward").model_dump()
    differing = {key for key in model if model[key] != twin[key]}
    mine = {"name", "title", "method", "sampling", "objective", "card", "length"}
    assert differing <= mine
    finish = load_recipe("hippocampus-mri-finish")
    assert finish.length.minutes == twin["length"]["minutes"]
    assert finish.card.id == "hippocampus-mri"
    for key in ("dice", "cross_entropy", "deep"):
        assert model["objective"][key] == twin["objective"][key]


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("hippocampus-mr", [], "did you mean 'hippocampus-mri'"),
        ("nowhere.yaml", [], "is not there"),
        ("hippocampus-mri", ["optimiser.batch=0"], "optimiser.batch"),
        ("hippocampus-mri", ["optimiser.bach=1"], "optimiser.bach"),
        ("hippocampus-mri", ["optimiser.batch"], "not key=value"),
        ("hippocampus-mri", ["name.batch=1"], "no keys of its own"),
        ("extends-nothing.yaml", [], "neither a shipped recipe"),
    ],
)
def test_unusable_recipes_are_told_in_one_line(
    name, overrides, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extends-nothing.yaml").write_text("extends: nothing\n")
    with pytest.raises(UserError, match=message) as caught:
        load_recipe(name, overrides)
    assert "\n" not in str(caught.value)


# Examples


def test_an_unchanged_example_is_the_centred_case():
    image, classes = torch.randn(1, 8, 10, 6), torch.randint(0, 3, (8, 10, 6))
    cut, mask = example(image, classes, (12, 10, 4), None, generator(0))
    assert cut.shape == (1, 12, 10, 4)
    torch.testing.assert_close(cut[0, 2:10], image[0, :, :, 1:5], atol=1e-5, rtol=0)
    assert torch.equal(mask[2:10], classes[:, :, 1:5])
    assert not mask[:2].any()


def test_changes_follow_from_the_key_and_move_image_and_mask_together():
    one = ball_example(0)
    config = Augmentation(flip_axes=(2,), gamma=0, contrast=0, noise=0, blur=0)
    first = example(one.image, one.classes, (16, 16, 16), config, generator(1))
    again = example(one.image, one.classes, (16, 16, 16), config, generator(1))
    other = example(one.image, one.classes, (16, 16, 16), config, generator(2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    for image, mask in (first, other):
        levels = [image[0][mask == c].mean() for c in range(3)]
        assert levels[0] < levels[1] < levels[2]


def test_flat_images_survive_every_change():
    flat = torch.zeros(1, 9, 9)
    image, _ = example(flat, flat[0], (8, 8), Augmentation(), generator(3))
    assert bool(torch.isfinite(image).all())


def test_slices_carry_their_neighbours():
    volume = torch.arange(5.0).view(1, 5, 1, 1).expand(1, 5, 4, 4)
    one = Example("v", volume, torch.arange(5).view(5, 1, 1).expand(5, 4, 4), 2, 1)
    seen = set()
    for key in range(40):
        image, classes = one.arrays(generator(key))
        plane = int(classes[0, 0])
        expected = [max(plane - 1, 0), plane, min(plane + 1, 4)]
        assert image[:, 0, 0].tolist() == expected
        seen.add(plane)
    assert seen == set(range(5))


# Objectives


def test_dice_loss_by_hand():
    reference = one_hot(torch.tensor([[[0, 1, 1, 0]]]), 2)
    sure = torch.log(reference + 1e-9)
    assert dice_loss(sure, reference).item() == pytest.approx(0, abs=1e-4)
    # Half sure everywhere: overlap 1, sizes 2 + 2, smoothed by 1.
    half = torch.zeros_like(sure)
    assert dice_loss(half, reference).item() == pytest.approx(1 - 3 / 5)


def test_coarser_takes_the_majority():
    classes = torch.tensor([[[0, 1, 2, 2], [1, 1, 2, 0]]])
    assert coarser(classes, 3).tolist() == [[[1, 2]]]


@pytest.mark.parametrize("suffix", ["", "-feedforward"])
def test_objective_teaches_every_weight_it_should(suffix):
    torch.manual_seed(0)
    config = dict(tiny_recipe().network)
    net = build_network(config.pop("name"), **config)
    one = ball_example(0)
    image, mask = example(one.image, one.classes, (16, 16, 16), None, generator(0))
    recipe = tiny_recipe(name=f"hippocampus-mri{suffix}")
    loss_of = make_loss(recipe, net)
    for attempt in range(2):  # members are born silent: they learn from step two on
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        optimiser.zero_grad()
        loss, terms = loss_of(net, Batch(image[None], mask[None], [generator(attempt)]))
        loss.backward()
        optimiser.step()
    assert terms["first"] > 0
    untaught = [
        n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()
    ]
    # Zeros go into the twin's member tower: its first layers see nothing.
    first = "member_tower.down.0."
    allowed = {first + part for part in ("conv1.weight", "skip.weight", "norm1.weight")}
    assert set(untaught) <= (allowed if suffix else set())


def test_unknown_objective_is_the_users():
    with pytest.raises(UserError, match=r"'recicling' .* did you mean 'recycling'"):
        tiny_recipe("objective.name=recicling")


# The trainer


def scores_of(network):
    one = ball_example(99)
    image, mask = example(one.image, one.classes, (16, 16, 16), None, generator(0))
    with torch.no_grad():
        noise = torch.randn(1, 3, 16, 16, 16, generator=generator(5))
        answer = network(noise, torch.tensor([999]), image[None])[0].argmax(0)
    hit = [
        2
        * ((answer == c) & (mask == c)).sum()
        / ((answer == c).sum() + (mask == c).sum())
        for c in (1, 2)
    ]
    return {"score": float(sum(hit) / 2)}


@pytest.mark.slow
def test_a_short_run_learns_two_classes(tmp_path):
    recipe = tiny_recipe("length.steps=60", "optimiser.learning_rate=0.01")
    examples = [ball_example(i) for i in range(8)]
    result = run(iter_train(recipe, examples, scores_of, tmp_path))
    assert result.best["score"] > 0.8
    assert result.steps == 60
    assert result.skipped == 0
    rows = read_log(tmp_path / "log.jsonl")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.6 * losses[0]


def weights(result):
    return {k: v.clone() for k, v in result.network.state_dict().items()}


@pytest.mark.slow
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path):
    recipe = tiny_recipe("length.steps=8")
    examples = [ball_example(i) for i in range(4)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = weights(run(iter_train(recipe, examples, scores_of, tmp_path / "a")))
    work = iter_train(recipe, examples, scores_of, tmp_path / "b")
    for progress in work:
        if progress.stage == "validate":
            work.close()  # killed after the first of two validations
    resumed = run(iter_train(recipe, examples, scores_of, tmp_path / "b", resume=True))
    assert resumed.steps == 8
    for name, value in weights(resumed).items():
        torch.testing.assert_close(value, whole[name], msg=name)


def test_a_run_stopped_before_its_first_validation_can_be_resumed(tmp_path):
    recipe = tiny_recipe("length.steps=22", "length.validations=1", "patch=[8, 8, 8]")
    examples = [ball_example(0)]
    work = iter_train(recipe, examples, scores_of, tmp_path)
    assert next(work).stage == "train"
    work.close()
    again = iter_train(
        recipe, examples, lambda net: {"score": 0.5}, tmp_path, resume=True
    )
    assert run(again).steps == 22
    # Steps taken twice are told once.
    assert [r["step"] for r in read_log(tmp_path / "log.jsonl")] == [20, 22]


def test_resuming_another_recipe_or_nothing_is_refused(tmp_path):
    examples = [ball_example(0)]
    with pytest.raises(UserError, match="nothing to resume"):
        next(iter_train(tiny_recipe(), examples, scores_of, tmp_path, resume=True))
    run(iter_train(tiny_recipe("length.steps=2"), examples, scores_of, tmp_path))
    other = tiny_recipe("length.steps=4", "patch=[8, 8, 8]")
    with pytest.raises(UserError, match="another patch"):
        next(iter_train(other, examples, scores_of, tmp_path, resume=True))


def test_every_sitting_is_kept_with_its_recipe(tmp_path):
    examples = [ball_example(0)]
    for steps, dice in ((2, 1.0), (4, 0.5)):
        recipe = tiny_recipe(f"length.steps={steps}", f"objective.dice={dice}")
        run(iter_train(recipe, examples, scores_of, tmp_path, resume=steps > 2))
    state = json.loads((tmp_path / "state" / "state.json").read_text(encoding="utf-8"))
    told = [
        (s["from_step"], s["recipe"]["objective"]["dice"]) for s in state["sittings"]
    ]
    assert told == [(0, 1.0), (2, 0.5)]


def test_a_step_that_is_not_finite_changes_no_weight(tmp_path):
    recipe = tiny_recipe("length.steps=2", "augmentation.gamma=0")
    broken = Example(
        "nan", torch.full((1, 16, 16, 16), torch.nan), ball_example(0).classes
    )
    result = run(iter_train(recipe, [broken], lambda net: {"score": 0.5}, tmp_path))
    assert result.skipped == 2
    assert all(bool(torch.isfinite(v).all()) for v in weights(result).values())


# A run from end to end


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hippocampus-mri", "hippocampus-mri-slices"])
def test_train_model_writes_a_model_that_proposes(tmp_path, name):
    import nibabel

    from diffseg import Request, Volume, load_segmenter
    from diffseg_training.run import train_model

    rows = ["case,group,split,image,mask,labels"]
    for i, split in enumerate(("train", "train", "val")):
        one = ball_example(i)
        for kind, array in (("image", one.image[0]), ("mask", one.classes)):
            voxels = np.ascontiguousarray(array.numpy().T)
            nibabel.save(
                nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{kind}{i}.nii.gz"
            )
        rows.append(f"c{i},g{i},{split},image{i}.nii.gz,mask{i}.nii.gz,front;back")
    (tmp_path / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "classes.json").write_text('{"1": "front", "2": "back"}')
    patch = "patch=[16, 16]" if name.endswith("slices") else "patch=[16, 16, 16]"
    out = tmp_path / "run"
    told = run(
        train_model(
            name, str(tmp_path), out, [*TINY, patch, "length.steps=20"], device="cpu"
        )
    )
    assert told["steps"] == 20
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    segmenter = load_segmenter(out / "model", device="cpu")
    assert segmenter.card.labels.names == ("front", "back")
    assert segmenter.card.metrics["steps"] == 20
    proposal = segmenter.propose(Request(Volume.read(tmp_path / "image2.nii.gz")))
    assert proposal.mask.shape == (18, 20, 16)
    assert proposal.probability.shape == (2, 18, 20, 16)
    with pytest.raises(UserError, match="holds a run already"):
        run(train_model(name, str(tmp_path), out, TINY, device="cpu"))
