"""What CLDF refines, and its baselines, as maps of slices by a chain's own networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from weak_folds import Floats

from diffseg.diffusion import generator, schedule_of
from diffseg.diffusion.gradient_maps import mean_gradient_map
from diffseg.domain.slice_labels import PRESENT
from diffseg.models import load_weights, read_folder
from diffseg.networks import build_network
from diffseg.networks.cdm import Cdm
from diffseg.networks.class_unet import ClassUNet
from diffseg.networks.noisy_classifier import log_probability
from diffseg.segmenters.cams import raw_maps, unit_maps
from diffseg.segmenters.refining.features import refine_by_features
from diffseg.segmenters.weak.changing import change_map
from diffseg.segmenters.weak.features import DiffusionMaps, mean_maps
from diffseg.segmenters.weak.thresholds import stretched
from diffseg_training.recipe import Recipe
from diffseg_training.weak.baselines import save_baseline
from diffseg_training.weak.stages import load_part

RECIPE = "lgg-cldf"
LEVELS, STEPS, BATCH = (50, 100, 150, 200, 250, 300), 10, 16
Maps = Callable[[torch.Tensor], Floats]


def sources(chain: Path, recipe: Recipe) -> Iterator[tuple[str, Maps]]:
    """What CLDF refines, and its baselines, of the chain's own networks."""
    cam = load_part(chain / "cam" / "part")
    source = cast("Any", recipe.objective).cam.source
    yield "cam", lambda images: raw_maps(source, cam, images)
    classifier = cast("Any", load_part(chain / "classifier" / "part"))
    schedule = schedule_of(recipe.sampling)

    def score(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        told = torch.full((len(x), 1), PRESENT)
        return log_probability(classifier(x, t).float(), told)

    def steep(images: torch.Tensor) -> Floats:
        maps = mean_gradient_map(
            score, images, schedule, LEVELS, lambda i: _noise(images, i)
        )
        return np.stack([stretched(one, 2.0) for one in maps.numpy()])

    yield "gradient", _by_batches(steep)
    yield "dig", _by_features(chain, recipe, source, cam)
    model = read_folder(chain / "model")
    for kind in ("perturbed", "anomaly"):
        made = chain / f"baseline-{kind}"
        if not made.is_dir():
            save_baseline(model, cast("Any", kind), made)
        yield kind, _by_batches(_change(made))


def _by_features(
    chain: Path, recipe: Recipe, source: str, cam: torch.nn.Module
) -> Maps:
    """The map of a classifier, spread over what the diffusion model takes for alike."""
    network = cast("ClassUNet", load_part(chain / "diffusion" / "part")).eval()
    deepest = DiffusionMaps(network, schedule_of(recipe.sampling), (0,))

    def maps(images: torch.Tensor) -> Floats:
        shown = torch.from_numpy(unit_maps(raw_maps(source, cam, images)))[:, None]
        states = torch.full((len(images), 1), PRESENT)
        (features,) = mean_maps(
            deepest, images, states, LEVELS[::2], lambda i: _noise(images, i)
        )
        found: Floats = refine_by_features(shown, features)[:, 0].numpy()
        return found

    return _by_batches(torch.inference_mode()(maps))


def _change(folder: Path) -> Maps:
    """Maps of a baseline: where a slice changes."""
    model = read_folder(folder)
    config = dict(model.card.network)
    network = cast("Cdm", build_network(str(config.pop("name")), **config))
    network.load_state_dict(load_weights(model))
    network.eval().requires_grad_(False)
    schedule, prediction = (
        schedule_of(model.card.sampling),
        model.card.sampling.prediction,
    )

    def maps(images: torch.Tensor) -> Floats:
        states = torch.full((len(images), 1), PRESENT)
        noise = _noise(images, 0)
        found = change_map(
            network, schedule, prediction, images, states, 0, noise, STEPS
        )
        made: Floats = found.float().numpy()
        return made

    return maps


def _noise(images: torch.Tensor, number: int) -> torch.Tensor:
    return torch.randn(images.shape, generator=generator(0, number))


def _by_batches(maps: Maps) -> Maps:
    """The same, of a batch at a time."""
    return lambda images: np.concatenate(
        [maps(part) for part in torch.split(images, BATCH)]
    )
