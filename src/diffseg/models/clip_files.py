"""CLIP as open_clip publishes it: a configuration and weights, read from this machine.

A folder with ``open_clip_config.json`` and ``open_clip_model.safetensors``, as the
hub's repositories hold them, or a file of weights for an architecture that open_clip
knows by name. A text tower of transformers needs its own ``config.json`` and
vocabulary in the same folder. Nothing is fetched, and nothing in a checkpoint is run.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffseg.errors import UserError, nearest
from diffseg.models.clip_tokens import VOCABULARIES
from diffseg.models.public_state import public_state

CONFIG = "open_clip_config.json"
TEXT_CONFIG = "config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TEXT_FILES = (
    TEXT_CONFIG,
    "tokenizer_config.json",
    "merges.txt",
    *VOCABULARIES,
    "special_tokens_map.json",
)


@dataclass(frozen=True, slots=True)
class ClipFiles:
    """Where a CLIP lies, and how it is built.

    Parameters
    ----------
    name : str
        As it was asked for.
    weights : path
    config : dict
        ``model_cfg`` of open_clip.
    preprocessing : dict
        ``preprocess_cfg`` of open_clip: mean and std of the images.
    text_folder : path or None
        Where a text tower of transformers lies with its tokenizer, or a tokenizer of
        transformers alone.
    """

    name: str
    weights: Path
    config: dict[str, Any]
    preprocessing: dict[str, Any] = field(default_factory=dict)
    text_folder: Path | None = None


def files_in(name: str, folder: Path) -> ClipFiles:
    """Find a CLIP in a folder as open_clip publishes it.

    Raises
    ------
    UserError
        The configuration, the weights, or what its text tower needs, is not there.
    """
    content = _read_json(name, folder / CONFIG)
    config = content.get("model_cfg")
    if not isinstance(config, dict) or not {"vision_cfg", "text_cfg"} <= config.keys():
        raise UserError(
            f"CLIP {name}: {folder / CONFIG} describes no model of open_clip"
        )
    weights = [folder / file for file in WEIGHTS if (folder / file).is_file()]
    if not weights:
        raise UserError(
            f"CLIP {name}: folder {folder} holds neither {' nor '.join(WEIGHTS)}; put "
            "the weights beside the configuration"
        )
    text = _text_folder(name, folder, config["text_cfg"])
    return ClipFiles(
        name, weights[0], config, dict(content.get("preprocess_cfg") or {}), text
    )


def parts_of(files: ClipFiles) -> dict[str, Path]:
    """Files that a copy needs, by the name that they have in a folder of their own.

    Raises
    ------
    UserError
        It is a file of weights whose configuration open_clip has, and no folder.
    """
    config = files.weights.parent / CONFIG
    if not config.is_file():
        raise UserError(f"CLIP {files.name} is no folder with {CONFIG}: refer to it")
    found = {CONFIG: config, files.weights.name: files.weights}
    if files.text_folder is not None:
        found |= {name: files.text_folder / name for name in _TEXT_FILES}
    return {name: path for name, path in found.items() if path.is_file()}


def files_of(
    name: str, architecture: str, weights: Path, preprocessing: dict[str, Any]
) -> ClipFiles:
    """Take a file of weights for an architecture that open_clip knows by name.

    Raises
    ------
    UserError
        open_clip has no such architecture, or its text tower is one of transformers,
        which needs a folder.
    """
    import open_clip  # type: ignore[import-untyped]

    known = open_clip.list_models()
    if architecture not in known:
        raise UserError(
            f"CLIP {name}: open_clip has no architecture {architecture!r}"
            f"{nearest(architecture, known)}"
        )
    config = open_clip.get_model_config(architecture)
    if config["text_cfg"].get("hf_model_name"):
        raise UserError(
            f"CLIP {name}: the text tower of {architecture} is one of transformers; "
            f"give a folder with {CONFIG}, the weights and {TEXT_CONFIG}"
        )
    return ClipFiles(name, weights, config, preprocessing)


def build_clip(files: ClipFiles) -> nn.Module:
    """Build a CLIP and give it its weights.

    Returns
    -------
    Module
        open_clip's, in float32 on the CPU.

    Raises
    ------
    UserError
        The configuration is not one of CLIP, or the weights are another's.
    """
    from open_clip.model import CLIP, CustomTextCLIP  # type: ignore[import-untyped]

    config = deepcopy(files.config)
    if "multimodal_cfg" in config:
        raise UserError(f"CLIP {files.name} is a model that writes texts; give a CLIP")
    text: dict[str, Any] = config["text_cfg"]
    of_transformers = bool(text.get("hf_model_name"))
    if of_transformers and files.text_folder is not None:
        text |= {"hf_model_name": str(files.text_folder), "hf_model_pretrained": False}
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    custom = config.pop("custom_text", False) or of_transformers
    kind = CustomTextCLIP if custom else CLIP
    try:
        # Random weights come first; whoever draws beside this draws as before.
        with torch.random.fork_rng(devices=[]):
            model: nn.Module = kind(**config)
    except Exception as err:  # whatever a wrong configuration makes libraries raise
        said = " ".join(f"{err}".split())[:120]
        raise UserError(
            f"CLIP {files.name}: its configuration builds no model of open_clip "
            f"({said})"
        ) from None
    _load(files, model)
    return model


def identity_of(files: ClipFiles) -> str:
    """Checksum of weights, configuration and vocabulary, wherever they lie.

    Returns
    -------
    str
        SHA-256, 64 hexadecimal digits.
    """
    shown = {key: files.preprocessing.get(key) for key in ("mean", "std")}
    told = {"model": _without_places(files.config), "images": shown}
    whole = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    parts = [files.weights]
    if files.text_folder is not None:
        parts += [files.text_folder / name for name in _TEXT_FILES]
    for index, part in enumerate(parts):
        if part.is_file():
            whole.update(f"{index}".encode())
            with part.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """Drop a text tower's names: those of the same files are whatever one likes."""
    text = {
        key: value
        for key, value in config["text_cfg"].items()
        if key not in ("hf_model_name", "hf_tokenizer_name", "hf_model_pretrained")
    }
    return config | {"text_cfg": text}


