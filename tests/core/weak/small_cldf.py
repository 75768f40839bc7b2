"""A CLDF network small enough for a test, and its card."""

from __future__ import annotations

import torch
from torch import nn

from diffseg.domain import (
    Intensity,
    Label,
    LabelTable,
    ModelCard,
    Preparation,
    Sampling,
)
from diffseg.networks.cldf import Cldf

SMALL = {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": ()}
CONFIG = {
    "image_channels": 1,
    "classes": 1,
    "diffusion": {"heads": 1, **SMALL},
    "classifier": {"size": 16, "head_channels": 16, **SMALL},
    "blocks": (0, 3),
    "timesteps": (50, 100, 150, 200),
    "width": 4,
}


def network(**config: object) -> Cldf:
    torch.manual_seed(0)
    net = Cldf(**CONFIG | config)  # type: ignore[arg-type]
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    net.references.copy_(torch.eye(4)[: net.classes + 1])
    return net.eval()


def card(names: tuple[str, ...] = ("tumour",), **preparation: object) -> ModelCard:
    labels = [Label(name=name, value=i) for i, name in enumerate(names, start=1)]
    return ModelCard(
        id="weak",
        version="1.0.0",
        title="Weak",
        method="cldf",
        network={"name": "cldf", **CONFIG},
        labels=LabelTable(labels=tuple(labels)),
        preparation=Preparation(
            dims=2,
            channels=("FLAIR",),
            intensity=Intensity(kind="range", low=0, high=1, to=(-1, 1)),
            **preparation,  # type: ignore[arg-type]
        ),
        sampling=Sampling(members=2, steps=2, schedule="linear"),
        modality="MR",
        licence="CC0",
        sha256="",
        data="none",
        intended_use="a test",
        limits=("none",),
    )
