"""What a stage of a chain leaves in its folder, so that it is not done twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from diffseg.errors import UserError
from diffseg.models.folder import sha256_of
from diffseg.networks import build_network
from diffseg.volume import atomic_write_bytes
from diffseg_training.parts import CONFIG, WEIGHTS

_DONE = "done.json"


@dataclass(frozen=True, slots=True)
class Mark:
    """The sign of a finished stage.

    Parameters
    ----------
    folder : Path
        Of the stage.
    key : str
        Of its settings and of all before it; see `key_of`.
    """

    folder: Path
    key: str

    def told(self) -> dict[str, Any] | None:
        """What the finished stage told; None where it is not finished.

        Raises
        ------
        UserError
            It was finished with other settings.
        """
        path = self.folder / _DONE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            key, told = str(content["key"]), dict(content["told"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise UserError(f"{path} cannot be read: {err}; remove {path}") from None
        if key != self.key:
            raise UserError(
                f"stage {self.folder.name} in {self.folder.parent} was made with other "
                f"settings: train into a new folder, or remove {self.folder} and what "
                "follows it"
            )
        return told

    def begin(self) -> None:
        """Hold the settings against what an interrupted stage has begun with.

        Raises
        ------
        UserError
            It began with others.
        """
        path = self.folder / "begun.json"
        if path.is_file():
            begun = json.loads(path.read_text(encoding="utf-8"))
            if begun.get("key") != self.key:
                raise UserError(
                    f"stage {self.folder.name} in {self.folder.parent} was begun with "
                    f"other settings: train into a new folder, or remove {self.folder}"
                )
            return
        atomic_write_bytes(path, json.dumps({"key": self.key}).encode())

    def finish(self, told: Mapping[str, Any]) -> None:
        """Say that the stage is finished, and what it tells."""
        content = json.dumps({"key": self.key, "told": dict(told)}, indent=1)
        atomic_write_bytes(self.folder / _DONE, content.encode())


def key_of(settings: object, before: str = "") -> str:
    """Name of settings (JSON) and of what they build upon."""
    text = json.dumps([before, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def load_part(folder: Path) -> nn.Module:
    """Build the network of a part and give it its weights, in evaluation.

    Raises
    ------
    UserError
        They are not there, or not those of the configuration.
    """
    from safetensors.torch import load_file

    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if sha256_of(folder / WEIGHTS) != told["sha256"]:
            raise UserError(
                f"the weights in {folder} are not those of its {CONFIG}: remove the "
                "folder and resume"
            )
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError) as err:
        raise UserError(f"part {folder} cannot be read: {err}") from None
    config = dict(told["network"])
    network = build_network(config.pop("name"), **config)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
