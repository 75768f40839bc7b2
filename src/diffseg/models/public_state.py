"""Weights of others as they publish them: safetensors, or tensors within a checkpoint.

Nothing in a checkpoint is run: torch's reader of weights alone is used. What PyTorch
Lightning writes beside the weights, as in the checkpoints of latent diffusion, stands
for nothing here: an empty object takes the place of each of its classes.
"""

from __future__ import annotations

import contextlib
import pickle
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffseg.errors import UserError
from diffseg.models.pulling import public_weights

if TYPE_CHECKING:
    from torch import Tensor

_BOOKKEEPING = re.compile(r"(pytorch_lightning|lightning|lightning_fabric)\.[\w.]+")


class _Ignored:
    """An empty object in place of another's; whatever it is given is dropped."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Take anything."""

    def __setstate__(self, state: object) -> None:
        """Take anything."""


def public_state(spec: str | Path) -> dict[str, Tensor]:
    """Read weights that were pulled, by their name in the catalogue, or of a file.

    Parameters
    ----------
    spec : str or path
        Such as ``kl-f8``; or a file of safetensors or of torch.

    Returns
    -------
    dict of str to Tensor
        On the CPU; of a checkpoint its ``state_dict``.

    Raises
    ------
    UserError
        The weights are not here, cannot be read, or need unpickling.
    """
    for entry in public_weights():
        if spec == entry.name:
            if not entry.here:
                raise UserError(
                    f"weights {entry.name} are not here; fetch them with: "
                    f"diffseg models pull {entry.name}"
                )
            return _read(entry.folder / entry.files[0].name)
    return _read(Path(spec).expanduser())


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise UserError(
            f"weights {file} are not there; give a file, or a name that diffseg models "
            "pull knows"
        )
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError):
            raise UserError(f"weights {file} are not safetensors") from None
    content = _unpickled(file)
    inner = content.get("state_dict", content) if isinstance(content, dict) else None
    state = _tensors(inner)
    if not state:
        raise UserError(f"checkpoint {file} holds no state_dict with tensors")
    return state


def _unpickled(file: Path) -> Any:
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    unknown: list[str] = []
    # The form of checkpoints before torch 1.6 cannot be asked.
    with contextlib.suppress(ValueError):
        unknown = get_unsafe_globals_in_checkpoint(file)
    ignored = [(_Ignored, name) for name in unknown if _BOOKKEEPING.fullmatch(name)]
    try:
        # A pickle that is none of torch's makes it warn before it refuses.
        with safe_globals(ignored), warnings.catch_warnings():  # type: ignore[arg-type]
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        others = sorted(n for n in unknown if not _BOOKKEEPING.fullmatch(n))
        if not others and "GLOBAL" not in f"{err}":
            raise UserError(f"checkpoint {file} is not one of torch") from None
        named = f", such as {others[0]}" if others else ""
        raise UserError(
            f"checkpoint {file} needs unpickling{named}, which could run anything; "
            "give one that holds tensors alone, or safetensors"
        ) from None
    except (RuntimeError, ValueError, OSError, EOFError, KeyError) as err:
        said = " ".join(f"{err}".split())[:120]
        raise UserError(f"checkpoint {file} cannot be read ({said})") from None


def _tensors(content: Any) -> dict[str, Tensor]:
    import torch

    if not isinstance(content, dict):
        return {}
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
