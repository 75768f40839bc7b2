"""Torch modules and nothing else: one file an architecture.

A network is built by the name of its file, ``build_network("compact_unet", dims=3)``,
and called as ``net(noisy, timesteps, image)``. Adding one is adding a file with a
function ``build(**config)``, or, in another package, an entry point of the group
``diffseg.networks`` that names such a function.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch
from torch import nn

from diffseg.errors import UserError, nearest
from diffseg.extensions import Kind, find

NETWORK = Kind("network", "diffseg.networks", "build", "diffseg.networks")


def build_network(name: str, **config: Any) -> nn.Module:
    """Build the architecture called ``name`` with random weights.

    Raises
    ------
    UserError
        No architecture of that name, or a configuration it cannot take.
    """
    build = find(NETWORK, name)
    if build is None:
        raise UserError(f"network {name!r} is not one of diffseg.networks")
    try:
        network = build(**config)
    except TypeError as err:
        raise UserError(f"network {name}: {_told(err)}") from err
    if not isinstance(network, nn.Module):
        raise UserError(f"network {name}: what was built is no torch.nn.Module")
    return network


def _told(err: TypeError) -> str:
    """What a network cannot take; of a key that is not known, the nearest that is."""
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected.* '(\w+)'", str(err))
    trace = err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if found is None or trace is None:
        return str(err)
    # Where it was called, the class is known by its name.
    kind = trace.tb_frame.f_globals.get(found[1])
    known = inspect.signature(kind).parameters if isinstance(kind, type) else {}
    hint = nearest(found[2], known) or f"; known: {', '.join(sorted(known))}"
    return f"{found[2]} is no key of {found[1]}{hint}" if known else str(err)


def fast_layout(dims: int) -> torch.memory_format:
    """Memory format in which convolutions over 2 or 3 dimensions run fastest."""
    return torch.channels_last_3d if dims == 3 else torch.channels_last


def training_layout(dims: int, device: str) -> torch.memory_format:
    """Memory format in which networks over 2 or 3 dimensions learn fastest.

    That of `fast_layout`, but for planes on a CPU: there torch's gradient of a group
    normalisation takes ten times as long with channels last, and that of a
    convolution's weights longer by a third.
    """
    if dims == 2 and device.split(":")[0] == "cpu":
        return torch.contiguous_format
    return fast_layout(dims)


__all__ = ["build_network", "fast_layout", "training_layout"]
