"""How much a map of the U-Net, projected, looks like a teacher's patch tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.models.teachers import Teacher, load_teacher
from diffseg.networks.alignment import Projector, alignment_map
from diffseg.networks.latent_diffusion import LatentDiffusion
from diffseg.networks.vision_transformer import PatchTokens
from diffseg_training.objectives.autoencoder import coloured_image
from diffseg_training.objectives.latent_parts import read_part
from diffseg_training.settings.latent import Settings


class Alignment(nn.Module):
    """Cosine between projected positions of a map and patch tokens of the image.

    Parameters
    ----------
    teacher : Teacher
        Kept out of this module's own weights: it is not trained, nor saved.
    channels : int
        Of the map.
    block : int
        Of the way down whose map it is.
    hidden : int
        Width of the projector in between.
    """

    def __init__(
        self, teacher: Teacher, channels: int, block: int, hidden: int
    ) -> None:
        super().__init__()
        self.block = block
        self.projector = Projector(channels, teacher.dim, hidden)
        self._teacher = (teacher,)

    def forward(self, seen: Tensor, image: Tensor) -> Tensor:
        """Mean cosine (B,) of a map (B, C, y, x) and the images (B, C, Y, X) it saw.

        Images are in [-1, 1], as the network sees them.
        """
        (teacher,) = self._teacher
        teacher.tower.to(image.device)
        shown = ((coloured_image(image) + 1) / 2).clamp(0, 1)
        with torch.no_grad():
            wanted = teacher(shown)
        projected: Tensor = self.projector(seen)
        return functional.cosine_similarity(
            projected.float(), wanted.float(), dim=-1
        ).mean(1)


def alignment_of(
    config: Settings, network: LatentDiffusion, patch: Sequence[int]
) -> Alignment | None:
    """Make the alignment that the settings ask for; None without a teacher or weight.

    Raises
    ------
    UserError
        The teacher cannot be read, or its tokens fit no map of the network.
    """
    if config.teacher is None or not config.alignment:
        return None
    # As many tokens as the map has positions after the first halving: of the published
    # network at 256 x 256 they are 16 x 16.
    halved = 2 * network.factor
    grid = config.grid or (patch[0] // halved, patch[1] // halved)
    teacher = teacher_of(config.teacher, grid)
    place = alignment_map(network, (patch[0], patch[1]), teacher.count)
    return Alignment(teacher, place.channels, place.block, config.projector)


def teacher_of(spec: str, grid: tuple[int, int]) -> Teacher:
    """Load a teacher by its spec, or one that was trained here.

    Parameters
    ----------
    spec : str
        As `load_teacher` takes it, or a part that the objective teacher has trained,
        as `read_part` takes it.
    grid : (int, int)
        Patches (y, x) to look at.

    Raises
    ------
    UserError
        There is no such teacher, or the part is none.
    """
    if spec.partition(":")[0] in ("timm", "open_clip", "file"):
        return load_teacher(spec, grid=grid)
    part = read_part(spec)
    network = part.built() if part.network else None
    if not isinstance(network, PatchTokens):
        raise UserError(
            f"teacher {spec} is no part that the objective teacher has trained: give "
            "one, or timm:NAME, open_clip:NAME/TAG or file:FOLDER"
        )
    network.resized(grid)
    network.requires_grad_(False).eval()
    patch, half = (network.patch, network.patch), (0.5, 0.5, 0.5)
    # It was trained on images in [-1, 1].
    return Teacher(
        spec, network, network.forward, network.width, patch, grid, half, half
    )
