"""A checkpoint as its authors published it becomes a model among the user's."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from diffseg.domain import Label, LabelTable, ModelCard, Preparation, Sampling
from diffseg.errors import UserError
from diffseg.models.folder import ModelFolder
from diffseg.models.published import published
from diffseg.models.registry import add_model
from diffseg.models.weights import save_model

if TYPE_CHECKING:
    from torch import Tensor

LICENCE = "unknown: ask the authors"

_METHODS = {"sdseg": "latent", "leaf": "latent"}  # else the kind is the method
# Where training scripts keep state dicts; the moving average is what is evaluated.
_AVERAGES = ("ema", "ema_state_dict", "state_dict_ema", "model_ema", "ema_model")
_RAW = ("state_dict", "model_state_dict", "model", "net", "network")


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that was made of a checkpoint, and what was read from it.

    `remarks` tell, a line each, what was taken for granted.
    """

    folder: ModelFolder
    network: Mapping[str, Any]
    remarks: tuple[str, ...]


def import_published(
    kind: str,
    path: str | Path,
    id: str,
    *,
    labels: tuple[str, ...] = ("foreground",),
    channels: int | None = None,
    heads: int | None = None,
    licence: str = LICENCE,
) -> Imported:
    """Make a model of a published checkpoint and add it to the user's.

    Parameters
    ----------
    kind : str
        Whose checkpoint it is: a name in `diffseg.models.published`.
    path : path
        The checkpoint: safetensors, or what ``torch.load`` reads without unpickling
        anything but tensors; for some kinds a folder.
    id : str
        The model's id.
    labels : tuple of str
        Names of the structures, one for each channel of the mask.
    channels : int, optional
        Channels of the image, to be checked against what the checkpoint says.
    heads : int, optional
        Heads that attend, where they are not those of the authors' commands.
    licence : str
        Of the weights.

    Raises
    ------
    UserError
        The file cannot be read, is not of that kind, does not fit, or the id is taken.
    """
    source = published(kind)
    read = getattr(source, "read", None)
    state, remarks = (read(path), ()) if read else read_checkpoint(path)
    config = source.network(state)
    if heads is not None:
        config["heads"] = heads
    _agree(config, channels, labels)
    weights = source.convert(state)
    _fitting(config, weights, kind)
    doubtful = getattr(source, "doubts", None)
    known = doubtful(state) if doubtful else []
    card, doubts = _card(kind, Path(path), id, config, labels, licence, known)
    with tempfile.TemporaryDirectory() as aside:
        save_model(aside, card, weights, half=False)
        folder = add_model(aside, id)
    return Imported(folder, config, (*remarks, *doubts))


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read the tensors of a checkpoint, of its moving average where there is one.

    Returns
    -------
    state : dict of str to Tensor
        On the CPU.
    remarks : tuple of str
        What was taken, a line each.

    Raises
    ------
    UserError
        It cannot be read, holds no tensors, or would have to be unpickled.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"checkpoint {file} is not a file; give the weights' file")
    content = _content(file)
    for name in (*_AVERAGES, *_RAW):
        inner = content.get(name)
        if isinstance(inner, Mapping) and _tensors(inner):
            state, taken = _tensors(inner), f"weights taken from {name!r}"
            break
    else:
        state, taken = _tensors(content), "weights as they are in the file"
    if not state:
        raise UserError(f"checkpoint {file} holds no named tensors; give a state dict")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): t for name, t in state.items()}
    return state, (taken,)


def _content(file: Path) -> Mapping[str, Any]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError):
            raise UserError(f"checkpoint {file} is not safetensors") from None
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"checkpoint {file} holds more than tensors and would have to be "
            "unpickled, which can run code: where you trust it, save its state dict "
            "as safetensors and import that"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError):
        raise UserError(f"checkpoint {file} cannot be read as torch's") from None
    if not isinstance(content, Mapping):
        raise UserError(f"checkpoint {file} is not a state dict")
    return content


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    import torch

    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }


