"""Measure a data set's fingerprint: learn its masks, then see what noise leaves."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from diffseg.diffusion import schedule_of
from diffseg.diffusion.fingerprint import (
    Recover,
    RecoveryCurve,
    iter_recovery_error,
    mask_log_snr,
)
from diffseg.errors import UserError
from diffseg.networks.conditioned import Conditioned
from diffseg.progress import Work
from diffseg.segmenters import resolve_device
from diffseg_training.dataset import load_dataset
from diffseg_training.fingerprint import (
    FILE,
    Fingerprint,
    Origin,
    write_fingerprint,
)
from diffseg_training.fingerprint_advice import POINTS, told
from diffseg_training.fingerprint_image import ImageModel, iter_conditional_curve
from diffseg_training.fingerprint_masks import (
    MULTIPLE,
    chosen_planes,
    held_out,
    iter_masks,
    mask_channels,
    mean_mask,
)
from diffseg_training.fingerprint_plots import draw_fingerprint
from diffseg_training.objectives.mask_prior import without_image
from diffseg_training.recipe import Recipe, load_recipe
from diffseg_training.run_folder import make_folder
from diffseg_training.trainer import TrainingResult, iter_train
from diffseg_training.training_set import Example

MEASURED = 48  # most slices measured
SIZE = 64  # of a slice's sides, where nothing else is said


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured.

    Parameters
    ----------
    data, split : str
    out : Path
    minutes : float, optional
        Of training; the recipe's without it.
    model : str, optional
        Model whose error with the image is measured beside.
    size : int, optional
        Pixels of a slice's sides; the model's, or 64.
    draws : int
        Noise draws of every slice.
    window : int
        Points of the moving average.
    overrides : tuple of str
        Of the recipe.
    device : str
    """

    data: str
    split: str
    out: Path
    minutes: float | None = None
    model: str | None = None
    size: int | None = None
    draws: int = 1
    window: int = 3
    overrides: tuple[str, ...] = ()
    device: str = "auto"


def iter_fingerprint(wanted: Wanted) -> Work[Fingerprint]:
    """Learn, measure, and write ``fingerprint.json`` and ``fingerprint.png``.

    A network learns the masks of four fifths of the split's patients, without
    images; the masks of the others are measured.

    Raises
    ------
    UserError
        The data, the model, the recipe or the folder cannot be used.
    """
    _check_folder(wanted.out)
    device = resolve_device(wanted.device)
    dataset = load_dataset(wanted.data)
    cases = dataset.split(wanted.split)
    model = None if wanted.model is None else ImageModel.load(wanted.model, device)
    size, count = _size(wanted, model), len(dataset.labels)
    recipe = fingerprint_recipe(wanted, count, size)
    halves = held_out(cases, recipe.seed)
    learned = yield from iter_masks(halves.learned, dataset, size)
    measured = yield from iter_masks(halves.measured, dataset, size)
    planes = chosen_planes(measured, MEASURED, recipe.seed)
    masks = mask_channels(measured, planes, count).to(device)
    checked = [measured[i] for i in sorted({i for i, _ in planes})]
    result = yield from _trained(recipe, learned, checked, device)
    curve = yield from _curve(result.network, recipe, masks, wanted)
    conditional = None
    if model is not None:
        conditional = yield from iter_conditional_curve(
            model,
            halves.measured,
            dataset,
            planes,
            draws=wanted.draws,
            seed=recipe.seed,
        )
    mean = mean_mask(learned, count).to(device)
    fingerprint = told(
        curve,
        _origin(wanted, recipe, result, learned, masks),
        prior=float((mean * (1 - mean)).mean()),
        prior_held_out=float(((masks - mean) ** 2).mean()),
        conditional=conditional,
        warnings=() if halves.apart else (_ONE_PATIENT,),
    )
    draw_fingerprint(fingerprint, wanted.out / "fingerprint.png")
    write_fingerprint(fingerprint, wanted.out)
    return fingerprint


def fingerprint_recipe(wanted: Wanted, classes: int, size: Sequence[int]) -> Recipe:
    """The recipe of the network that learns the masks."""
    overrides = [f"patch={list(size)}", f"preparation.size={list(size)}"]
    if wanted.minutes is not None:
        overrides += [f"length.minutes={wanted.minutes}", "length.steps=null"]
    recipe = load_recipe("fingerprint", [*overrides, *wanted.overrides])
    channels = "classes" if recipe.network["name"] == "compact_unet" else _CHANNELS
    return recipe.model_copy(update={"network": {**recipe.network, channels: classes}})


_CHANNELS = "mask_channels"
_ONE_PATIENT = (
    "one patient: the masks measured are those learned from, the error is too low"
)


def _check_folder(out: Path) -> None:
    if (out / FILE).exists():
        raise UserError(f"{out} holds a fingerprint already: name a new folder")
    make_folder(out)


def _size(wanted: Wanted, model: ImageModel | None) -> tuple[int, int]:
    if model is not None:
        if wanted.size is not None and (wanted.size, wanted.size) != model.size:
            raise UserError(
                f"size is {wanted.size}, and model {model.name} sees slices of "
                f"{model.size[0]} x {model.size[1]}: leave the size out"
            )
        return model.size
    side = wanted.size or SIZE
    if side % MULTIPLE or side < 2 * MULTIPLE:
        raise UserError(
            f"size is {side}; give a multiple of {MULTIPLE} from {2 * MULTIPLE} on"
        )
    return side, side


def _origin(
    wanted: Wanted,
    recipe: Recipe,
    result: TrainingResult,
    learned: Sequence[Example],
    masks: Tensor,
) -> Origin:
    rows, columns = masks.shape[2:]
    return Origin(
        data=wanted.data,
        split=wanted.split,
        learned_on=sum(len(one.classes) for one in learned),
        measured_on=len(masks),
        foreground=float(masks.mean()),
        size=(rows, columns),
        minutes=round(result.minutes, 2),
        training_steps=result.steps,
        seed=recipe.seed,
        draws=wanted.draws,
        window=wanted.window,
        date=date.today().isoformat(),
    )


def _trained(
    recipe: Recipe,
    learned: Sequence[Example],
    checked: Sequence[Example],
    device: str,
) -> Work[TrainingResult]:
    """Train in a folder that is thrown away; the best weights on held-out masks."""
    with tempfile.TemporaryDirectory(prefix="diffseg-fingerprint-") as folder:
        return (
            yield from iter_train(
                recipe, learned, None, Path(folder), device=device, held_out=checked
            )
        )


def _curve(
    network: nn.Module, recipe: Recipe, masks: Tensor, wanted: Wanted
) -> Work[RecoveryCurve]:
    """Error of the masks over the levels that the network has learned."""
    sampling = recipe.sampling
    schedule = schedule_of(sampling)
    step = max(1, schedule.timesteps // POINTS)
    timesteps = list(range(step // 2, schedule.timesteps, step))
    net = cast("Conditioned", network)
    nothing = masks.new_zeros(len(masks), 1, *masks.shape[2:])

    def recover_for(part: slice) -> Recover:
        @torch.no_grad()
        def recover(noisy: Tensor, t: Tensor) -> Tensor:
            return without_image(net, noisy, t, nothing[part])

        return recover

    error = yield from iter_recovery_error(
        recover_for,
        masks,
        schedule,
        timesteps,
        mask_range=sampling.mask_range,
        seed=recipe.seed,
        draws=wanted.draws,
    )
    levels = mask_log_snr(schedule, sampling.mask_range)[timesteps]
    return RecoveryCurve(levels, error)
