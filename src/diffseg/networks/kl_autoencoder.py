"""The KL autoencoder of latent diffusion, built from diffusers' parts.

Rombach et al. 2022. The defaults are the published ``kl-f8`` configuration. Parameters
bear the names of diffusers' ``AutoencoderKL``; `diffusers_names` gives them to a state
that bears those of the authors' own code, as published checkpoints do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import Encoder
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from diffseg.errors import UserError


class KLAutoencoder(nn.Module):
    """An image to a normal distribution over a smaller map, and such a map back.

    Parameters
    ----------
    image_channels : int
        Channels of the image, both ways.
    latent_channels : int
        Channels of the map.
    channels : int
        Width of the first level.
    multipliers : sequence of int
        Width of each level, in units of `channels`; every level but the first halves
        the extents.
    blocks : int
        Residual blocks a level of the encoder; one more in the decoder.
    groups : int
        Of every group normalisation; divides the width of every level.
    """

    dims = 2

    def __init__(
        self,
        image_channels: int = 3,
        latent_channels: int = 4,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 4),
        blocks: int = 2,
        groups: int = 32,
    ) -> None:
        super().__init__()
        if channels % groups:
            raise TypeError(f"groups is {groups}; give a divisor of {channels}")
        self.image_channels, self.latent_channels = image_channels, latent_channels
        self.factor = int(2 ** (len(multipliers) - 1))
        parts: Any = AutoencoderKL(  # type: ignore[no-untyped-call]
            in_channels=image_channels,
            out_channels=image_channels,
            latent_channels=latent_channels,
            block_out_channels=tuple(channels * m for m in multipliers),
            down_block_types=("DownEncoderBlock2D",) * len(multipliers),
            up_block_types=("UpDecoderBlock2D",) * len(multipliers),
            layers_per_block=blocks,
            norm_num_groups=groups,
        )
        # Its parts only: the frame around them reads and writes files of its own.
        self.encoder, self.decoder = parts.encoder, parts.decoder
        self.quant_conv, self.post_quant_conv = parts.quant_conv, parts.post_quant_conv

    @property
    def multiple(self) -> int:
        """Extents of an image must be multiples of this."""
        return self.factor

    def moments(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z, Y/f, X/f) of an image (B, C, Y, X) in [-1, 1].

        The log-variance is kept within [-30, 20], as where the weights were trained.
        """
        mean, log_variance = self.quant_conv(self.encoder(image)).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def encode(self, image: Tensor) -> Tensor:
        """Mode of the distribution, (B, Z, Y/f, X/f), not scaled."""
        return self.moments(image)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """Image (B, C, Y, X), about [-1, 1], of a map (B, Z, Y/f, X/f), not scaled."""
        image: Tensor = self.decoder(self.post_quant_conv(latent))
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Return the image (B, C, Y, X) as it comes back from its mode."""
        return self.decode(self.encode(image))


class ImageEncoder(nn.Module):
    """An autoencoder's encoder alone, to be trained: an image to a latent.

    Where the autoencoder gives mean and log-variance, this gives the mean: LEAF takes
    the mode, and SDSeg ends in a convolution of the latent's width.

    Parameters
    ----------
    image_channels, latent_channels, channels, multipliers, blocks, groups
        As of `KLAutoencoder`.
    dropout : float
        Share of activations dropped in training in every residual block, in [0, 1).
    """

    def __init__(
        self,
        image_channels: int = 3,
        latent_channels: int = 4,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 4, 4),
        blocks: int = 2,
        groups: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.image_channels, self.latent_channels = image_channels, latent_channels
        self.encoder = Encoder(
            in_channels=image_channels,
            out_channels=latent_channels,
            block_out_channels=tuple(channels * m for m in multipliers),
            down_block_types=("DownEncoderBlock2D",) * len(multipliers),
            layers_per_block=blocks,
            norm_num_groups=groups,
        )
        self.head = nn.Conv2d(2 * latent_channels, latent_channels, 1)
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                module.dropout.p = dropout  # diffusers' encoder has no setting for it

    def start_from(self, autoencoder: KLAutoencoder) -> None:
        """Take the encoder's weights, and of its last convolution the mean's half.

        An image of other than the autoencoder's channels has the first convolution's
        weights, summed over its inputs, shared evenly: a grey image repeated in all
        channels is then encoded as before.
        """
        state = autoencoder.encoder.state_dict()
        weight = state["conv_in.weight"]
        if self.image_channels != weight.shape[1]:
            shared = weight.sum(1, keepdim=True) / self.image_channels
            state["conv_in.weight"] = shared.repeat(1, self.image_channels, 1, 1)
        self.encoder.load_state_dict(state)
        quant = autoencoder.quant_conv
        self.head.load_state_dict(
            {
                "weight": quant.weight[: self.latent_channels],
                "bias": quant.bias[: self.latent_channels],
            }
        )

    def forward(self, image: Tensor) -> Tensor:
        """Latent (B, Z, Y/f, X/f), not scaled, of an image (B, C, Y, X) in [-1, 1]."""
        latent: Tensor = self.head(self.encoder(image))
        return latent


# The authors' names and diffusers', in order; the levels of a decoder come before.
_RENAMED = (
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
    (r"^encoder\.down\.(\d+)\.", r"encoder.down_blocks.\1."),
    (r"^decoder\.up\.(\d+)\.", r"decoder.up_blocks.\1."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.attentions\.0\.norm\.", ".attentions.0.group_norm."),
    (r"\.attentions\.0\.(q|k|v)\.", r".attentions.0.to_\1."),
    (r"\.attentions\.0\.proj_out\.", ".attentions.0.to_out.0."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.downsample\.conv\.", ".downsamplers.0.conv."),
    (r"\.upsample\.conv\.", ".upsamplers.0.conv."),
)
_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
_LEVEL = re.compile(r"^decoder\.up\.(\d+)\.")


def diffusers_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of a KL autoencoder under diffusers' names; what is not its is left out.

    Names that are diffusers' already stay. The authors count a decoder's levels from
    the finest, diffusers from the deepest; and their 1 x 1 convolutions of the
    attention are linear layers there.

    Raises
    ------
    UserError
        The autoencoder attends outside its middle, as ``kl-f16`` does.
    """
    mine = {name: t for name, t in state.items() if name.startswith(_PARTS)}
    levels = [int(found[1]) for name in mine if (found := _LEVEL.match(name))]
    deepest = max(levels, default=0)
    result = {}
    for name, tensor in mine.items():
        if re.search(r"\.(down|up)\.\d+\.attn\.", name):
            raise UserError(
                f"autoencoder: {name} attends outside the middle; give one that does "
                "not, such as kl-f8 or kl-f4"
            )
        renamed = _LEVEL.sub(
            lambda found: f"decoder.up.{deepest - int(found[1])}.", name
        )
        for old, new in _RENAMED:
            renamed = re.sub(old, new, renamed)
        flat = tensor.ndim == 4 and ".attentions." in renamed
        result[renamed] = torch.flatten(tensor, 1) if flat else tensor
    return result


def build(**config: object) -> KLAutoencoder:
    """Build a `KLAutoencoder`."""
    return KLAutoencoder(**config)  # type: ignore[arg-type]
