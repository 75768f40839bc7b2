"""Run the authors' own networks, and store what they answer.

    python tests/core/parity/make.py ensemdiff CHECKOUT
    python tests/core/parity/make.py segdiff CHECKOUT
    python tests/core/parity/make.py medsegdiff CHECKOUT

CHECKOUT is a clone of JuliaWolleb/Diffusion-based-Segmentation, tomeramit/SegDiff or
ImprintLab/MedSegDiff. Weights and inputs are drawn by the rule in `drawn.py`, from
their names and shapes, so that neither the authors' code nor their weights are here.
"""

from __future__ import annotations

import sys
import types
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from drawn import CASES, EVERY, SIDE, inputs, weights
from torch import nn

HERE = Path(__file__).parent


def main(kind: str, checkout: str) -> None:
    """Store the answers of the public network of every case of `kind`."""
    sys.path.insert(0, checkout)
    _stand_in()
    package = "improved_diffusion" if kind == "segdiff" else "guided_diffusion"
    public = import_module(f"{package}.unet")
    for name, case in CASES.items():
        if case["kind"] == kind:
            answers = _RUN[kind](public, case)
            kept = {
                key: value.detach().numpy()[..., ::EVERY, ::EVERY]
                for key, value in answers.items()
            }
            np.savez_compressed(HERE / f"{name}.npz", **kept)
            print(name, {key: value.shape for key, value in kept.items()})


def _stand_in() -> None:
    """Let modules be imported that the networks name and do not need."""
    for name, attributes in {
        "batchgenerators": (),
        "batchgenerators.augmentations": (),
        "batchgenerators.augmentations.utils": ("pad_nd_image",),
        "scipy.ndimage.filters": ("gaussian_filter",),
        "mpi4py": ("MPI",),
        "blobfile": (),
    }.items():
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, None)
        sys.modules[name] = module


def _common(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_channels": config["channels"],
        "num_res_blocks": config["blocks"],
        "attention_resolutions": config["attention"],
        "channel_mult": config["multipliers"],
        "num_heads": config["heads"],
        "use_scale_shift_norm": config["film"],
    }


def _filled(network: nn.Module) -> Any:
    network.load_state_dict(weights(network.state_dict()))
    return network.eval()


def _ensemdiff(public: Any, case: dict[str, Any]) -> dict[str, torch.Tensor]:
    config = case["config"]
    network = public.UNetModel(
        image_size=SIDE,
        in_channels=5,
        out_channels=2,
        resblock_updown=config["residual_resampling"],
        **_common(config),
    )
    noisy, t, image = inputs(4)
    return {"out": _filled(network)(torch.cat([image, noisy], 1), t)}


def _segdiff(public: Any, case: dict[str, Any]) -> dict[str, torch.Tensor]:
    config = case["config"]
    network = public.UNetModel(
        in_channels=1,
        out_channels=1,
        rrdb_blocks=config["reader_blocks"],
        **_common(config),
    )
    noisy, t, image = inputs(3)
    return {"out": _filled(network)(noisy, t, conditioned_image=image)}


def _medsegdiff(public: Any, case: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The condition network's constants are replaced by those of a small network."""
    config = case["config"]
    first = config["version"] == "v1"
    make = public.UNetModel_v1preview if first else public.UNetModel_newpreview
    network = make(image_size=SIDE, in_channels=5, out_channels=2, **_common(config))
    base = config["channels"] // 4
    form = {"highway": True} if first else {"anchor_out": True, "upscale_logits": True}
    network.hwm = condition = public.Generic_UNet(4, base, 1, 5, **form)
    noisy, t, image = inputs(4)
    replaced: Any
    if first:
        told = [config["channels"] * m for m in config["multipliers"][:4]]
        for depth, width in enumerate(told):
            wide = base * 2**depth
            side = SIDE // 2 ** (depth + 1)
            condition.conv_trans_blocks_a[depth] = nn.Conv2d(width, wide, 1)
            condition.conv_trans_blocks_b[depth] = nn.Conv2d(wide, 1, 1)
            condition.ffparser[depth] = public.FFParser(wide, side, side // 2 + 1)
        bottom = config["channels"] * config["multipliers"][-1]
        embed = nn.Conv2d(base * 16, bottom, 1)
        drawn = weights(
            {f"hwm.embed.{key}": value for key, value in embed.state_dict().items()}
        )
        embed.load_state_dict(
            {key.rpartition(".")[2]: value for key, value in drawn.items()}
        )
        # The layer that the public code makes at every call, made once.
        replaced = patch.object(public, "conv_nd", lambda *_: embed)
    else:
        replaced = nullcontext()
    with replaced:
        out, calibration = _filled(network)(torch.cat([image, noisy], 1), t)
    return {"out": out, "calibration": calibration}


_RUN = {"ensemdiff": _ensemdiff, "segdiff": _segdiff, "medsegdiff": _medsegdiff}

if __name__ == "__main__":
    main(*sys.argv[1:])
