"""Torch modules and nothing else: one file an architecture.

A network is built by the name of its file, ``build_network("compact_unet", dims=3)``,
and called as ``net(noisy, timesteps, image)``. Adding one is adding a file with a
function ``build(**config)``.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from diffseg.errors import UserError


def build_network(name: str, **config: Any) -> nn.Module:
    """Build the architecture in ``diffseg.networks.<name>`` with random weights.

    Raises
    ------
    UserError
        No architecture of that name, or a configuration it cannot take.
    """
    known = re.fullmatch(r"[a-z0-9_]+", name) is not None
    if not known or find_spec(f"diffseg.networks.{name}") is None:
        raise UserError(f"network {name!r} is not one of diffseg.networks")
    module = import_module(f"diffseg.networks.{name}")
    try:
        network = module.build(**config)
    except TypeError as err:
        raise UserError(f"network {name}: {err}") from err
    assert isinstance(network, nn.Module)
    return network


def fast_layout(dims: int) -> torch.memory_format:
    """Memory format in which convolutions over 2 or 3 dimensions run fastest."""
    return torch.channels_last_3d if dims == 3 else torch.channels_last


__all__ = ["build_network", "fast_layout"]
