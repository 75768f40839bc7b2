"""A calibration becomes a version of its model: the same weights, another card.

The version's name says so: ``1.0.0+cal1`` is the first calibration of 1.0.0, newer than
it and older than 1.0.1. The weights, and with them the checksum, stay the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models.folder import ModelFolder, read_folder, verify_model
from diffseg.models.lineage import reference_of
from diffseg.models.registry import add_version, list_models
from diffseg.volume.atomic import atomic_write_bytes

_MARK = re.compile(r"\+cal(\d+)$")
FIGURES = "calibration.json"


def uncalibrated(folder: ModelFolder) -> ModelFolder:
    """Return the same model without its calibration, as if it had none."""
    card = folder.card.model_copy(update={"calibration": None})
    return ModelFolder(card, folder.path, folder.origin)


def store_calibration(
    folder: ModelFolder,
    calibration: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
) -> ModelFolder:
    """Keep a calibration with a model, as a version of its own.

    A model of the catalogue gets a new version among the user's models, and is as it
    was. A folder elsewhere, which whoever named it will name again, gets the new card;
    the former one stays beside it as ``card-<version>.json``.

    Parameters
    ----------
    folder : ModelFolder
        Of the model, calibrated or not.
    calibration : mapping
        What the card is to hold.
    files : mapping of name to bytes, optional
        Figures and pictures that are kept beside the card.

    Raises
    ------
    UserError
        The weights are not those of the card, or nothing can be written.
    """
    verify_model(folder)
    mine = [one for one in list_models() if one.path.samefile(folder.path)]
    known = [one.card for one in list_models() if one.card.id == folder.card.id]
    version = _next([*known, folder.card], folder.card.version)
    changes = {
        "version": version,
        "calibration": dict(calibration),
        "parent": reference_of(folder.card),
    }
    card = folder.card.model_copy(update=changes)
    if mine:
        return add_version(folder, card, files)
    try:
        former = (folder.path / "card.json").read_bytes()
    except OSError as err:
        raise UserError(
            f"model card {folder.path / 'card.json'} cannot be read ({err.strerror})"
        ) from None
    atomic_write_bytes(folder.path / f"card-{folder.card.version}.json", former)
    for name, content in (files or {}).items():
        atomic_write_bytes(folder.path / name, content)
    text = card.model_dump_json(indent=2) + "\n"
    atomic_write_bytes(folder.path / "card.json", text.encode())
    return read_folder(folder.path, folder.origin)


def figures(content: Mapping[str, Any]) -> bytes:
    """Write what a calibration was measured by, for `FIGURES`."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _next(known: list[ModelCard], version: str) -> str:
    """The version's name with the next number of a calibration."""
    base = _MARK.sub("", version)
    numbers = [0]
    for card in known:
        found = _MARK.search(card.version)
        if found is not None and _MARK.sub("", card.version) == base:
            numbers.append(int(found[1]))
    return f"{base}+cal{max(numbers) + 1}"
