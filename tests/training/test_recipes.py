"""Recipes: read without torch, put together from bases, mistakes told in one line.

And nnU-Net, the reference that is no recipe: its export, its commands, its score.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from diffseg.errors import DiffsegError, UserError
from diffseg.models.pulling import find_public
from diffseg.networks import build_network
from diffseg.networks.alignment import alignment_map
from diffseg.progress import run
from diffseg.resources import merged, resource, shipped_recipe
from diffseg_training.cli.recipes import by_dataset, recipes
from diffseg_training.dataset import load_dataset, read_image
from diffseg_training.nnunet_export import NAME, export_raw
from diffseg_training.nnunet_run import Plan, run_nnunet, score_predictions
from diffseg_training.recipe import load_recipe, recipe_names
from diffseg_training.trainer import make_step

AT_HAND = ("ph2", "lgg", "nuclei", "chasedb1", "hippocampus")
METHODS = ("ensemdiff", "segdiff", "medsegdiff")
REFERENCES = ("unet", "segformer")


@pytest.fixture(scope="module")
def every():
    return {name: load_recipe(name) for name in recipe_names()}


# Reading


def test_recipes_load_without_torch():
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from diffseg_training.recipe import load_recipe, recipe_names\n"
        "for name in recipe_names(): assert load_recipe(name).name == name\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimiser: {lerning_rate: 1}", "lerning_rate is no key.*'learning_rate'"),
        ("optimizer: {batch: 1}", "optimizer is no key.*did you mean 'optimiser'"),
        ("objective: {dise: 1}", "objective.dise is no key.*did you mean 'dice'"),
        ("objective: {name: denoise}", "did you mean 'denoising'"),
        ("sampling: {stepps: 3}", "sampling.stepps is no key.*did you mean 'steps'"),
        ("preparation: {intensity: {lo: 3}}", "intensity.lo is no key.*'low'"),
        ("card: {licens: x}", "card.licens is no key.*did you mean 'licence'"),
        ("card: {wxyz: x}", "card.wxyz is no key of a recipe; known: codes, colors"),
        ("optimiser: {batch: 0}", "optimiser.batch is 0: input should be greater"),
        ("optimiser: {batch: two}", "optimiser.batch is 'two': input should be a"),
        ("objective: {dice: -1}", "objective.dice is -1"),
        ("patch: 3", "patch is 3"),
        ("patch: [80, 40, 40]", "yaml: preparation.tile .64, 64, 64. is smaller"),
        ("preparation: {dims: 2}\npatch: [40, 80]", "smaller than patch .40, 80."),
        ("seed: 1\nseed: 2", "line 3 gives 'seed' twice"),
        ("sampling:\n  steps: 1\n  steps: 2", "line 4 gives 'steps' twice"),
        ("seed: [", "mine.yaml line 3 is not YAML"),
        ("extends: base/nothing", "gives 'extends' twice"),
    ],
)
def test_a_mistake_is_told_in_one_line(text, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"extends: hippocampus-mri-feedforward\n{text}\n")
    with pytest.raises(UserError, match=message) as caught:
        load_recipe(str(file))
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_extending_is_recursive_and_the_last_word_is_the_file_s(tmp_path):
    write(
        tmp_path,
        a="extends: ph2-unet\nname: a\nseed: 1\noptimiser: {batch: 6, ema: 0.5}",
        b="extends: a.yaml\nname: b\nseed: 2\noptimiser: {batch: 7}",
        other="length: {minutes: 3}\nseed: 5",
        c="extends: [b.yaml, other.yaml]\nname: c\noptimiser: {clip: 9}",
    )
    recipe = load_recipe(str(tmp_path / "c.yaml"))
    assert (recipe.name, recipe.seed, recipe.length.minutes) == ("c", 5, 3)
    assert (recipe.optimiser.batch, recipe.optimiser.ema) == (7, 0.5)
    assert recipe.optimiser.clip == 9
    assert recipe.card.id == "c"


def test_a_circle_is_told(tmp_path):
    write(tmp_path, a="extends: b.yaml", b="extends: [c.yaml]", c="extends: a.yaml")
    with pytest.raises(UserError, match="a extends b extends c extends a"):
        load_recipe(str(tmp_path / "a.yaml"))


def test_a_table_that_names_another_thing_takes_nothing():
    base = {"objective": {"name": "a", "x": 1}, "seed": 1}
    assert merged(base, {"objective": {"name": "b"}})["objective"] == {"name": "b"}
    assert merged(base, {"objective": {"x": 2}})["objective"] == {"name": "a", "x": 2}
    nameless = merged({"network": {"channels": 3}}, {"network": {"name": "n"}})
    assert nameless == {"network": {"channels": 3, "name": "n"}}


def test_overrides_put_another_objective_in_place():
    recipe = load_recipe("ph2-ensemdiff", ["objective.name=mask_prior", "seed=3"])
    assert (recipe.objective.name, recipe.seed) == ("mask_prior", 3)
    with pytest.raises(UserError, match="is not YAML"):
        load_recipe("ph2-ensemdiff", ["seed=["])


def test_bases_do_not_count_as_recipes():
    assert resource("recipes", "base", "ensemdiff.yaml").is_file()
    assert "ensemdiff" not in recipe_names()
    with pytest.raises(UserError, match="does not ship"):
        load_recipe("base/ensemdiff")
    assert shipped_recipe("hippocampus-mri-slices")["network"]["classes"] == 3


# What ships


def test_every_set_at_hand_has_every_method(every):
    for data in AT_HAND:
        for method in METHODS:
            model, twin = (
                every[f"{data}-{method}{end}"] for end in ("", "-feedforward")
            )
            assert (model.method, twin.method) == (method, "feedforward")
            # What differs is diffusion alone.
            assert (model.network, model.patch) == (twin.network, twin.patch)
            assert model.optimiser == twin.optimiser
            assert model.augmentation == twin.augmentation
            assert twin.sampling.prediction == "classes"
            assert twin.sampling.input == twin.objective.input == "noise"
        for reference in REFERENCES:
            assert every[f"{data}-{reference}"].objective.input == "zeros"


def test_small_recipes_are_one_configuration(every):
    for data in AT_HAND:
        names = [f"{data}-{m}" for m in (*METHODS, *REFERENCES)]
        optimisers = {
            every[name].optimiser.model_copy(update={"batch": 0}).model_dump_json()
            for name in names
        }
        assert len(optimisers) == 1
        assert all(every[name].length.minutes == 10 for name in names)
        assert len({every[name].augmentation.model_dump_json() for name in names}) == 1


@pytest.mark.slow
def test_test_time_flips_are_flips_that_were_learnt(every):
    # A patch of a 2D network has axes y, x; what is flipped in use has z, y, x.
    for name, recipe in every.items():
        first = 3 - len(recipe.patch)
        learnt = {axis + first for axis in recipe.augmentation.flip_axes}
        flipped = {axis for flip in recipe.preparation.flips for axis in flip}
        assert flipped <= learnt, name
        assert len({*recipe.preparation.flips}) == len(recipe.preparation.flips)


@pytest.mark.parametrize("method", [*METHODS, *REFERENCES])
def test_small_networks_fit_into_ten_megabytes(method, every):
    recipe = every[f"hippocampus-{method}"]
    config = dict(recipe.network)
    with torch.device("meta"):
        net = build_network(config.pop("name"), **config)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert 4 * count <= 10 * 2**20
    assert all(n % net.multiple == 0 for n in recipe.patch)
    assert net.mask_channels == 2


@pytest.mark.slow
def test_published_networks_are_built_as_published(every):
    millions = {"ensemdiff": 113.7, "segdiff": 164.2, "medsegdiff": 130.8}
    for method, wanted in millions.items():
        config = dict(every[f"isic16-{method}"].network)
        with torch.device("meta"):
            net = build_network(config.pop("name"), **config)
        count = sum(parameter.numel() for parameter in net.parameters())
        assert count / 1e6 == pytest.approx(wanted, abs=0.1)


def test_published_numbers_stand_in_the_recipes(every):
    ensemdiff = every["isic16-ensemdiff"]
    sampling = ensemdiff.sampling
    assert (sampling.steps, sampling.timesteps, sampling.variance) == (
        1000, 1000, "learned",
    )  # fmt: skip
    assert (sampling.mask_range, sampling.clip, sampling.members) == ((0, 1), True, 10)
    assert (ensemdiff.optimiser.learning_rate, ensemdiff.optimiser.batch) == (1e-4, 10)
    segdiff = every["monuseg-segdiff"].sampling
    assert (segdiff.steps, segdiff.timesteps, segdiff.variance) == (
        100, 100, "fixed_large",
    )  # fmt: skip
    assert (segdiff.mask_range, segdiff.clip, segdiff.members) == ((-1, 1), False, 25)
    for name in ("isic16-ensemdiff", "isic16-medsegdiff"):  # are shown as they are
        changes = every[name].augmentation.model_dump(exclude={"outside"})
        assert not any(changes.values()), name
    twin = every["monuseg-segdiff-feedforward"]
    assert (twin.optimiser.kind, twin.optimiser.learning_rate) == ("adam", 1e-5)
    assert every["isic16-medsegdiff"].objective.calibration == 10
    assert every["isic16-medsegdiff"].network["version"] == "v1"


SETS = {"refuge2-cup": 0.75, "cvc-clinicdb": 1.0, "qata": 1.25, "isic18": 0.25}


def test_latent_recipes_are_as_published(every):
    for data, weight in SETS.items():
        leaf, sdseg = every[f"{data}-leaf"], every[f"{data}-sdseg"]
        for one in (leaf, sdseg):
            options = one.optimiser
            assert (options.learning_rate, options.batch, options.clip) == (4e-5, 4, 1)
            assert (options.precision, options.schedule) == ("bf16", "constant")
            assert (options.ema, options.ema_warmup) == (0.9999, False)
            assert options.ema_of == ("unet.",)
            assert options.warmup * one.length.steps == 10_000
            assert (one.patch, one.preparation.size) == ((256, 256), (256, 256))
            assert one.preparation.intensity.to == (-1, 1)
            assert (one.sampling.steps, one.sampling.betas) == (1, (0.0015, 0.0155))
            assert len(one.preparation.channels) == one.network["image_channels"]
            changes = one.augmentation.model_dump(exclude={"outside", "flip_axes"})
            assert not any(changes.values())
            assert one.augmentation.flip_axes == (0, 1)
            for part in (one.objective.autoencoder, one.objective.unet):
                assert find_public(part).name == part
        assert (leaf.sampling.prediction, sdseg.sampling.prediction) == ("x0", "eps")
        assert (leaf.objective.alignment, leaf.objective.per_batch) == (weight, True)
        assert find_public(leaf.objective.teacher).name == "dinov2-vitb14-reg"
        assert leaf.network["scale"] == leaf.network["image_scale"] == 0.18215
        assert (sdseg.network["scale"], sdseg.network["image_scale"]) == ("measured", 1)
        assert (sdseg.objective.latent_x0, sdseg.objective.teacher) == (1, None)
        assert sdseg.sampling.schedule == "scaled_linear"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qata-leaf", "cvc-clinicdb-sdseg"])
def test_latent_networks_are_built_as_published(name, every):
    config = dict(every[name].network)
    with torch.device("meta"):
        net = build_network(config.pop("name"), **config)
    counts = {
        part: sum(parameter.numel() for parameter in module.parameters()) / 1e6
        for part, module in net.named_children()
    }
    wanted = {"autoencoder": 83.65, "image_encoder": 34.16, "unet": 294.97}
    assert counts == pytest.approx(wanted, abs=0.01)
    seen = alignment_map(net, (256, 256), 256)
    assert (seen.block, seen.channels, seen.size) == (3, 192, (16, 16))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("{name: guided_unet, atention: []}", "atention is no key.*mean 'attention'"),
        ("{name: medsegdiff, chanels: 8}", "chanels is no key.*mean 'channels'"),
        ("{name: latent_diffusion, unet: {hedas: 2}}", "LatentUNet.*mean 'heads'"),
        ("{name: segformer, xyz: 2}", "xyz is no key of SegFormer; known: dims,"),
    ],
)
def test_a_mistyped_key_of_a_network_is_told(network, message):
    recipe = load_recipe("ph2-unet", [f"network={network}"])
    # What the set says of networks of its own kind is in the way here.
    kept = {k: v for k, v in recipe.network.items() if "_channels" not in str(k)}
    with pytest.raises(UserError, match=message) as caught:
        make_step(recipe.model_copy(update={"network": kept}))
    assert "\n" not in str(caught.value)


# The command


def test_the_list_is_by_data_set_and_fits_80_columns(every):
    result = CliRunner().invoke(recipes, ["list", "ph2"], env={"COLUMNS": "80"})
    lines = result.stdout.splitlines()
    assert lines[0].startswith("PH2, dermoscopic lesions")
    assert any("licence: research and education only" in line for line in lines)
    assert max(map(len, lines)) <= 80
    groups = by_dataset(list(every.values()))
    assert sum(map(len, groups.values())) == len(every)
    assert {"ph2-unet", "ph2-leaf"} <= {recipe.name for recipe in groups["ph2"]}
    whole = CliRunner().invoke(recipes, ["list", "--json"])
    assert len(json.loads(whole.stdout)["recipes"]) == len(every)


def test_a_shown_whole_recipe_is_the_same_recipe(tmp_path):
    result = CliRunner().invoke(recipes, ["show", "ph2-segdiff", "--whole"])
    file = tmp_path / "mine.yaml"
    file.write_text(result.stdout)
    assert "extends" not in result.stdout
    assert load_recipe(str(file)) == load_recipe("ph2-segdiff")


# nnU-Net

FAKE = """#!{python}
import json, os, pathlib, shutil, sys
name, args = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with open(os.environ["FAKE_LOG"], "a") as log:
    log.write(json.dumps([name, *args]) + "\\n")
