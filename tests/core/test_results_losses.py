"""The losses against the timestep of docs/results.md, and the recipes of E4."""

from __future__ import annotations

import csv
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from beside import measuring
from PIL import Image
from safetensors.torch import save_file

from diffseg.diffusion import noise_schedule
from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg_training.dataset import load_dataset
from diffseg_training.recipe import load_recipe

SMALL = (
    "patch=[16, 16]",
    "preparation.tile=[16, 16]",
    "preparation.size=[16, 16]",
    "network.multipliers=[1, 1]",
)


@pytest.fixture(scope="module")
def docs():
    """The scripts, as one that lies beside them imports them."""
    return SimpleNamespace(
        figures=measuring("results_figures"),
        losses=measuring("results_losses"),
    )


def test_the_grid_is_closer_over_the_first_timesteps(docs):
    whole = docs.losses.grid(1000, 60, 0)
    assert (len(whole), whole[0], whole[-1]) == (60, 0, 999)
    assert set(np.diff(whole)) <= {16, 17}
    found = docs.losses.grid(1000)
    early = [t for t in found if t <= 150]
    assert (len(early), early[0], early[-1]) == (20, 0, 150)
    assert set(found) - set(early) == {t for t in whole if t > 150}
    assert docs.losses.grid(10) == list(range(10))
    with pytest.raises(UserError, match="points is 1"):
        docs.losses.grid(1000, 1)


class FirstDraw:
    """A loss that tells the first number that each image's source draws."""

    def errors(self, network, batch, t):
        drawn = [torch.randn((), generator=source) for source in batch.sources]
        return torch.stack(drawn) + t


def test_an_image_meets_one_noise_at_every_timestep(docs):
    images = [(torch.zeros(1, 4, 4), torch.zeros(4, 4).long())] * 19
    net = torch.nn.Identity()
    found = docs.losses.errors_at(FirstDraw(), net, images, [0, 5, 9], seed=3)
    assert found.shape == (3, 19)
    assert np.allclose(found[1] - 5, found[0], atol=1e-5)
    assert np.allclose(found[2] - 9, found[0], atol=1e-5)
    assert len(np.unique(found[0])) == 19  # and each its own
    other = docs.losses.errors_at(FirstDraw(), net, images, [0], seed=4)
    assert not np.isin(other[0], found[0]).any()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pictures of val and one of train."""
    folder = tmp_path_factory.mktemp("data") / "made-up"
    folder.mkdir()
    random = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "group", "split", "image", "mask", "labels"])
        for name in "tuvw":
            Image.fromarray(random.integers(0, 255, (20, 24, 3), np.uint8)).save(
                folder / f"{name}.png"
            )
            mask = np.zeros((20, 24), np.uint8)
            mask[4:15, 6:15] = 255
            Image.fromarray(mask).save(folder / f"{name}_mask.png")
            split = "train" if name == "t" else "val"
            row = [name, name, split, f"{name}.png", f"{name}_mask.png", "x"]
            table.writerow(row)
    return folder


def make_run(folder, name, *more):
    """A finished run of a recipe, of a network as it begins."""
    recipe = load_recipe(name, [*SMALL, *more])
    config = dict(recipe.network)
    torch.manual_seed(0)
    network = build_network(config.pop("name"), **config)
    (folder / recipe.product).mkdir(parents=True)
    save_file(network.state_dict(), folder / recipe.product / "model.safetensors")
    state = {"step": 7, "sittings": [{"recipe": recipe.model_dump(mode="json")}]}
    (folder / "state").mkdir()
    (folder / "state" / "state.json").write_text(json.dumps(state))
    return folder


def test_two_runs_are_measured_into_one_file(docs, data, tmp_path, monkeypatch):
    runs = [
        make_run(tmp_path / "masks", "ph2-ensemdiff"),
        make_run(tmp_path / "images", "ph2-ensemdiff-images"),
    ]
    out = tmp_path / "losses.json"
    given = ["x", "--data", str(data), "--out", str(out), "--points", "5"]
    given += [part for one in runs for part in ("--run", str(one))]
    monkeypatch.setattr(sys, "argv", [*given, "--early", "0"])
    docs.losses.main()
    about = json.loads(out.read_text())
    assert (about["data"], about["split"], about["count"]) == ("made-up", "val", 3)
    assert about["timesteps"] == [0, 250, 500, 749, 999]
    levels = noise_schedule("linear", 1000).log_snr()[about["timesteps"]]
    assert about["log_snr"] == pytest.approx(levels.tolist(), rel=1e-4)
    named = {"recipe": "ph2-ensemdiff-images", "steps": 7, "size": [16, 16]}
    assert about["runs"]["E4"] == named
    # The network begins by answering nothing: its error is the noise's own square,
    # one at every timestep, and 1 but for chance.
    for experiment in ("E2", "E4"):
        errors = about["errors"][experiment]
        assert np.ptp(errors) < 1e-5
        assert errors[0] == pytest.approx(1, abs=0.15)
    assert docs.figures.measured_losses(out).errors["E4"][0] == about["errors"]["E4"][0]


def test_fewer_images_may_be_asked_for(docs, data, tmp_path):
    dataset = load_dataset(data)
    folder = make_run(tmp_path / "run", "ph2-ensemdiff")
    found = docs.losses.measure_run(folder, dataset, points=2, early=0, most=2)
    assert found.errors.shape == (2, 2)
    assert (found.experiment, found.steps) == ("E2", 7)
    with pytest.raises(UserError, match="images is 0"):
        docs.losses.measure_run(folder, dataset, points=2, most=0)
    with pytest.raises(UserError, match="one of each experiment"):
        docs.losses.told([found, found], "d", 0)
    fewer = docs.losses.measure_run(folder, dataset, points=2, early=0, most=1)
    assert docs.losses.told([fewer], "d", 0)["standard_errors"]["E2"] == [0, 0]
    with pytest.raises(UserError, match="differ in schedule or images"):
        docs.losses.told([found, fewer], "d", 0)


def test_a_folder_that_is_no_such_run_is_told(docs, tmp_path):
    with pytest.raises(UserError, match="does not tell a recipe"):
        docs.losses.run_recipe(tmp_path)
    folder = make_run(tmp_path / "twin", "ph2-ensemdiff-feedforward")
    with pytest.raises(UserError, match="one of feedforward"):
        docs.losses.run_recipe(folder)


# The recipes of E4


@pytest.mark.parametrize(("data", "channels"), [("ph2", 3), ("nuclei", 3), ("lgg", 1)])
def test_the_networks_of_e2_and_e4_differ_in_channels_alone(data, channels):
    masks, images = (load_recipe(f"{data}-ensemdiff{end}") for end in ("", "-images"))
    assert images.objective.name == "image_generation"
    assert images.product == "part"
    assert images.network == {**masks.network, "mask_channels": channels}
    assert images.network["image_channels"] == channels
    for same in ("patch", "preparation", "sampling", "optimiser", "length", "patches"):
        assert getattr(images, same) == getattr(masks, same), same
    assert images.augmentation.noise == 0