def _agree(
    config: Mapping[str, Any], channels: int | None, labels: tuple[str, ...]
) -> None:
    found = config["image_channels"]
    if channels is not None and channels != found:
        raise UserError(
            f"channels is {channels}, but the checkpoint's image has {found}"
        )
    classes = config.get("mask_channels", config.get("classes"))
    if len(labels) != classes:
        raise UserError(
            f"{len(labels)} labels are given ({', '.join(labels)}), but the "
            f"checkpoint's mask has {classes} channels; give one for each"
        )


def _fitting(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], kind: str
) -> None:
    """Refuse weights that are not those of the network that `config` describes."""
    import torch

    from diffseg.networks import build_network

    with torch.device("meta"):
        network = build_network(**config)
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    complaints = {
        "missing": sorted(expected.keys() - weights.keys()),
        "unknown": sorted(weights.keys() - expected.keys()),
        "of another shape": sorted(
            name
            for name in expected.keys() & weights.keys()
            if expected[name] != weights[name].shape
        ),
    }
    told = [
        f"{len(names)} {what} ({', '.join(names[:3])}{' ...' * (len(names) > 3)})"
        for what, names in complaints.items()
        if names
    ]
    if told:
        raise UserError(f"checkpoint is not {kind}'s: weights {'; '.join(told)}")


def _card(
    kind: str,
    path: Path,
    id: str,
    config: dict[str, Any],
    labels: tuple[str, ...],
    licence: str,
    known: list[str],
) -> tuple[ModelCard, list[str]]:
    source = published(kind)
    prepared, doubts = _preparation(source.preparation(), config)
    doubts = [*known, *doubts]
    sampling = dict(source.sampling())
    if sampling.get("variance") == "learned" and not config["learned_variance"]:
        sampling["variance"] = "fixed_large"
        doubts.append("the checkpoint learned no variance: each step's is its beta")
    elif config.get("learned_variance"):
        sampling["variance"] = "learned"
    if "heads" in config:
        doubts.append(
            f"attention is taken to have {config['heads']} heads, as the authors' "
            "commands say: a file does not tell"
        )
    limits = (
        "Validated by nobody here: compare it with its authors' results first.",
        "Preparation and sampling are what the public code does by default: "
        "check them against how this checkpoint was trained.",
        *(doubt[0].upper() + doubt[1:] + "." for doubt in doubts),
    )
    try:
        card = ModelCard(
            id=id,
            version="1",
            title=f"{kind} checkpoint {path.name}",
            method=_METHODS.get(kind, kind),
            network=config,
            labels=LabelTable(
                labels=tuple(
                    Label(name=name, value=index)
                    for index, name in enumerate(labels, start=1)
                )
            ),
            preparation=prepared,
            sampling=Sampling.model_validate(sampling),
            modality="unknown: as the checkpoint was trained",
            licence=licence,
            sha256="",
            data="unknown: ask the authors",
            intended_use="Research: comparison with the published method.",
            limits=limits,
        )
    except ValidationError as err:
        raise UserError(
            f"model cannot be made: {err.errors(include_url=False)[0]['msg']}"
        ) from None
    return card, doubts


def _preparation(
    said: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[Preparation, list[str]]:
    """Fit the authors' preparation to the checkpoint's channels and size."""
    prepared, doubts = dict(said), []
    count = config["image_channels"]
    if len(prepared["channels"]) != count:
        prepared["channels"] = tuple(f"channel_{index}" for index in range(count))
        doubts.append(
            f"the image has {count} channels, not the public configuration's "
            f"{len(said['channels'])}: their order is not known"
        )
        if said["intensity"]["kind"] == "standard":
            prepared["intensity"] = {"kind": "zscore"}
            doubts.append("each channel is scaled to mean 0 and deviation 1")
    if "image_size" in config:
        prepared["size"] = (config["image_size"], config["image_size"])
    return Preparation.model_validate(prepared), doubts
