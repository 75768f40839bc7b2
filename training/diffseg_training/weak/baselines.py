"""The baselines of a CLDF model: its own weights, asked another question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffseg.errors import UserError
from diffseg.models import ModelFolder, load_weights, save_model
from diffseg.networks.cdm import Kind

_SHARED = ("image_channels", "classes", "diffusion", "classifier", "timesteps", "gate")
_TITLES = {"perturbed": "perturbed condition", "anomaly": "anomaly map"}


def save_baseline(
    model: ModelFolder, kind: Kind, folder: Path, **options: Any
) -> ModelFolder:
    """Write a model of the method cdm with the weights of a CLDF model.

    Parameters
    ----------
    model : ModelFolder
        Of the method cldf.
    kind : {"perturbed", "anomaly"}
        The CDM of Hu et al. 2023, or the anomaly map of Wolleb et al. 2022.
    folder : Path
    **options
        Of `diffseg.networks.cdm.Cdm`: level, share, scale, encoded. Of the card's
        sampling, steps: those of the chain; 10 without it.

    Raises
    ------
    UserError
        The model is of another method.
    """
    card = model.card
    if card.method != "cldf":
        raise UserError(
            f"model {model.name} is of the method {card.method}: baselines are made of "
            "a model of the method cldf"
        )
    steps = options.pop("steps", 10)
    config = {key: card.network[key] for key in _SHARED if key in card.network}
    changed = {
        "id": f"{card.id}-{kind}",
        "title": f"{card.title}: {_TITLES[kind]}",
        "method": "cdm",
        "network": {"name": "cdm", **config, "kind": kind, **options},
        "sampling": card.sampling.model_copy(update={"steps": steps}),
        "calibration": None,
    }
    kept = ("diffusion.", "classifier.")
    weights = {k: v for k, v in load_weights(model).items() if k.startswith(kept)}
    return save_model(folder, card.model_copy(update=changed), weights)
