"""CLDF's chain: from images and their labels to a model, stage after stage.

Each stage leaves its files in a folder of its own: ``diffusion``, ``classifier`` and
``cam`` a trained network, ``pixels`` the features of chosen pixels, ``decoder`` the
pixel decoder; then ``model`` is put together. A chain that was interrupted goes on in
the stage where it stopped, and within it: networks from their last state, pixels with
the next slice. No mask is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save
from torch import nn

from diffseg.diffusion import schedule_of
from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.models import save_model
from diffseg.networks import build_network
from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.cldf import Cldf
from diffseg.networks.noisy_classifier import NoisyClassifier
from diffseg.progress import Progress, Work
from diffseg.segmenters.weak.embedding import map_source
from diffseg.volume import atomic_write_bytes
from diffseg_training.labelled import LabelledExample
from diffseg_training.parts import save_part
from diffseg_training.recipe import Recipe
from diffseg_training.settings import settings_class
from diffseg_training.settings.cldf import Settings, Stage
from diffseg_training.trainer import iter_train
from diffseg_training.weak.decoding import iter_decode
from diffseg_training.weak.pixels import Teachers, iter_pixels
from diffseg_training.weak.stages import Mark, key_of, load_part

TRAINED = ("diffusion", "classifier", "cam")
"""Stages that train a network by a recipe, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """All that the stages share.

    Parameters
    ----------
    recipe : Recipe
        Of the objective cldf.
    out : Path
    train, val : sequence of LabelledExample
    device : str
    """

    recipe: Recipe
    out: Path
    train: Sequence[LabelledExample]
    val: Sequence[LabelledExample]
    device: str

    @property
    def settings(self) -> Settings:
        """What each stage learns, and how."""
        assert isinstance(self.recipe.objective, Settings)
        return self.recipe.objective

    @property
    def network(self) -> dict[str, Any]:
        """Configuration of the whole network, with channels and classes filled in."""
        config = {k: v for k, v in self.recipe.network.items() if k != "name"}
        first = self.train[0]
        channels = len(first.image) * (2 * first.context + 1)
        given = {"image_channels": channels, "classes": len(first.labels.names)}
        return {**given, **config}

    def mark(self, stage: str) -> Mark:
        """Sign of a finished stage: its settings, and all before it."""
        return Mark(self.out / stage, self._key(stage))

    def _key(self, stage: str) -> str:
        dumped = self.recipe.model_dump(mode="json")
        network, options = self.network, dumped["objective"]
        shared = ("preparation", "patch", "labels", "seed")
        told: list[Any] = [{key: dumped[key] for key in shared}]
        told.append([one.case for one in self.train])
        if stage in TRAINED:
            # Length and optimiser may change from one sitting to the next.
            config = network.get(stage) or options[stage].get("network")
            told += [config, options[stage]["objective"]]
            return key_of(told, stage)
        before = [self._key(one) for one in TRAINED]
        source = ("features", "blocks", "timesteps")
        told += [{key: network.get(key) for key in source}, options["cam"]["source"]]
        told += [options["gradients"], options["selection"]]
        if stage == "decoder":
            told.append([network.get(k) for k in ("width", "layers", "temperature")])
            told.append(options["decoder"])
        return key_of(told, "".join([stage, *before]))


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
        "trained_on": "image-level labels alone",
    }
    config = {"name": "cldf", **chain.network}
    card = draft.model_copy(update={"network": config, "metrics": metrics})
    folder = save_model(chain.out / "model", card, network.state_dict())
    trained = [told[stage] for stage in TRAINED]
    return {
        "model": str(folder.path),
        "steps": sum(one["steps"] for one in trained) + told["decoder"]["steps"],
        "minutes": round(sum(one["minutes"] for one in trained), 2),
        "best": scores,
        "stages": told,
    }


