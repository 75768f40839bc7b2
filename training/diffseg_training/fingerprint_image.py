"""The error of recovered masks of a model that sees the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from diffseg.diffusion import NoiseSchedule, schedule_of, to_x0
from diffseg.diffusion.fingerprint import (
    Recover,
    RecoveryCurve,
    iter_recovery_error,
    mask_log_snr,
)
from diffseg.domain import ModelCard
from diffseg.errors import UserError
from diffseg.networks.conditioned import Conditioned
from diffseg.progress import Work
from diffseg.segmenters import load_segmenter
from diffseg_training.dataset import Case, Dataset
from diffseg_training.fingerprint_masks import mask_channels
from diffseg_training.training_set import prepare_examples

POINTS = 60  # noise levels measured, evenly over the model's schedule


@dataclass(frozen=True, slots=True, eq=False)
class ImageModel:
    """A model of slices of one size, with a mask channel for each class."""

    card: ModelCard
    network: Conditioned
    device: str

    @classmethod
    def load(cls, model: str, device: str) -> Self:
        """Load a model by its id or folder.

        Raises
        ------
        UserError
            There is none, or it is not one whose error can be told.
        """
        segmenter = load_segmenter(model, device=device)
        card, network = segmenter.card, getattr(segmenter, "network", None)
        if card.sampling.prediction == "classes" or not isinstance(
            network, Conditioned
        ):
            raise UserError(
                f"model {card.id} does not denoise masks: "
                "give one whose prediction is eps, v or x0"
            )
        if card.preparation.size is None:
            raise UserError(
                f"model {card.id} sees no slices of one size: give one whose card has "
                "preparation.size, since a fingerprint depends on the pixel's size"
            )
        return cls(card, network, device)

    @property
    def name(self) -> str:
        """The model's full name."""
        return f"{self.card.id}@{self.card.version}"

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of its slices."""
        size = self.card.preparation.size
        assert size is not None
        return size

    @property
    def schedule(self) -> NoiseSchedule:
        """Its noise schedule."""
        sampling = self.card.sampling
        return schedule_of(sampling)

    def recover_for(self, images: Tensor) -> Recover:
        """What recovers masks of these images, whose features are computed once."""
        network, schedule, kind = (
            self.network,
            self.schedule,
            self.card.sampling.prediction,
        )
        assert kind != "classes"
        with torch.no_grad():
            features = network.encode(images)

        @torch.no_grad()
        def recover(noisy: Tensor, t: Tensor) -> Tensor:
            raw = network.denoise(noisy, t, features)[:, : noisy.shape[1]].float()
            return to_x0(kind, raw, noisy, t, schedule)

        return recover


def iter_conditional_curve(
    model: ImageModel,
    cases: Sequence[Case],
    dataset: Dataset,
    planes: Sequence[tuple[int, int]],
    *,
    draws: int = 1,
    seed: int = 0,
) -> Work[tuple[str, RecoveryCurve]]:
    """Measure a model with the images of cases, prepared as its card says.

    Parameters
    ----------
    model : ImageModel
    cases : sequence of Case
    dataset : Dataset
    planes : sequence of (case, plane)
        Which slices of which cases.
    draws, seed : int
        See `iter_recovery_error`.

    Raises
    ------
    UserError
        A case cannot be prepared, or has other classes or planes.
    """
    examples = yield from prepare_examples(cases, dataset, model.card.preparation)
    count = model.network.mask_channels
    if count != len(dataset.labels):
        raise UserError(
            f"model {model.name} knows {count} classes, the data set "
            f"{len(dataset.labels)}: they must be the same"
        )
    if any(z >= examples[i].planes for i, z in planes):
        raise UserError(
            f"model {model.name} turns the volumes of this data set: their slices are "
            "not those that are measured without the image"
        )
    images = torch.stack([examples[i].plane(z)[0] for i, z in planes])
    masks = mask_channels(examples, planes, count)
    schedule, mask_range = model.schedule, model.card.sampling.mask_range
    step = max(1, schedule.timesteps // POINTS)
    timesteps = list(range(step // 2, schedule.timesteps, step))
    error = yield from iter_recovery_error(
        lambda part: model.recover_for(images[part].to(model.device)),
        masks.to(model.device),
        schedule,
        timesteps,
        mask_range=mask_range,
        draws=draws,
        seed=seed,
    )
    levels = mask_log_snr(schedule, mask_range)[timesteps]
    return model.name, RecoveryCurve(levels, error)
