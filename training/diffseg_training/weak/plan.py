"""What the stages of a chain share, and the recipe of each that trains a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from diffseg.diffusion import schedule_of
from diffseg.errors import UserError
from diffseg.networks import build_network
from diffseg.networks.cldf import Cldf
from diffseg_training.labelled import LabelledExample
from diffseg_training.recipe import Recipe
from diffseg_training.settings import settings_class
from diffseg_training.settings.cldf import Settings, Stage
from diffseg_training.weak.stages import Mark, key_of

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
        source = ("features", "encoder", "blocks", "timesteps", "local")
        told += [{key: network.get(key) for key in source}, options["cam"]["source"]]
        told += [options["gradients"], options["selection"]]
        if stage == "decoder":
            decoder = ("width", "layers", "temperature", "local_weight")
            told.append([network.get(key) for key in decoder])
            told.append(options["decoder"])
        return key_of(told, "".join([stage, *before]))


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
        check_shared(network, stage_recipe(chain, "cam"))
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


def check_shared(network: Cldf, cam: Recipe) -> None:
    """Refuse networks that are not that of the stage `cam`, whose weights they take;
    `UserError`.
    """
    config = {k: v for k, v in cam.network.items() if k != "name"}
    wanted = build_network(str(cam.network["name"]), **config).state_dict()
    shapes = {key: value.shape for key, value in wanted.items()}
    for name in ("encoder", "local"):
        ours = getattr(network, name)
        if ours is None:
            continue
        if {k: v.shape for k, v in ours.state_dict().items()} != shapes:
            raise UserError(
                f"network.{name} takes the weights of the stage cam: give it what "
                f"objective.cam.network says, {config}"
            )