raw = pathlib.Path(os.environ["nnUNet_raw"]) / "Dataset900_diffseg"
done = pathlib.Path(os.environ["nnUNet_preprocessed"]) / "Dataset900_diffseg"
if name == "nnUNetv2_plan_and_preprocess":
    assert (raw / "dataset.json").is_file()
    done.mkdir(parents=True)
elif name == "nnUNetv2_train":
    assert (done / "splits_final.json").is_file()
    assert os.environ["nnUNet_def_n_proc"] == "2"  # as the plan says
    if os.environ.get("FAKE_FAILS"):
        print("RuntimeError: no luck")
        sys.exit(3)
else:
    out = pathlib.Path(args[args.index("-o") + 1])
    out.mkdir()
    shutil.copy(os.environ["FAKE_MASK"], out / "v.nii.gz")
"""
COMMANDS = ("nnUNetv2_plan_and_preprocess", "nnUNetv2_train", "nnUNetv2_predict")


@pytest.fixture
def tiny(tmp_path):
    """A data set of RGB pictures: two to train, one to choose on."""
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "group", "split", "image", "mask", "labels"])
        for i, case in enumerate("abv"):
            image = np.full((10, 12, 3), [10, 20, 30 + i], np.uint8)
            Image.fromarray(image).save(folder / f"{case}.png")
            mask = np.zeros((10, 12), np.uint8)
            mask[2:6, 3:8] = 255
            Image.fromarray(mask).save(folder / f"{case}_mask.png")
            split = "val" if case == "v" else "train"
            table.writerow([case, case, split, f"{case}.png", f"{case}_mask.png", "x"])
    return load_dataset(folder)


@pytest.fixture
def nnunet(tiny, tmp_path, monkeypatch):
    """A stand-in for nnU-Net on PATH, that predicts the mask of the first case."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in COMMANDS:
        file = programs / name
        file.write_text(FAKE.format(python=sys.executable))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    run(export_raw(tiny, tmp_path / "elsewhere", "val"))
    mask = tmp_path / "elsewhere" / NAME / "labelsTr" / "a.nii.gz"
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FAKE_MASK", str(mask))
    return tmp_path / "log"