def _text_folder(name: str, folder: Path, text: dict[str, Any]) -> Path | None:
    """Where a text tower of transformers lies, or the tokenizer of another tower.

    A tower in a folder that is named, or here; a tokenizer here.
    """
    named = text.get("hf_model_name")
    if not named:
        return folder if text.get("hf_tokenizer_name") else None
    for place in (folder, Path(str(named)).expanduser()):
        if (place / TEXT_CONFIG).is_file():
            return place
    raise UserError(
        f"CLIP {name}: folder {folder} holds no {TEXT_CONFIG} of its text tower "
        f"{named}; put it there, with its vocab.txt"
    )


def _read_json(name: str, file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise UserError(
            f"CLIP {name}: {file} is not there or cannot be read; give a folder with "
            f"{CONFIG} and {WEIGHTS[0]}"
        )
    return content


def _load(files: ClipFiles, model: nn.Module) -> None:
    """Give a model its weights, under whichever of open_clip's names they stand."""
    state = _renamed(_state(files), model)
    own = model.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or sorted(
        key for key, tensor in state.items() if tensor.shape != own[key].shape
    )
    if wrong:
        raise UserError(
            f"CLIP {files.name}: {files.weights} is of another architecture: "
            f"{wrong[0]} is missing, not expected or of another shape"
        )
    model.load_state_dict(state)


def _state(files: ClipFiles) -> dict[str, Tensor]:
    if files.weights.suffix != ".safetensors" and zipfile.is_zipfile(files.weights):
        with zipfile.ZipFile(files.weights) as archive:
            if any(entry.endswith("constants.pkl") for entry in archive.namelist()):
                raise UserError(
                    f"CLIP {files.name}: {files.weights} is a TorchScript archive, "
                    "which holds a program; give the same weights as safetensors"
                )
    return public_state(files.weights)


def _renamed(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Names as the model has them, of a training's checkpoint or an older version."""
    from open_clip.model import convert_to_custom_text_state_dict

    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    own = model.state_dict()
    if "positional_embedding" in state and "positional_embedding" not in own:
        state = convert_to_custom_text_state_dict(state)
    indices = "text.transformer.embeddings.position_ids"  # written until 2023
    state = {k: v for k, v in state.items() if k != indices or k in own}
    for key in ("logit_scale", "logit_bias"):  # a number, or a row of one
        if key in state and key in own and state[key].numel() == own[key].numel():
            state[key] = state[key].reshape(own[key].shape)
    return state
