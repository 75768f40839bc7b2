"""Low-rank updates of a large network's layers, merged when it ships (Hu 2022)."""

from __future__ import annotations

import copy
from typing import Any, cast

from torch import nn

from diffseg.errors import UserError
from diffseg_training.recipe_parts import Lora


def add_lora(network: nn.Module, options: Lora, seed: int) -> None:
    """Freeze a network and add low-rank updates to the layers that are named.

    Its class, its methods and its names of layers stay as they are.

    Raises
    ------
    UserError
        peft is not installed, or no layer of the network bears such a name.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError(
            "lora needs peft, which is not installed: pip install peft"
        ) from None
    import torch

    targets = options.targets
    config = LoraConfig(
        r=options.rank,
        lora_alpha=cast("int", options.alpha),
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, network)
        except ValueError as err:
            reason = " ".join(str(err).split())[:160]
            raise UserError(
                f"lora.targets {options.targets} fit no layer of the network: {reason}"
            ) from None
    for name, parameter in network.named_parameters():
        if name.startswith(tuple(options.whole)) and options.whole:
            parameter.requires_grad_(True)


def merged(network: nn.Module) -> nn.Module:
    """A copy of the network with its updates merged: weights under their old names."""
    from peft.tuners.lora import LoraLayer

    whole = copy.deepcopy(network)

    def merge(module: nn.Module) -> None:
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLayer):
                cast("Any", child).merge()
                setattr(module, name, child.get_base_layer())
            else:
                merge(child)

    merge(whole)
    return whole
