"""What a text-to-image model's folder must hold, as diffusers writes it.

``model_index.json`` names the classes; ``unet``, ``vae``, ``text_encoder``,
``tokenizer`` and ``scheduler`` hold a configuration each, and the first three their
weights as safetensors. Nothing here builds a network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffseg.diffusion import NoiseSchedule, Prediction, zero_terminal_snr
from diffseg.errors import UserError, nearest
from diffseg.models.pulling import PublicWeights, public_weights
from diffseg.resources import shipped_part, shipped_parts

INDEX = "model_index.json"
_CLASSES = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
}
_WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
_VOCABULARIES = (("vocab.json", "merges.txt"), ("tokenizer.json",))
# Of a tokenizer; with what a text is filled up, such as "!", only one may say.
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_PREDICTIONS: dict[str, Prediction] = {
    "epsilon": "eps",
    "v_prediction": "v",
    "sample": "x0",
}


@dataclass(frozen=True, slots=True)
class DiffusionFolder:
    """A whole folder of a text-to-image model.

    Parameters
    ----------
    path : Path
    variants : dict of str to (str or None)
        Of each part with weights: what diffusers calls the copy that is there,
        ``fp16``, or None for the full one.
    scheduler : dict
        Content of ``scheduler/scheduler_config.json``.
    files : tuple of Path
        All that decides what the model does.
    """

    path: Path
    variants: dict[str, str | None]
    scheduler: dict[str, Any]
    files: tuple[Path, ...]


def folder_of(spec: str) -> Path:
    """Folder of a model that is here; else a `UserError` says how to get it."""
    kind, _, path = spec.partition(":")
    if kind == "file" and path:
        return Path(path)
    shipped = shipped_part(spec, INDEX)
    if shipped is not None:
        return shipped
    known = [
        entry
        for entry in public_weights()
        if any(file.name == INDEX for file in entry.files)
    ]
    names = [entry.name for entry in known]
    if spec not in names:
        names = [*shipped_parts(INDEX), *names]
        hint = nearest(spec, names) or f"; give {', '.join(names)} or file:FOLDER"
        raise UserError(f"text-to-image model {spec!r} is not known{hint}")
    entry = known[names.index(spec)]
    if not entry.here:
        raise _not_here(entry)
    return entry.folder


def _not_here(entry: PublicWeights) -> UserError:
    size = sum(file.bytes or 0 for file in entry.files) / 1e9
    return UserError(
        f"text-to-image model {entry.name} ({entry.title}) is not here: about "
        f"{size:.1f} GB from {entry.source}, licence {entry.licence}; fetch it with "
        f"diffseg models pull {entry.name}, or without a network by the same with "
        "--from DIR, or give file:FOLDER as diffusers writes it"
    )


def whole_folder(path: str | Path) -> DiffusionFolder:
    """Look through a folder; no weights are read.

    Raises
    ------
    UserError
        It is not there, a file is missing, its weights are pickled, or it holds
        another kind of model.
    """
    folder = Path(path).expanduser()
    index = _json(folder / INDEX, folder)
    files = []
    for part, wanted in _CLASSES.items():
        named = index.get(part)
        found = named[-1] if isinstance(named, list) and named else named
        # Slow and fast tokenizers are one class by now, and read the same files.
        if not isinstance(found, str) or found.removesuffix("Fast") != wanted:
            raise UserError(
                f"text-to-image model {folder}: its {part} is {found or 'missing'}, "
                f"not {wanted}; give a model of the kind of Stable Diffusion 1 or 2"
            )
    variants = {}
    for part, stem in _WEIGHTS.items():
        weights, variants[part] = _weights(folder / part, stem)
        _json(folder / part / "config.json", folder)
        files += [folder / part / "config.json", weights]
    files += _vocabulary(folder)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    content = _json(scheduler, folder)
    return DiffusionFolder(folder, variants, content, (*files, scheduler))


def parts_of(folder: DiffusionFolder) -> dict[str, Path]:
    """Files that a copy needs, by their paths within the folder."""
    needed = (folder.path / INDEX, *folder.files)
    return {file.relative_to(folder.path).as_posix(): file for file in needed}


def _weights(folder: Path, stem: str) -> tuple[Path, str | None]:
    for variant in (None, "fp16"):
        name = f"{stem}.{variant}" if variant else stem
        file = folder / f"{name}.safetensors"
        if file.is_file():
            return file, variant
    pickled = next(iter(sorted(folder.glob("*.bin"))), None)
    if pickled is not None:
        raise UserError(
            f"text-to-image model {folder.parent}: {folder.name}/{pickled.name} is "
            f"pickled, which is never read; get {folder.name}/{stem}.safetensors"
        )
    raise UserError(
        f"text-to-image model {folder.parent}: {folder.name}/{stem}.safetensors is "
        "missing; give a folder as diffusers writes it"
    )


def _vocabulary(folder: Path) -> list[Path]:
    for names in _VOCABULARIES:
        files = [folder / "tokenizer" / name for name in names]
        if all(file.is_file() for file in files):
            settings = [folder / "tokenizer" / name for name in _SETTINGS]
            return [*files, *(file for file in settings if file.is_file())]
    raise UserError(
        f"text-to-image model {folder}: tokenizer/vocab.json or tokenizer/merges.txt "
        "is missing; give a folder as diffusers writes it"
    )


def _json(file: Path, folder: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(
            f"text-to-image model {folder}: {file.relative_to(folder)} is missing; "
            "give a folder as diffusers writes it"
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(
            f"text-to-image model {folder}: {file.relative_to(folder)} is no "
            "configuration in JSON; fetch it again"
        )
    return content


def identity_of(folder: DiffusionFolder) -> str:
    """SHA-256, in hexadecimal, of all that decides what the model does.

    Weights and vocabulary count byte for byte; of a configuration what it says, but
    for where it came from and who wrote it (keys that begin with ``_``). So copies of
    one model in two folders are the same, and a change of one weight is another model.
    """
    whole = hashlib.sha256()
    for file in sorted(folder.files):
        if file.name in _SETTINGS[1:] and not _json(file, folder.path):
            continue  # it says nothing
        whole.update(f"{file.relative_to(folder.path).as_posix()}\n".encode())
        if file.name.endswith("config.json"):
            content = _json(file, folder.path)
            own = {k: v for k, v in content.items() if not k.startswith("_")}
            whole.update(json.dumps(own, sort_keys=True).encode())
        else:
            with file.open("rb") as opened:
                whole.update(hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()


def schedule_from(config: Mapping[str, Any]) -> tuple[NoiseSchedule, Prediction]:
    """Read the noise schedule, and what the network predicts, from a scheduler's file.

    Raises
    ------
    UserError
        The schedule or the prediction is of a kind that is not known.
    """
    said = config.get("prediction_type", "epsilon")  # older files do not say
    if said not in _PREDICTIONS:
        known = ", ".join(_PREDICTIONS)
        raise UserError(f"scheduler: prediction_type {said!r} is not one of {known}")
    betas = _betas(config)
    schedule = NoiseSchedule(torch.cumprod(1 - betas, 0))
    if config.get("rescale_betas_zero_snr"):
        schedule = zero_terminal_snr(schedule)
    return schedule, _PREDICTIONS[said]


def _betas(config: Mapping[str, Any]) -> torch.Tensor:
    """Betas (T,) float64; unlike `noise_schedule`'s their ends do not depend on T."""
    if config.get("trained_betas"):
        return torch.tensor(config["trained_betas"], dtype=torch.float64)
    kind = config.get("beta_schedule", "linear")
    power = {"linear": 1, "scaled_linear": 2}.get(kind)
    if power is None:
        raise UserError(
            f"scheduler: beta_schedule {kind!r} is not one of linear, scaled_linear"
        )
    try:
        count = int(config.get("num_train_timesteps", 1000))
        start, end = (float(config[f"beta_{name}"]) for name in ("start", "end"))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            "scheduler: beta_start, beta_end and num_train_timesteps must be numbers"
        ) from None
    first, last = start ** (1 / power), end ** (1 / power)
    return torch.pow(torch.linspace(first, last, count, dtype=torch.float64), power)
