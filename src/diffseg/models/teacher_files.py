"""A small vision transformer of our own, in a folder as timm writes it.

``config.json`` holds the architecture and its settings, ``model.safetensors`` the
weights. `load_teacher("file:FOLDER")` reads it, and so does timm.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from diffseg.errors import UserError
from diffseg.volume import atomic_write

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_ARCHITECTURE = "vit_tiny_patch16_224"  # what timm builds on; every size is overridden
Triple = tuple[float, float, float]
_MEAN: Triple = (0.485, 0.456, 0.406)
_STD: Triple = (0.229, 0.224, 0.225)


class TowerConfig(BaseModel):
    """Sizes of a vision transformer, and how its images are normalised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(64, ge=8, title="Side of an image in pixels")
    patch: int = Field(8, ge=2, title="Side of a patch in pixels")
    width: int = Field(128, ge=8, title="Width of a token")
    depth: int = Field(6, ge=1, title="Blocks")
    heads: int = Field(4, ge=1, title="Heads of an attention")
    registers: int = Field(0, ge=0, title="Registers")
    mean: Triple = Field(_MEAN, title="Mean of the images, range 0 to 1")
    std: Triple = Field(_STD, title="Standard deviation of the images")

    def options(self) -> dict[str, Any]:
        """What timm's constructor is given."""
        return {
            "img_size": self.size,
            "patch_size": self.patch,
            "embed_dim": self.width,
            "depth": self.depth,
            "num_heads": self.heads,
            "reg_tokens": self.registers,
            "num_classes": 0,
        }


def build_tower(config: TowerConfig, seed: int) -> VisionTransformer:
    """Build a vision transformer with random weights that follow from `seed`.

    ``tower.forward_features(x)`` gives class token, registers and patch tokens
    (B, 1 + R + N, D), normalised; ``tower.num_prefix_tokens`` is 1 + R.

    Raises
    ------
    UserError
        The patch does not divide the side, or the heads the width.
    """
    import timm

    if config.size % config.patch or config.width % config.heads:
        raise UserError(
            f"teacher: a patch of {config.patch} must divide the side {config.size}, "
            f"and {config.heads} heads the width {config.width}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = timm.create_model(_ARCHITECTURE, pretrained=False, **config.options())
    return cast("VisionTransformer", tower)


def save_teacher(
    tower: nn.Module, config: TowerConfig, folder: str | Path, *, half: bool = True
) -> Path:
    """Write a vision transformer that `build_tower` made into `folder`.

    Parameters
    ----------
    tower : Module
    config : TowerConfig
        That it was built with.
    folder : path
        Made if it does not exist.
    half : bool
        Whether the weights are stored as float16.

    Returns
    -------
    path
        The folder.
    """
    from safetensors.torch import save_file

    target = Path(folder)
    state = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in tower.state_dict().items()
    }
    content = {
        "architecture": _ARCHITECTURE,
        "num_classes": 0,
        "num_features": config.width,
        "model_args": config.options(),
        "pretrained_cfg": {
            "input_size": [3, config.size, config.size],
            "mean": list(config.mean),
            "std": list(config.std),
            "num_classes": 0,
        },
    }
    text = json.dumps(content, indent=2) + "\n"
    metadata = {"format": "pt"}
    atomic_write(target / WEIGHTS, lambda path: save_file(state, path, metadata))
    atomic_write(target / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    return target


def read_tower(path: str | Path) -> tuple[nn.Module, Triple, Triple]:
    """Read a transformer from the folder that timm or `save_teacher` wrote.

    Returns
    -------
    Module, mean, std
        How its images are normalised: ImageNet's way where the folder does not say.

    Raises
    ------
    UserError
        A file is missing or broken, or timm has no such architecture.
    """
    import timm

    folder = Path(path).expanduser()
    folder = folder.parent if folder.is_file() else folder
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        architecture = str(content["architecture"])
        options: dict[str, Any] = {"num_classes": 0}
        options |= dict(content.get("model_args") or {})
        shown = dict(content.get("pretrained_cfg") or {})
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"teacher: {folder / CONFIG} cannot be read; give a folder with {CONFIG} "
            f"and {WEIGHTS}"
        ) from None
    if not timm.is_model(architecture):
        raise UserError(f"teacher: {folder}: timm has no model {architecture!r}")
    try:
        tower = timm.create_model(architecture, pretrained=False, **options)
    except (TypeError, ValueError) as err:
        raise UserError(
            f"teacher: {folder / CONFIG} is not of {architecture}: {err}"
        ) from None
    load_tower(tower, folder / WEIGHTS)
    return tower, tuple(shown.get("mean", _MEAN)), tuple(shown.get("std", _STD))


def load_tower(tower: nn.Module, file: Path) -> None:
    """Give `tower` the weights in `file`, but for a classifier's.

    Raises
    ------
    UserError
        They cannot be read, or are another architecture's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(file)
    except (SafetensorError, OSError):
        raise UserError(
            f"teacher: {file} is not there or not safetensors; fetch it again"
        ) from None
    own = tower.state_dict()
    state = {k: t for k, t in state.items() if k in own or not k.startswith("head.")}
    wrong = sorted(own.keys() ^ state.keys()) or sorted(
        name for name, tensor in state.items() if tensor.shape != own[name].shape
    )
    if wrong:
        raise UserError(
            f"teacher: {file} is of another architecture: {wrong[0]} is missing, not "
            "expected or of another shape"
        )
    tower.load_state_dict(state)
