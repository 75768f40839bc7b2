"""Denoising a mask in the latent of an autoencoder: LEAF, and SDSeg before it.

Of each sample one timestep, alike of all, and one noise is drawn from its own source.

- The prediction's error in the latent, of x0, eps or v; absolute by default (LEAF
  2025, equation 5; SDSeg, Lin et al. 2024, equation 5).
- The absolute error of the clean latent that the prediction stands for (SDSeg).
- The alignment of a map of the U-Net with the patch tokens of a frozen vision
  transformer: minus the mean cosine of the projected map (LEAF, equation 7, after Yu
  et al. 2025). The projector is trained along and dropped afterwards.

U-Net and image encoder are trained; the autoencoder of the masks and the teacher are
not. Weights are averaged of both that are trained, or of the U-Net alone, as the public
code does, by ``optimiser.ema_of``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from diffseg.diffusion import Prediction, schedule_of, target, to_x0
from diffseg.errors import UserError
from diffseg.networks.latent_diffusion import LatentDiffusion
from diffseg.networks.latent_shapes import below
from diffseg_training.objectives import Batch, Loss
from diffseg_training.objectives.latent_alignment import Alignment, alignment_of
from diffseg_training.objectives.latent_parts import read_part
from diffseg_training.objectives.terms import levels, normal, one_hot, sample_errors
from diffseg_training.recipe import Recipe
from diffseg_training.settings.latent import Settings
from diffseg_training.synchronised import of_all_processes

# Where an autoencoder lies in a checkpoint that holds more: the public code's, ours.
_WITHIN = ("first_stage_model.", "autoencoder.")


def make(recipe: Recipe, network: nn.Module) -> Loss:
    """Make the loss of a recipe, and give its network the weights it begins with.

    Raises
    ------
    UserError
        The network or the sampling does not fit, or weights to begin with or the
        teacher's cannot be read.
    """
    if not isinstance(network, LatentDiffusion):
        raise UserError(
            f"objective latent of recipe {recipe.name} needs network latent_diffusion, "
            f"not {recipe.network['name']}"
        )
    config = recipe.objective
    assert isinstance(config, Settings)
    multiple = network.multiple
    if any(side % multiple for side in recipe.patch):
        raise UserError(
            f"recipe {recipe.name}: patch is {' x '.join(map(str, recipe.patch))}; the "
            f"network takes multiples of {multiple}"
        )
    intensity = recipe.preparation.intensity
    ranged = intensity.kind == "range" and tuple(intensity.to) == (-1, 1)
    if not ranged and intensity.kind != "window":
        raise UserError(
            f"recipe {recipe.name}: latent networks take images in -1 to 1: give "
            "preparation.intensity of kind window, or range with to [-1, 1]"
        )
    begin(network, config)
    return LatentLoss(recipe, config, alignment_of(config, network, recipe.patch))


class LatentLoss(nn.Module):
    """The loss of one recipe; the projector of the alignment is its only weights.

    Parameters
    ----------
    recipe : Recipe
        Its sampling and its batch are read.
    config : Settings
    alignment : Alignment, optional
        None: nothing is aligned.

    Raises
    ------
    UserError
        The recipe predicts classes, or eps where nothing is left of the mask.
    """

    def __init__(
        self, recipe: Recipe, config: Settings, alignment: Alignment | None = None
    ) -> None:
        super().__init__()
        sampling = recipe.sampling
        self.config, self.alignment = config, alignment
        # Of all processes and parts, among which a step's images may be shared.
        self.batch = recipe.optimiser.batch
        self.kind = _kind(recipe)
        self.schedule = schedule_of(sampling)
        if self.kind == "eps" and self.schedule.alpha_bar[-1] == 0:
            raise UserError(
                f"recipe {recipe.name} predicts eps, which says nothing of the mask "
                f"where schedule {sampling.schedule} ends: predict x0 or v"
            )

    def forward(
        self, network: nn.Module, batch: Batch
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Mean loss of the samples, each at a timestep of its own."""
        assert isinstance(network, LatentDiffusion)
        mask = foreground(batch.classes, network.classes)
        if network.scale_missing:
            network.measure_scale(of_all_processes(mask))
        clean = network.encode_mask(mask).float()
        t = levels(0, self.schedule.timesteps, 1, batch.sources).to(clean.device)
        noise = normal(clean, batch.sources)
        noisy = self.schedule.add_noise(clean, noise, t)
        latent = network.encode(batch.image)

        tokens = None
        if self.alignment is None:
            answer = network.denoise(noisy, t, latent)
        else:
            block = self.alignment.block
            answer, seen = network.denoise_with_features(noisy, t, latent, block)
            tokens = self.alignment(seen, batch.image)
        answer = answer.float()

        wanted = target(self.kind, clean, noise, t, self.schedule)
        total = sample_errors(answer, wanted, self.config.loss).mean()
        terms = {"prediction": float(total.detach())}
        if self.config.latent_x0:
            estimate = to_x0(self.kind, answer, noisy, t, self.schedule)
            own = sample_errors(estimate, clean, "l1").mean()
            total = total + self.config.latent_x0 * own
            terms["latent_x0"] = float(own.detach())
        if tokens is not None:
            total = total - self.weight * tokens.mean()
            terms["cosine"] = float(tokens.mean().detach())
        return total, terms

    @property
    def weight(self) -> float:
        """Weight of the alignment."""
        return self.config.alignment / (self.batch if self.config.per_batch else 1)


def _kind(recipe: Recipe) -> Prediction:
    kind = recipe.sampling.prediction
    if kind == "classes":
        raise UserError(
            f"objective latent of recipe {recipe.name} needs sampling.prediction x0, "
            "eps or v, not classes"
        )
    return kind


def foreground(classes: Tensor, count: int) -> Tensor:
    """Class indices (B, Y, X) as masks (B, `count`, Y, X) of 0 and 1.

    Raises
    ------
    UserError
        The masks hold more foreground classes.
    """
    highest = int(classes.max())
    if highest > count:
        raise UserError(
            f"masks hold class {highest}, the network has {count} foreground classes: "
            "set network.classes to their number"
        )
    return one_hot(classes, count + 1)[:, 1:]


def begin(network: LatentDiffusion, config: Settings) -> None:
    """Give a network the weights that the settings name; freeze its autoencoder.

    Raises
    ------
    UserError
        They cannot be read, or are of another architecture.
    """
    network.autoencoder.requires_grad_(False)
    if config.autoencoder is None:
        if config.unet is not None:
            raise UserError(
                "objective.unet names weights to begin with, which belong to an "
                "autoencoder's latent: set objective.autoencoder, too"
            )
        return
    unet = None if config.unet is None else read_part(config.unet).weights
    found = read_part(config.autoencoder).weights
    inner = (below(found, prefix) for prefix in _WITHIN)
    network.start_from(next(filter(None, inner), found), unet)
