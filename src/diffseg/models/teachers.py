"""Frozen vision transformers that a denoiser is aligned with, by name (LEAF).

``timm:NAME``, ``open_clip:NAME/TAG`` or ``file:PATH``. What `diffseg models pull` has
brought here is used first; else the library is asked, which may fetch it, unless
``DIFFSEG_OFFLINE=1`` forbids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.models.pulling import offline, pulled_folder
from diffseg.models.teacher_files import WEIGHTS, load_tower, read_tower

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A frozen vision transformer, as its patch tokens; not a part of any network.

    Parameters
    ----------
    name : str
        As it was asked for.
    tower : Module
        In evaluation, without gradients.
    tokens : callable
        What is asked of the tower: a normalised image to patch tokens.
    dim : int
        Width D of a token.
    patch : (int, int)
        Pixels of a patch (y, x).
    grid : (int, int)
        Patches of an image (y, x); every image is resized to as many.
    mean, std : (float, float, float)
        Of the images it was trained on, whose range is [0, 1].
    """

    name: str
    tower: nn.Module
    tokens: Callable[[Tensor], Tensor]
    dim: int
    patch: tuple[int, int]
    grid: tuple[int, int]
    mean: Triple
    std: Triple

    @property
    def count(self) -> int:
        """Patch tokens of an image, N."""
        return self.grid[0] * self.grid[1]

    @property
    def size(self) -> tuple[int, int]:
        """Pixels (y, x) that every image is resized to."""
        return self.grid[0] * self.patch[0], self.grid[1] * self.patch[1]

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Patch tokens (B, N, D), row by row, of images (B, C, Y, X) in [0, 1].

        They are those after the last normalisation, without the class token and the
        registers. Images are resized by cubic interpolation, as LEAF's code does; a
        grey one is repeated.

        Raises
        ------
        UserError
            The images have neither one nor three channels.
        """
        channels = image.shape[1]
        if channels not in (1, 3):
            raise UserError(
                f"teacher {self.name} sees images of 1 or 3 channels; these have "
                f"{channels}: train without alignment"
            )
        place = next(self.tower.parameters())
        x = image.expand(-1, 3, -1, -1).to(place.device, torch.float32)
        if x.shape[2:] != self.size:
            x = functional.interpolate(x, self.size, mode="bicubic")
        mean, std = (x.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return self.tokens(((x - mean) / std).to(place.dtype))


def load_teacher(
    spec: str,
    device: str | torch.device = "cpu",
    grid: tuple[int, int] | None = None,
) -> Teacher:
    """Load a frozen vision transformer.

    Parameters
    ----------
    spec : str
        ``timm:NAME``; ``open_clip:NAME/TAG``, where TAG may be a file of weights; or
        ``file:PATH``, a folder with ``config.json`` and ``model.safetensors`` as timm
        writes them (`save_teacher`).
    device : str or device
    grid : (int, int), optional
        Patches (y, x) to look at, such as (16, 16); the embedding of positions is
        resampled. Without it the one that it was trained at.

    Raises
    ------
    UserError
        The spec is none of these, there is no such teacher, it is no vision
        transformer, or its weights are not here and the network is forbidden.
    """
    kind, _, name = spec.partition(":")
    loaders = {"timm": _from_timm, "open_clip": _from_open_clip, "file": _from_file}
    if kind not in loaders or not name:
        raise UserError(
            f"teacher {spec!r} is not known: give timm:NAME, open_clip:NAME/TAG or "
            "file:FOLDER"
        )
    teacher = loaders[kind](spec, name, grid)
    teacher.tower.requires_grad_(False).eval().to(device)
    return teacher


def _from_timm(spec: str, name: str, grid: tuple[int, int] | None) -> Teacher:
    import timm

    if not timm.is_model(name):
        raise UserError(f"teacher {spec}: timm has no model {name!r}; see timm's list")
    folder = pulled_folder(spec)
    if folder is None:
        _refuse_offline(spec)
        try:
            tower = timm.create_model(name, pretrained=True, num_classes=0)
        except Exception as err:  # whatever a hub's client raises
            raise _unavailable(spec, err) from None
    else:
        tower = timm.create_model(name, pretrained=False, num_classes=0)
        load_tower(tower, folder / WEIGHTS)
    config: Any = tower.pretrained_cfg
    return _timm_teacher(spec, tower, grid, config["mean"], config["std"])


def _from_file(spec: str, path: str, grid: tuple[int, int] | None) -> Teacher:
    tower, mean, std = read_tower(path)
    return _timm_teacher(spec, tower, grid, mean, std)


def _timm_teacher(
    spec: str, tower: Any, grid: tuple[int, int] | None, mean: Any, std: Any
) -> Teacher:
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(tower, VisionTransformer):
        raise UserError(
            f"teacher {spec} is a {type(tower).__name__}, which has no patch tokens; "
            "give a vision transformer"
        )
    patch: tuple[int, int] = tower.patch_embed.patch_size
    if grid is not None:
        tower.set_input_size((grid[0] * patch[0], grid[1] * patch[1]))

    def tokens(image: Tensor) -> Tensor:
        features: Tensor = tower.forward_features(image)
        return features[:, tower.num_prefix_tokens :]

    found = tower.patch_embed.grid_size
    assert found is not None
    return Teacher(
        spec, tower, tokens, tower.embed_dim, patch, found, tuple(mean), tuple(std)
    )


def _from_open_clip(spec: str, name: str, grid: tuple[int, int] | None) -> Teacher:
    import open_clip  # type: ignore[import-untyped]
    from open_clip.transformer import (  # type: ignore[import-untyped]
        VisionTransformer,
    )

    model, _, tag = name.partition("/")
    config = open_clip.get_model_config(model)
    if config is None or not tag:
        raise UserError(
            f"teacher {spec}: give open_clip:NAME/TAG, NAME and TAG as open_clip lists "
            "them, such as open_clip:ViT-B-16/laion2b_s34b_b88k"
        )
    patch = config["vision_cfg"].get("patch_size")
    if not isinstance(patch, int):
        raise UserError(
            f"teacher {spec}: the tower of {model} is not open_clip's own vision "
            "transformer; give one that is, such as ViT-B-16"
        )
    size = None if grid is None else (grid[0] * patch, grid[1] * patch)
    whole = _open_clip_model(spec, model, tag, size)
    tower: Any = whole.visual
    assert isinstance(tower, VisionTransformer)
    tower.output_tokens = True

    def tokens(image: Tensor) -> Tensor:
        answer: Tensor = tower(image)[1]
        return answer

    return Teacher(
        spec,
        tower,
        tokens,
        tower.ln_post.normalized_shape[0],
        (patch, patch),
        tower.grid_size,
        tuple(tower.image_mean),
        tuple(tower.image_std),
    )


def _open_clip_model(
    spec: str, model: str, tag: str, size: tuple[int, int] | None
) -> Any:
    """Image and text model; only a file of safetensors or open_clip's own download."""
    import open_clip

    folder = pulled_folder(spec)
    named = Path(tag).expanduser()
    file = next(folder.glob("*.safetensors"), named) if folder else named
    here = file.is_file() and file.suffix == ".safetensors"
    if not here:
        known = open_clip.list_pretrained_tags_by_model(model)
        if tag not in known:
            raise UserError(
                f"teacher {spec}: {tag!r} is neither a file of safetensors nor one of "
                f"open_clip's tags for {model}: {', '.join(known) or 'none'}"
            )
        _refuse_offline(spec)
    try:
        return open_clip.create_model(
            model, pretrained=str(file) if here else tag, force_image_size=size
        )
    except Exception as err:  # whatever a hub's client or a checkpoint raises
        raise _unavailable(spec, err) from None


def _refuse_offline(spec: str) -> None:
    if offline():
        raise UserError(
            f"teacher {spec} is not here, and DIFFSEG_OFFLINE forbids the network; "
            "fetch it with diffseg models pull, or give file:FOLDER"
        )


def _unavailable(spec: str, err: Exception) -> UserError:
    said = " ".join(f"{err}".split())[:160]
    return UserError(
        f"teacher {spec} cannot be loaded ({type(err).__name__}: {said}); fetch it "
        "with diffseg models pull, or give file:FOLDER"
    )
