"""CLIP of anybody's making, frozen, from what lies on this machine.

By its name in the catalogue of public weights, once `diffseg models pull` has brought
it; ``open_clip:NAME/FILE``, an architecture of open_clip and a file of its weights; or
``file:FOLDER``, as open_clip publishes models. Nothing is ever fetched from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.models.clip_files import (
    CONFIG,
    ClipFiles,
    build_clip,
    files_in,
    files_of,
    identity_of,
)
from diffseg.models.clip_tokens import ClipTokenizer, tokenizer_of
from diffseg.models.pulling import PublicWeights, public_weights
from diffseg.networks.clip_towers import tower_of
from diffseg.resources import shipped_part, shipped_parts

Triple = tuple[float, float, float]
_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's images
_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
_OPEN_CLIP = "open_clip:"


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A frozen CLIP: images and texts in one space.

    Parameters
    ----------
    name : str
        As it was asked for.
    model : Module
        open_clip's, in evaluation, without gradients; ``model.visual`` is the image
        tower, ``model.encode_text`` the text tower.
    tokenizer : ClipTokenizer
        What ``model.encode_text`` reads.
    mean, std : (float, float, float)
        Of the images it was trained on, whose range is [0, 1].
    dim : int
        Width E of the shared space.
    patch : (int, int)
        Pixels of a patch (y, x).
    identity : str
        SHA-256 of weights, configuration and vocabulary: two of the same give the same
        features.
    """

    name: str
    model: nn.Module
    tokenizer: ClipTokenizer
    mean: Triple
    std: Triple
    dim: int
    patch: tuple[int, int]
    identity: str

    @property
    def visual(self) -> nn.Module:
        """The image tower."""
        found: Any = self.model.visual
        assert isinstance(found, nn.Module)
        return found

    @property
    def context_length(self) -> int:
        """Tokens of a text."""
        return self.tokenizer.context_length

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return next(self.model.parameters()).device

    def normalised(self, image: Tensor) -> Tensor:
        """Images (B, C, Y, X) in [0, 1] as the tower expects them, (B, 3, Y, X).

        They come to where the model is; those of one channel are repeated.

        Raises
        ------
        UserError
            The images have neither one nor three channels.
        """
        channels = image.shape[1]
        if channels not in (1, 3):
            raise UserError(
                f"CLIP {self.name} sees images of 1 or 3 channels; these have "
                f"{channels}"
            )
        place = next(self.model.parameters())
        x = image.to(place.device, torch.float32).expand(-1, 3, -1, -1)
        mean, std = (x.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return ((x - mean) / std).to(place.dtype)

    @torch.no_grad()
    def embedded_texts(self, texts: list[str]) -> Tensor:
        """Embeddings (n, E) of n texts, as the text tower gives them: of any length."""
        tower: Any = self.model
        found: Tensor = tower.encode_text(self.tokenizer(texts).to(self.device))
        return found


def load_clip(spec: str | Path, device: str | torch.device = "cpu") -> Clip:
    """Load a frozen CLIP from this machine.

    Parameters
    ----------
    spec : str or path
        A name in the catalogue, such as ``openai-vitb16`` or ``biomedclip``; the one
        that ships, ``small-clip``;
        ``open_clip:NAME/FILE``, or ``open_clip:NAME/TAG`` as the catalogue has it; or a
        folder, also as ``file:FOLDER``.
    device : str or device

    Raises
    ------
    UserError
        There is no such CLIP, it is not on this machine, its files are broken or do not
        fit each other, or its image tower is no vision transformer with a class token.
    """
    files = find_clip(spec)
    model = build_clip(files).requires_grad_(False).eval().to(device)
    try:
        tower = tower_of(_visual(model))
        tokenizer = tokenizer_of(files.config["text_cfg"], files.text_folder)
    except UserError as err:
        raise UserError(f"CLIP {files.name}: {err}") from None
    shown = files.preprocessing
    return Clip(
        files.name,
        model,
        tokenizer,
        _triple(files.name, shown.get("mean", _MEAN)),
        _triple(files.name, shown.get("std", _STD)),
        int(files.config["embed_dim"]),
        tower.patch,
        identity_of(files),
    )


def find_clip(spec: str | Path) -> ClipFiles:
    """Find the files of a CLIP on this machine; see `load_clip`.

    Raises
    ------
    UserError
        There is no such CLIP, or it is not here; the message says how to get it.
    """
    name = str(spec)
    entry = _listed(name)
    if entry is not None:
        if not entry.here:
            raise _not_here(entry)
        return _pulled(entry)
    if name.startswith(_OPEN_CLIP):
        return _file(name)
    shipped = shipped_part(name, CONFIG)
    if shipped is not None:
        return files_in(name, shipped)
    folder = Path(name.removeprefix("file:")).expanduser()
    if folder.name == CONFIG:
        folder = folder.parent
    if not folder.is_dir():
        public = (one.name for one in public_weights() if _is_clip(one))
        known = ", ".join((*shipped_parts(CONFIG), *public))
        raise UserError(
            f"CLIP {name!r} is not known: give one of {known}, open_clip:NAME/FILE, or "
            f"a folder with {CONFIG}"
        )
    return files_in(name, folder)


def _file(name: str) -> ClipFiles:
    architecture, _, file = name.removeprefix(_OPEN_CLIP).partition("/")
    path = Path(file).expanduser()
    if not file or not path.is_file():
        known = ", ".join(
            one.teacher or one.name
            for one in public_weights()
            if (one.teacher or "").startswith(f"{_OPEN_CLIP}{architecture}/")
        )
        raise UserError(
            f"CLIP {name}: {file or 'nothing'} is no file of weights"
            + (f", and none of those that can be pulled: {known}" if known else "")
            + "; give open_clip:NAME/FILE"
        )
    return files_of(name, architecture, path, {})


def _pulled(entry: PublicWeights) -> ClipFiles:
    """Files of a CLIP that was pulled: a folder, or weights of a named architecture."""
    if (entry.folder / CONFIG).is_file():
        return files_in(entry.name, entry.folder)
    import open_clip  # type: ignore[import-untyped]

    told = (entry.teacher or "").removeprefix(_OPEN_CLIP)
    architecture, _, tag = told.partition("/")
    shown = open_clip.get_pretrained_cfg(architecture, tag) or {}
    preprocessing = {key: shown[key] for key in ("mean", "std") if shown.get(key)}
    weights = entry.folder / entry.files[0].name
    return files_of(entry.name, architecture, weights, preprocessing)


def _listed(name: str) -> PublicWeights | None:
    return next(
        (
            one
            for one in public_weights()
            if name in (one.name, one.teacher) and _is_clip(one)
        ),
        None,
    )


def _is_clip(entry: PublicWeights) -> bool:
    """Whether public weights are a CLIP's: by their configuration, or architecture."""
    named = any(file.name == CONFIG for file in entry.files)
    return named or (entry.teacher or "").startswith(_OPEN_CLIP)


def _not_here(entry: PublicWeights) -> UserError:
    sizes = [file.bytes for file in entry.files if file.bytes]
    size = f"about {sum(sizes) / 1e6:.0f} MB" if sizes else "of unknown size"
    names = ", ".join(file.arrives_as for file in entry.files)
    return UserError(
        f"CLIP {entry.name} is not here ({size}, {entry.licence}, from "
        f"{entry.source}); fetch it with diffseg models pull {entry.name}; without a "
        f"network, put {names} in a folder and add --from FOLDER"
    )


def _visual(model: nn.Module) -> nn.Module:
    visual: Any = model.visual
    assert isinstance(visual, nn.Module)
    return visual


def _triple(name: str, values: Any) -> Triple:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError):
        raise UserError(
            f"CLIP {name}: mean and std of its images must be three numbers each, not "
            f"{values}"
        ) from None
    return red, green, blue
