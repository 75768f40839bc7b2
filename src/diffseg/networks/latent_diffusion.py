"""Segmentation in an autoencoder's latent: LEAF, and SDSeg before it.

A mask is an image of three channels in [-1, 1] and becomes a latent by a frozen KL
autoencoder; the image becomes one by a copy of its encoder that is trained along; a
U-Net denoises the mask's latent beside the image's (LEAF 2025, section 3; SDSeg, Lin et
al. 2024). Every latent is the mode of its distribution, times a scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diffseg.errors import UserError
from diffseg.networks.kl_autoencoder import (
    ImageEncoder,
    KLAutoencoder,
    diffusers_names,
)
from diffseg.networks.latent_shapes import autoencoder_config, below, unet_config
from diffseg.networks.latent_unet import LatentUNet, adapt_input_convolution

SCALE = 0.18215  # of Stable Diffusion's latents, which LEAF takes over
_COLOURS = 3  # channels of a mask as an image


class LatentDiffusion(nn.Module):
    """Denoiser of the latent of a mask, with all that leads there and back.

    `encode` gives an image's latent, `encode_mask` a mask's, `denoise` works on the
    noisy latent of a mask and `decode` brings one back to probabilities. The extents of
    an image are `factor` times those of its latent.

    Parameters
    ----------
    image_channels : int
        Channels of the image.
    classes : {1, 2, 3}
        Foreground classes. One class is all three channels of the mask's image;
        several are a channel each.
    autoencoder : mapping, optional
        Configuration of the `KLAutoencoder`, without its `image_channels`; the defaults
        are those of ``kl-f8``.
    unet : mapping, optional
        Configuration of the `LatentUNet`, without the channels of the latents; the
        defaults are those of LEAF.
    scale : float or "measured"
        Factor of a mask's latent. LEAF takes 0.18215; SDSeg one over the standard
        deviation of its first batch, which `measure_scale` keeps with the weights.
    image_scale : float
        Factor of an image's latent: 0.18215 (LEAF) or 1 (SDSeg).
    dropout : float
        Share of activations dropped in training in the image's encoder, in [0, 1).
    """

    dims = 2
    learned_variance = False

    def __init__(
        self,
        image_channels: int = 3,
        classes: int = 1,
        autoencoder: Mapping[str, Any] | None = None,
        unet: Mapping[str, Any] | None = None,
        scale: float | Literal["measured"] = SCALE,
        image_scale: float = SCALE,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not 1 <= classes <= _COLOURS:
            raise TypeError(f"classes is {classes}; give 1 to {_COLOURS}")
        config = dict(autoencoder or {})
        self.classes, self.image_scale = classes, image_scale
        self.autoencoder = KLAutoencoder(image_channels=_COLOURS, **config)
        self.autoencoder.requires_grad_(False)
        self.image_encoder = ImageEncoder(image_channels, dropout=dropout, **config)
        self.latent_channels = self.autoencoder.latent_channels
        self.unet = LatentUNet(
            self.latent_channels, self.latent_channels, **dict(unet or {})
        )
        measured = scale == "measured"
        start = torch.tensor(float("nan") if measured else float(scale))
        self.register_buffer("mask_scale", start, persistent=measured)
        self.mask_scale: Tensor

    def train(self, mode: bool = True) -> LatentDiffusion:
        """Put what is trained into a mode; the frozen autoencoder stays as it is."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    @property
    def factor(self) -> int:
        """Extents of an image, in units of its latent's."""
        return self.autoencoder.factor

    @property
    def multiple(self) -> int:
        """Extents of an image must be multiples of this."""
        return self.factor * self.unet.multiple

    @property
    def mask_channels(self) -> int:
        """Channels of the noisy latent."""
        return self.latent_channels

    @property
    def scale_missing(self) -> bool:
        """Whether the mask's scale is yet to be measured."""
        return bool(self.mask_scale.isnan())

    @torch.no_grad()
    def measure_scale(self, mask: Tensor) -> float:
        """Let the latents of masks (B, K, Y, X) have standard deviation 1 (SDSeg)."""
        latent = self.autoencoder.encode(self._coloured(mask))
        self.mask_scale.copy_(1 / latent.float().std())
        return float(self.mask_scale)

    def encode(self, image: Tensor) -> Tensor:
        """Scaled latent (B, Z, Y/f, X/f) of an image (B, C, Y, X) in [-1, 1]."""
        latent: Tensor = self.image_encoder(image) * self.image_scale
        return latent

    @torch.no_grad()
    def encode_mask(self, mask: Tensor) -> Tensor:
        """Scaled latent (B, Z, Y/f, X/f), no gradient, of a 0/1 mask (B, K, Y, X)."""
        return self.autoencoder.encode(self._coloured(mask)) * self.mask_scale

    def _coloured(self, mask: Tensor) -> Tensor:
        """Return the mask as an image in [-1, 1]: (B, K, Y, X) to (B, 3, Y, X)."""
        if mask.shape[1] != self.classes:
            raise UserError(
                f"the mask has {mask.shape[1]} foreground classes; "
                f"this network has {self.classes}"
            )
        if self.classes == 1:
            return mask.repeat(1, _COLOURS, 1, 1) * 2 - 1
        empty = mask.new_zeros(len(mask), _COLOURS - self.classes, *mask.shape[2:])
        return torch.cat([mask, empty], dim=1) * 2 - 1

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """Answer (B, Z, Y, X) to a mask's noisy latent, in the image's `features`."""
        return self.unet.denoise(noisy, timesteps, features)

    def denoise_with_features(
        self, noisy: Tensor, timesteps: Tensor, features: Tensor, block: int
    ) -> tuple[Tensor, Tensor]:
        """Answer as `denoise`, and the map (B, C, y, x) that an alignment looks at.

        Parameters
        ----------
        noisy, timesteps, features
            As of `denoise`.
        block : int
            Block of the U-Net's way down, as `alignment.alignment_map` finds it.
        """
        answer, seen = self.unet.denoise_with_map(noisy, timesteps, features, block)
        assert seen is not None
        return answer, seen

    def decode(self, latent: Tensor) -> Tensor:
        """Probabilities (B, K, Y, X) in [0, 1] of a scaled latent (B, Z, Y/f, X/f).

        The scale is divided out once; the image is clipped to [-1, 1] before its
        channels are averaged (one class) or told apart.
        """
        image = self.autoencoder.decode(latent / self.mask_scale)
        shares = (image.clamp(-1, 1) + 1) / 2
        if self.classes == 1:
            return shares.mean(1, keepdim=True)
        return shares[:, : self.classes]

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """Answer (B, Z, Y/f, X/f) to `noisy`, given an image (B, C, Y, X)."""
        return self.denoise(noisy, timesteps, self.encode(image))

    def start_from(
        self,
        autoencoder: Mapping[str, Tensor],
        unet: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Begin with an autoencoder's weights, its encoder's for the image's too.

        Parameters
        ----------
        autoencoder : mapping of str to Tensor
            By diffusers' names or the authors' (``state_dict`` of ``kl-f8``).
        unet : mapping of str to Tensor, optional
            Of an unconditional U-Net, also within the authors' checkpoint: its first
            convolution is doubled and halved. One of twice the inputs is taken as is.

        Raises
        ------
        UserError
            The weights are of another architecture; the message says which.
        """
        _load(self.autoencoder, diffusers_names(autoencoder), "autoencoder")
        self.image_encoder.start_from(self.autoencoder)
        if unet is not None:
            state = dict(below(unet, "model.diffusion_model.") or unet)
            first = "input_blocks.0.0.weight"
            if first in state and state[first].shape[1] == self.latent_channels:
                state[first] = adapt_input_convolution(state[first])
            _load(self.unet, state, "U-Net")


def from_published_parts(
    autoencoder: Mapping[str, Tensor],
    unet: Mapping[str, Tensor],
    **config: Any,
) -> LatentDiffusion:
    """Build the network that LEAF and SDSeg begin with, from its public parts.

    Parameters
    ----------
    autoencoder, unet : mapping of str to Tensor
        States of ``kl-f8`` and ``lsun_churches256``, by the authors' names.
    **config
        Of `LatentDiffusion`, besides what the shapes tell.
    """
    inner = autoencoder_config(diffusers_names(autoencoder))
    inner.pop("image_channels")
    within = unet_config(below(unet, "model.diffusion_model.") or unet)
    network = LatentDiffusion(
        **config
        | {
            "autoencoder": inner | dict(config.get("autoencoder", {})),
            "unet": within | dict(config.get("unet", {})),
        }
    )
    network.start_from(autoencoder, unet)
    return network


def _load(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    own = module.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or sorted(
        name for name, tensor in state.items() if tensor.shape != own[name].shape
    )
    if wrong:
        raise UserError(
            f"{what}: the weights are of another architecture: {wrong[0]} "
            f"and {len(wrong) - 1} more are missing, not expected or of another shape"
        )
    module.load_state_dict(state)


def build(**config: Any) -> LatentDiffusion:
    """Build a `LatentDiffusion`."""
    return LatentDiffusion(**config)