def test_the_raw_folder_is_what_nnunet_reads(tiny, tmp_path):
    folder = run(export_raw(tiny, tmp_path / "raw", "val"))
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "x": 1}
    assert (content["numTraining"], len(content["channel_names"])) == (3, 3)
    asked = sorted(file.name for file in (folder / "imagesTs").iterdir())
    assert asked == ["v_0000.nii.gz", "v_0001.nii.gz", "v_0002.nii.gz"]
    # Read back by our own reader of the layout, which holds it to the rules.
    shutil.rmtree(folder / "imagesTs")
    back = load_dataset(folder)
    assert [case.case for case in back.split("train")] == ["a", "b", "v"]
    assert read_image(back.cases[0]).data[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_a_grey_picture_among_coloured_ones_has_all_channels_alike(tiny, tmp_path):
    first, second = tiny.split("train")
    Image.fromarray(np.full((10, 12), 7, np.uint8)).save(second.images[0])
    folder = run(export_raw(tiny, tmp_path / "raw", "val"))
    assert len(json.loads((folder / "dataset.json").read_text())["channel_names"]) == 3
    shutil.rmtree(folder / "imagesTs")
    back = {case.case: read_image(case).data for case in load_dataset(folder).cases}
    assert back[second.case][:, 0, 0, 0].tolist() == [7, 7, 7]
    assert back[first.case][:, 0, 0, 0].tolist() == [10, 20, 30]


def test_images_of_two_and_of_three_channels_are_refused(tiny, tmp_path):
    first, second, held = tiny.cases
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((10, 12), 7, np.uint8)).save(grey)
    mixed = (first, replace(second, images=(grey, grey)), held)
    with pytest.raises(UserError, match="has 2 channels, where others have 3"):
        run(export_raw(replace(tiny, cases=mixed), tmp_path / "raw", "val"))


