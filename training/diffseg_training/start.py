"""Weights that a run begins from."""

from __future__ import annotations

from torch import nn

from diffseg.models import find_model, load_weights
from diffseg_training.state import check_keys


def start_from(network: nn.Module, model: str) -> None:
    """Give a network the weights of a model: its id, ``id@version`` or its folder.

    Raises
    ------
    UserError
        There is no such model, or it is of another architecture.
    """
    weights = load_weights(find_model(model))
    check_keys(weights, network.state_dict(), f"model {model}, the recipe's start,")
    network.load_state_dict(weights)
