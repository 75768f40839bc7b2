"""What another package brings is found by its entry points, and clashes are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg_training.objectives import make_loss
from diffseg_training.recipe import load_recipe
from diffseg_training.settings import objective_names, settings_class

CODE = """
from torch import nn
from diffseg_training.settings import ObjectiveSettings

class Settings(ObjectiveSettings):
    weight: float = 2.0

def build(width=1):
    return nn.Conv2d(1, width, 1)

def nothing():
    return None

def make(recipe, network):
    return lambda network, batch: (recipe.objective.weight, {})
"""
RECIPE = ["length.steps=1", "patch=[16, 16]", "objective={name: guest}"]


class Guest:
    """Packages in a folder on the path, each with a name of its own."""

    def __init__(self, site: Path, module: str) -> None:
        self.site, self.module = site, module
        (site / f"{module}.py").write_text(CODE)

    def enters(self, group: str, name: str, at: str, package: str = "guest") -> None:
        info = self.site / f"{package}-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Name: {package}\nVersion: 1\n")
        with (info / "entry_points.txt").open("a") as file:
            file.write(f"[{group}]\n{name} = {at.replace('@', self.module)}\n")


@pytest.fixture
def guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Guest:
    monkeypatch.syspath_prepend(tmp_path)
    # Modules stay imported: each test has one of a name of its own.
    return Guest(tmp_path, re.sub(r"\W", "_", f"guest_of_{request.node.name}"))


def test_a_network_of_another_package(guest: Guest) -> None:
    guest.enters("diffseg.networks", "guest", "@:build")
    net = build_network("guest", width=3)
    assert isinstance(net, torch.nn.Conv2d)
    assert net.out_channels == 3
    with pytest.raises(UserError, match=r"network guest: .*colour"):
        build_network("guest", colour="red")


def test_an_objective_of_another_package(guest: Guest) -> None:
    with pytest.raises(UserError, match=r"objective 'guest' is not one of .*denoising"):
        load_recipe("hippocampus-mri-slices", RECIPE)
    guest.enters("diffseg.settings", "guest", "@:Settings")
    assert "guest" in objective_names()
    recipe = load_recipe("hippocampus-mri-slices", [*RECIPE, "objective.weight=3"])
    net = torch.nn.Conv2d(1, 1, 1)
    with pytest.raises(UserError, match=r"has settings, .* group diffseg.objectives"):
        make_loss(recipe, net)
    guest.enters("diffseg.objectives", "guest", "@:make")
    assert make_loss(recipe, net)(net, None) == (3.0, {})  # type: ignore[arg-type]


def test_a_name_given_twice_is_refused(guest: Guest) -> None:
    guest.enters("diffseg.networks", "unet", "@:build")
    with pytest.raises(UserError) as told:
        build_network("unet")
    assert str(told.value) == (
        "network 'unet' is given by diffseg.networks.unet and by package guest; "
        "rename or uninstall one"
    )
    guest.enters("diffseg.settings", "denoising", "@:Settings")
    with pytest.raises(UserError, match=r"'denoising' is given by .* by package guest"):
        settings_class("denoising")
    guest.enters("diffseg.networks", "both", "@:build")
    guest.enters("diffseg.networks", "both", "@:build", package="other")
    with pytest.raises(UserError, match=r"'both' is given by package \w+ and by pack"):
        build_network("both")


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("@:absent", "of package guest cannot be loaded from .*:absent: .*absent"),
        ("no_such_module:build", "cannot be loaded from no_such_module:build: No mod"),
        ("@ build", "cannot be loaded from "),
        ("@:nothing", "network guest: what was built is no torch.nn.Module"),
    ],
    ids=["member", "module", "reference", "no_network"],
)
def test_what_does_not_load_is_told(guest: Guest, at: str, said: str) -> None:
    guest.enters("diffseg.networks", "guest", at)
    with pytest.raises(UserError, match=said):
        build_network("guest")


def test_settings_are_settings(guest: Guest) -> None:
    guest.enters("diffseg.settings", "guest", "@:build")
    with pytest.raises(UserError, match="'guest' are no ObjectiveSettings"):
        settings_class("guest")


@pytest.mark.parametrize("helper", ["conditioned", "rrdb", "__init__", "a.b", ""])
def test_a_helper_is_no_network(helper: str) -> None:
    with pytest.raises(UserError, match="is not one of diffseg"):
        build_network(helper)