def test_nnunet_is_planned_trained_asked_and_scored(tiny, nnunet, tmp_path):
    out = tmp_path / "out"
    metrics = run(run_nnunet(tiny, out, "val", Plan("2d", 5, "cpu", 2)))
    told = [json.loads(line) for line in nnunet.read_text().splitlines()]
    assert [command[0] for command in told] == list(COMMANDS)
    assert told[0][1:5] == ["-d", "900", "-c", "2d"]
    assert told[1][1:] == ["900", "2d", "0", "-tr", "nnUNetTrainer_5epochs",
                           "-device", "cpu"]  # fmt: skip
    assert "--save_probabilities" in told[2]
    splits = out / "preprocessed" / NAME / "splits_final.json"
    assert json.loads(splits.read_text()) == [{"train": ["a", "b"], "val": ["v"]}]
    assert metrics["mean"]["dice"] == {"x": 1.0}
    assert json.loads((out / "metrics.json").read_text())["n_cases"] == 1
    with pytest.raises(UserError, match="holds a run already"):
        run(run_nnunet(tiny, out, "val", Plan(epochs=5)))


def test_a_command_that_fails_is_told(tiny, nnunet, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAILS", "1")
    with pytest.raises(DiffsegError, match=r"nnUNetv2_train ended with.*no luck"):
        run(run_nnunet(tiny, tmp_path / "out", "val", Plan(epochs=5)))


def test_without_nnunet_it_is_told_how_to_install(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"pip install 'napari-diffseg\[nnunet\]'"):
        run(run_nnunet(tiny, tmp_path / "out", "val", Plan(epochs=5)))
    assert not (tmp_path / "out").exists()


def test_probabilities_beside_a_mask_are_scored(tiny, nnunet, tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    mask = Path(os.environ["FAKE_MASK"]).read_bytes()
    (folder / "v.nii.gz").write_bytes(mask)
    sure = run(score_predictions(folder, tiny, "val"))
    assert sure["ece_pooled"] == pytest.approx(0, abs=1e-6)
    half = np.full((2, 1, 10, 12), 0.5, np.float32)
    np.savez(folder / "v.npz", probabilities=half)
    unsure = run(score_predictions(folder, tiny, "val"))
    assert unsure["ece_pooled"] > 0.1
    (folder / "v.nii.gz").unlink()
    with pytest.raises(UserError, match="case v has no prediction"):
        run(score_predictions(folder, tiny, "val"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"epochs": 7}, "no trainer of 7 epochs"), ({"configuration": "4d"}, "4d")],
)
def test_a_plan_nnunet_cannot_follow_is_told(fields, message):
    with pytest.raises(UserError, match=message):
        Plan(**fields)
