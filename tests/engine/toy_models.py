"""Toys: a model of every method, of random weights, small enough to make in a test.

``python toy_models.py FOLDER`` makes them all in a process of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from diffseg.domain import Label, LabelTable, ModelCard, Preparation, Sampling
from diffseg.models import save_model
from diffseg.networks import build_network

COLOURS = ("red", "green", "blue")
SIZE = 16
STEPS = 3
GUIDED = {"channels": 32, "multipliers": (1,), "blocks": 1, "attention": ()}
CHAIN = {
    "members": 2, "steps": STEPS, "timesteps": 20, "schedule": "linear",
    "sampler": "ddpm", "prediction": "eps",
}  # fmt: skip
LEARNED = {**CHAIN, "variance": "learned", "mask_range": (0.0, 1.0)}
METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ensemdiff": ({"name": "guided_unet", **GUIDED}, LEARNED),
    "segdiff": (
        {"name": "segdiff", **GUIDED, "reader_blocks": 1, "reader_width": 8,
         "reader_growth": 4},
        {**CHAIN, "variance": "fixed_large"},
    ),
    "medsegdiff": (
        {"name": "medsegdiff", "image_size": SIZE, **GUIDED,
         "multipliers": (1, 1, 1, 1)},
        {**LEARNED, "consensus": "staple"},
    ),
    "latent": (
        {"name": "latent_diffusion",
         "autoencoder": {"channels": 8, "multipliers": (1, 1, 1), "blocks": 1,
                         "groups": 8, "latent_channels": 2},
         "unet": {"channels": 32, "multipliers": (1,), "blocks": 1,
                  "attention": ()}},
        {**CHAIN, "prediction": "v", "sampler": "ddim"},
    ),
    "feedforward": (
        {"name": "unet", "channels": 4, "multipliers": (1, 1, 2)},
        {"members": 2, "steps": 1, "prediction": "classes"},
    ),
}  # fmt: skip


def add_toy(method: str, models: Path) -> ModelCard:
    """Write a model of random weights that sees colours at 16 x 16 pixels."""
    config, sampling = METHODS[method]
    config = {**config, "image_channels": 3}
    if method != "latent":
        config["mask_channels"] = 1
    torch.manual_seed(5)
    network = build_network(**config)
    for weights in network.parameters():  # none may be zero, as when training begins
        torch.nn.init.normal_(weights, std=0.05)
    card = ModelCard(
        id=f"toy-{method}", version="1", title=f"Toy of {method}", method=method,
        network=config, labels=LabelTable(labels=(Label(name="lesion", value=1),)),
        preparation=Preparation(dims=2, channels=COLOURS, size=(SIZE, SIZE)),
        sampling=Sampling(**sampling), modality="dermoscopy", licence="CC0",
        sha256="0", data="none", intended_use="tests", limits=("all",),
        capabilities=frozenset({"labels", "region"}),
    )  # fmt: skip
    save_model(models / card.id / card.version, card, network.state_dict())
    return card


if __name__ == "__main__":
    for each in METHODS:
        add_toy(each, Path(sys.argv[1]))
