"""Parts that latent networks begin with: found by name or path, read and verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from diffseg.errors import UserError, nearest
from diffseg.models.public_state import public_state
from diffseg.models.pulling import public_weights
from diffseg.networks import build_network
from diffseg.resources import resource
from diffseg_training.parts import CONFIG, WEIGHTS

# Of weights alone, which say nothing of how they are built.
_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_PULL = " that diffseg models pull lists"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedPart:
    """Weights of a part, on the CPU, and how it is built.

    Parameters
    ----------
    network : mapping
        What `build_network` takes, with the network's `name`; empty where a file of
        weights comes alone.
    weights : mapping of str to Tensor
    """

    network: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    def built(self) -> nn.Module:
        """Build the part, with its weights."""
        config = dict(self.network)
        network = build_network(config.pop("name"), **config)
        network.load_state_dict(dict(self.weights))
        return network


def read_part(spec: str) -> TrainedPart:
    """Read a part.

    Parameters
    ----------
    spec : str
        Folder that a recipe of the product part has written; or a file of
        safetensors, or a published checkpoint, whose tensors alone are read; or the
        name of a part that ships, or of public weights that were pulled.

    Raises
    ------
    UserError
        There is no such part, its weights are not those of its configuration, or a
        checkpoint would have to be unpickled.
    """
    path = Path(spec).expanduser()
    public = spec in {entry.name for entry in public_weights()}
    if path.suffix in _FILES or (public and not path.is_dir()):
        return TrainedPart({}, public_state(spec))
    folder = path if path.is_dir() else _shipped(spec)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        network, checksum = dict(config["network"]), str(config["sha256"])
        content = (folder / WEIGHTS).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"part {folder} cannot be read: a part is a folder with {CONFIG} and "
            f"{WEIGHTS}, as a recipe of an autoencoder or a teacher writes it"
        ) from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UserError(
            f"weights of part {folder} are not those of its {CONFIG}: train it again"
        )
    return TrainedPart(network, public_state(folder / WEIGHTS))


def _shipped(name: str) -> Path:
    """Folder of a part that ships."""
    try:
        return resource("parts", name)
    except FileNotFoundError:
        raise UserError(
            f"part {name!r} is neither a folder nor one that ships; train it by a "
            "recipe of an autoencoder or a teacher, and give its folder OUT/part, or "
            "name public weights"
            + (nearest(name, [e.name for e in public_weights()]) or _PULL)
        ) from None
