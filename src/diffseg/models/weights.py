"""Weights in and out of a model's folder: safetensors, nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffseg.domain import ModelCard
from diffseg.errors import DiffsegError, UserError
from diffseg.models.folder import ModelFolder, read_folder, verify_model
from diffseg.volume import atomic_write

if TYPE_CHECKING:
    from torch import Tensor


def load_weights(folder: ModelFolder) -> dict[str, Tensor]:
    """Read the verified weights of a model on the CPU, floats as float32.

    Raises
    ------
    UserError
        The weights are missing, not those of the card, or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    verify_model(folder)
    try:
        tensors = load_file(folder.weights)
    except (SafetensorError, OSError):
        raise UserError(
            f"weights {folder.weights} are not safetensors: pull or add the model again"
        ) from None
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def save_model(
    folder: str | Path,
    card: ModelCard,
    state_dict: Mapping[str, Tensor],
    *,
    half: bool = True,
) -> ModelFolder:
    """Write weights and card into `folder`; the card's checksum is filled in.

    Each file is written aside and renamed. The weights come first: between the
    two, a reader is told that the checksum differs, and never gets wrong weights.

    Parameters
    ----------
    folder : path
        Made if it does not exist; other files in it are left alone.
    card : ModelCard
        Its `sha256` is replaced by that of the weights written.
    state_dict : mapping of str to Tensor
        Weights by name, on any device.
    half : bool
        Whether floats are stored as float16.

    Raises
    ------
    DiffsegError
        A weight is not finite, or too large for float16.
    UserError
        The folder cannot be written.
    """
    from safetensors.torch import save

    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UserError(
            f"model folder {target} cannot be made ({err.strerror}); "
            "give one that can be written"
        ) from None
    tensors = {name: _stored(name, t, half) for name, t in state_dict.items()}
    # One metadata key only: safetensors writes several in an order of its own,
    # and equal weights would have unequal checksums.
    content = save(tensors, metadata={"format": "pt"})
    sealed = card.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    text = sealed.model_dump_json(indent=2) + "\n"
    atomic_write(target / card.weights, lambda path: _write(path, content))
    atomic_write(target / "card.json", lambda path: _write(path, text.encode()))
    return read_folder(target)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    """Copy `tensor` as it is stored; no memory is shared with any other."""
    import torch

    kept = tensor.detach().cpu()
    if kept.is_floating_point():
        kept = kept.to(torch.float16 if half else torch.float32)
        if not bool(torch.isfinite(kept).all()):
            raise DiffsegError(
                f"weight {name!r} is not finite as {kept.dtype}: save it with half="
                "False, or train again"
            )
    return kept.clone(memory_format=torch.contiguous_format)