def stage_recipe(chain: Chain, stage: str) -> Recipe:
    """The recipe by which a stage's network is trained."""
    recipe, settings = chain.recipe, chain.settings
    options: Stage = getattr(settings, stage)
    network = chain.network
    shared = {key: network[key] for key in ("image_channels", "classes")}
    config: dict[str, Any]
    if stage == "cam":
        # Its networks call the image's channels by another name.
        config = {"channels": shared["image_channels"], "classes": shared["classes"]}
        config = {**config, **settings.cam.network}
    else:
        name = {"diffusion": "class_unet", "classifier": "noisy_classifier"}[stage]
        config = {"name": name, **shared, **(network.get(stage) or {})}
    objective = options.objective
    length = recipe.length.model_copy(
        update={
            "minutes": recipe.length.minutes * options.share,
            "steps": options.steps or recipe.length.steps,
        }
    )
    changed: dict[str, Any] = {
        "name": f"{recipe.name}-{stage}",
        "title": f"{recipe.title}: {stage}",
        "network": config,
        "objective": settings_class(str(objective["name"])).model_validate(objective),
        "product": "part",
        "length": length,
    }
    for what in ("optimiser", "augmentation"):
        if getattr(options, what) is not None:
            changed[what] = getattr(options, what)
    return recipe.model_copy(update=changed)


def check(chain: Chain) -> None:
    """Refuse what would fail only after hours: networks, objectives, noise levels.

    Raises
    ------
    UserError
        Something does not fit.
    """
    config = chain.network
    with torch.device("meta"):
        network = cast("Cldf", build_network("cldf", **config))
        for stage in TRAINED:
            recipe = stage_recipe(chain, stage)
            one = dict(recipe.network)
            build_network(one.pop("name"), **one)
    most = schedule_of(chain.recipe.sampling).timesteps
    levels = (*network.timesteps, *chain.settings.gradients.timesteps)
    if max(levels) >= most or min(levels) < 0:
        raise UserError(
            f"recipe {chain.recipe.name} looks at timestep {max(levels)}, its schedule "
            f"has {most}: give timesteps of 0 to {most - 1}"
        )


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
    best = {key: round(value, 4) for key, value in result.best.items()}
    return {
        "steps": result.steps,
        "minutes": round(result.minutes, 2),
        "best": best,
        "skipped": result.skipped,
        "images_per_second": round(result.images, 2),
        "waiting": round(result.waiting, 4),
    }


def _pixel_stage(chain: Chain) -> Work[dict[str, Any]]:
    parts = {stage: load_part(chain.out / stage / "part") for stage in TRAINED}
    network = cast("Cldf", build_network("cldf", **chain.network))
    network.diffusion = cast("ClassUNet", parts["diffusion"])
    network.classifier = cast("NoisyClassifier", parts["classifier"])
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
    )
    tensors = {f"decoder.{k}": v.cpu() for k, v in decoder.state_dict().items()}
    tensors = {**tensors, "references": found.references}
    content = save({k: v.contiguous().clone() for k, v in tensors.items()})
    atomic_write_bytes(chain.out / "decoder" / "decoder.safetensors", content)
    return {"steps": found.steps, "loss": [round(one, 4) for one in found.losses]}


def assembled(chain: Chain) -> Cldf:
    """The whole network, of the stages' files."""
    network = cast("Cldf", build_network("cldf", **chain.network))
    state: dict[str, torch.Tensor] = {}
    for stage in ("diffusion", "classifier"):
        part: nn.Module = load_part(chain.out / stage / "part")
        state |= {f"{stage}.{k}": v for k, v in part.state_dict().items()}
    state |= load_file(chain.out / "decoder" / "decoder.safetensors")
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def gate_scores(network: Cldf, chain: Chain) -> Mapping[str, float]:
    """How well the classifier tells slices of val; see `NoisyClassification.scores`."""
    from diffseg_training.objectives import make_loss

    recipe = stage_recipe(chain, "classifier")
    loss: Any = make_loss(recipe, network.classifier)
    found = loss.scores(network.classifier.to(chain.device), chain.val, recipe)
    network.to("cpu")
    return {key: round(value, 4) for key, value in found.items()}


_WORK = {
    "diffusion": lambda chain: _train_stage(chain, "diffusion"),
    "classifier": lambda chain: _train_stage(chain, "classifier"),
    "cam": lambda chain: _train_stage(chain, "cam"),
    "pixels": _pixel_stage,
    "decoder": _decoder_stage,
}
