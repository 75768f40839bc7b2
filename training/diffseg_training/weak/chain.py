"""CLDF's chain: from images and their labels to a model, stage after stage.

Each stage leaves its files in a folder of its own: ``diffusion``, ``classifier`` and
``cam`` a trained network, ``pixels`` the features of chosen pixels, ``decoder`` the
pixel decoder; then ``model`` is put together. A chain that was interrupted goes on in
the stage where it stopped, and within it: networks from their last state, pixels with
the next slice. No mask is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from safetensors.torch import load_file, save
from torch import nn

from diffseg.diffusion import schedule_of
from diffseg.domain import ModelCard
from diffseg.domain.card import IMAGE_LEVEL
from diffseg.models import save_model
from diffseg.networks import build_network
from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.cldf import Cldf
from diffseg.networks.noisy_classifier import NoisyClassifier
from diffseg.progress import Progress, Work
from diffseg.segmenters.weak.embedding import map_source
from diffseg.volume import atomic_write_bytes
from diffseg_training.parts import save_part
from diffseg_training.trainer import iter_train
from diffseg_training.weak.choosing import Teachers
from diffseg_training.weak.decoding import iter_decode
from diffseg_training.weak.pixels import iter_pixels
from diffseg_training.weak.plan import TRAINED, Chain, check, stage_recipe
from diffseg_training.weak.stages import load_part


def iter_chain(chain: Chain, draft: ModelCard) -> Work[dict[str, Any]]:
    """Go through the stages that are not finished; write ``out/model``.

    Parameters
    ----------
    chain : Chain
    draft : ModelCard
        Its network and metrics are filled in.

    Returns
    -------
    dict
        model, steps, minutes (of the trained networks), best (scores on val), stages
        (what each told).
    """
    check(chain)
    told: dict[str, dict[str, Any]] = {}
    for number, stage in enumerate((*TRAINED, "pixels", "decoder")):
        mark = chain.mark(stage)
        before = mark.told()
        if before is None:
            yield Progress("stage", number, 6, stage)
            mark.begin()
            before = yield from _WORK[stage](chain)
            mark.finish(before)
        told[stage] = before
    network = assembled(chain)
    scores = gate_scores(network, chain)
    metrics = {
        "cases": {"train": len(chain.train), "val": len(chain.val)},
        "slices": told["pixels"],
        "image_level_on_val": scores,
        "trained_on": IMAGE_LEVEL,
    }
    config = {"name": "cldf", **chain.network}
    changed = {
        "network": config,
        "metrics": metrics,
        "capabilities": draft.capabilities | {"slice_labels"},
    }
    card = draft.model_copy(update=changed)
    folder = save_model(chain.out / "model", card, network.state_dict())
    trained = [told[stage] for stage in TRAINED]
    return {
        "model": str(folder.path),
        "steps": sum(one["steps"] for one in trained) + told["decoder"]["steps"],
        "minutes": round(sum(one["minutes"] for one in trained), 2),
        "best": scores,
        "stages": told,
    }


def _train_stage(chain: Chain, stage: str) -> Work[dict[str, Any]]:
    """Train one network, going on from its last state if there is one."""
    folder, recipe = chain.out / stage, stage_recipe(chain, stage)
    result = yield from iter_train(
        recipe,
        chain.train,
        None,
        folder,
        device=chain.device,
        resume=(folder / "state" / "state.json").is_file(),
        held_out=chain.val,
    )
    save_part(folder / "part", recipe, result)
    return result.told()


def _pixel_stage(chain: Chain) -> Work[dict[str, Any]]:
    parts = {stage: load_part(chain.out / stage / "part") for stage in TRAINED}
    network = cast("Cldf", build_network("cldf", **chain.network))
    network.diffusion = cast("ClassUNet", parts["diffusion"])
    network.classifier = cast("NoisyClassifier", parts["classifier"])
    for one in (network.encoder, network.local):
        if one is not None:  # as it was trained for its activation maps
            one.load_state_dict(parts["cam"].state_dict())
    network.eval().requires_grad_(False).to(chain.device)
    schedule = schedule_of(chain.recipe.sampling)
    teachers = Teachers(
        network.classifier,
        parts["cam"].to(chain.device),
        chain.settings.cam.source,
        map_source(network, schedule),
        schedule,
        network.timesteps,
        network.multiple,
        network.local,
    )
    told = yield from iter_pixels(
        chain.train,
        teachers,
        chain.settings.gradients,
        chain.settings.selection,
        chain.out / "pixels",
        seed=chain.recipe.seed,
        device=chain.device,
    )
    return told


def _decoder_stage(chain: Chain) -> Work[dict[str, Any]]:
    torch.manual_seed(chain.recipe.seed)
    network = cast("Cldf", build_network("cldf", **chain.network))
    decoder = network.decoder
    found = yield from iter_decode(
        chain.out / "pixels",
        decoder,
        network.classes,
        chain.settings.decoder,
        network.temperature,
        seed=chain.recipe.seed,
        device=chain.device,
        local_weight=0.0 if network.local is None else network.local_weight,
    )
    tensors = {f"decoder.{k}": v.cpu() for k, v in decoder.state_dict().items()}
    tensors |= {"references": found.references, "offsets": found.offsets}
    content = save({k: v.contiguous().clone() for k, v in tensors.items()})
    atomic_write_bytes(chain.out / "decoder" / "decoder.safetensors", content)
    told = {"loss": [round(one, 4) for one in found.losses]}
    offsets = [round(float(one), 3) for one in found.offsets]
    return {"steps": found.steps, **told, "offsets": offsets}


def assembled(chain: Chain) -> Cldf:
    """The whole network, of the stages' files."""
    network = cast("Cldf", build_network("cldf", **chain.network))
    state: dict[str, torch.Tensor] = {}
    parts = {"diffusion": "diffusion", "classifier": "classifier"}
    for name in ("encoder", "local"):
        if getattr(network, name) is not None:
            parts[name] = "cam"
    for name, stage in parts.items():
        part: nn.Module = load_part(chain.out / stage / "part")
        state |= {f"{name}.{k}": v for k, v in part.state_dict().items()}
    state |= load_file(chain.out / "decoder" / "decoder.safetensors")
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def gate_scores(network: Cldf, chain: Chain) -> Mapping[str, float]:
    """How well slices of val are told by the classifier that decides what they show."""
    from diffseg_training.objectives import make_loss

    telling: nn.Module = network.local or network.classifier
    recipe = stage_recipe(chain, "cam" if network.local else "classifier")
    loss: Any = make_loss(recipe, telling)
    found = loss.scores(telling.to(chain.device), chain.val, recipe)
    network.to("cpu")
    return {key: round(value, 4) for key, value in found.items()}


_WORK = {
    "diffusion": lambda chain: _train_stage(chain, "diffusion"),
    "classifier": lambda chain: _train_stage(chain, "classifier"),
    "cam": lambda chain: _train_stage(chain, "cam"),
    "pixels": _pixel_stage,
    "decoder": _decoder_stage,
}
