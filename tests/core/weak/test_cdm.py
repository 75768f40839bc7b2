"""The baselines as segmenters, on a network that CLDF's weights fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from diffseg import Request, Volume
from diffseg.diffusion import noise_schedule
from diffseg.domain import (
    ImageLabels,
    Intensity,
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Sampling,
)
from diffseg.errors import UserError
from diffseg.networks.cdm import Cdm
from diffseg.networks.cldf import Cldf
from diffseg.segmenters import Host
from diffseg.segmenters.cdm import CDM
from diffseg.segmenters.weak.changing import change_map

SMALL = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": ()}
CONFIG = {
    "image_channels": 1,
    "diffusion": {"heads": 1, **SMALL},
    "classifier": {"size": 16, "head_channels": 16, **SMALL},
}


def network(**config: object) -> Cdm:
    torch.manual_seed(0)
    net = Cdm(**CONFIG | config)  # type: ignore[arg-type]
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    return net.eval().requires_grad_(False)


def card(**sampling: object) -> ModelCard:
    return ModelCard(
        id="baseline",
        version="1.0.0",
        title="Baseline",
        method="cdm",
        network={"name": "cdm", **CONFIG},
        labels=LabelTable(labels=(Label(name="tumour", value=1),)),
        preparation=Preparation(
            dims=2, channels=("FLAIR",), intensity=Intensity(kind="range", to=(-1, 1))
        ),
        sampling=Sampling(
            **{"members": 2, "steps": 3, "schedule": "linear", "prediction": "eps"}
            | sampling  # type: ignore[arg-type]
        ),
        modality="MR",
        licence="CC0",
        sha256="",
        data="none",
        intended_use="a test",
        limits=("none",),
    )


def segmenter(**config: object) -> CDM:
    return CDM(card(), network(**config), Host("cpu", 1))  # type: ignore[arg-type]


def volume() -> Volume:
    return Volume.from_array(np.random.default_rng(0).random((1, 14, 18)))


@pytest.mark.parametrize("kind", ["perturbed", "anomaly"])
def test_it_proposes_where_the_class_is_said_to_be(kind: str) -> None:
    one = segmenter(kind=kind, scale=1.0)
    labels = ImageLabels.parse("tumour")
    found = one.propose(Request(volume(), labels=labels))
    assert 0 < found.mask.mean() < 1
    # Two members, each parted for good.
    assert set(np.unique(found.probability)) <= {0.0, 0.5, 1.0}
    absent = ImageLabels.parse("tumour=absent")
    assert not one.propose(Request(volume(), labels=absent)).mask.any()


def test_weights_of_cldf_fit() -> None:
    torch.manual_seed(1)
    state = Cldf(
        **CONFIG | {"blocks": (0, 3), "timesteps": (50,)}  # type: ignore[arg-type]
    ).state_dict()
    net = network()
    missing, _ = net.load_state_dict(state, strict=False)
    assert not missing


def test_the_share_of_the_perturbed_condition_scales_out() -> None:
    """To first order: the map is a derivative by the condition."""
    net, schedule = network(), noise_schedule("linear")
    image = torch.randn(1, 1, 16, 16)
    states = torch.ones(1, 1, dtype=torch.long)
    maps = []
    for share in (0.99, 0.98):
        net.share = share
        with torch.no_grad():
            maps.append(
                change_map(net, schedule, "eps", image, states, 0, image, steps=2)
            )
    assert float(maps[0].abs().mean()) > 0
    difference = float((maps[0] - maps[1]).abs().mean())
    assert difference < 0.2 * float(maps[0].abs().mean())


def test_a_card_that_does_not_fit_is_refused() -> None:
    for wrong, message in (
        (card(prediction="classes"), "give sampling.prediction eps"),
        (card(schedule="cosine"), "does not end in noise alone"),
        (card(timesteps=300), "timestep 400, its schedule has 300"),
    ):
        with pytest.raises(UserError, match=message):
            CDM(wrong, network(), Host("cpu", 1)).source()  # type: ignore[arg-type]
    other = Cldf(**CONFIG | {"blocks": (0,), "timesteps": (5,)})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="needs network cdm"):
        CDM(card(), other, Host("cpu", 1)).source()  # type: ignore[arg-type]
