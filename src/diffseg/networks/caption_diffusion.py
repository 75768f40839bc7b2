"""A small text-to-image network of the kind of Stable Diffusion.

Rombach et al. 2022: a U-Net that denoises in the latent of a frozen autoencoder, and
attends to the tokens of a text. U-Net and text encoder are the classes of diffusers and
transformers that Stable Diffusion is published as; its levels are laid out as there,
so that its attentions bear the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffseg.networks.kl_autoencoder import KLAutoencoder


class CaptionDiffusion(nn.Module):
    """Denoiser of the latents of images, told what they show.

    Parameters
    ----------
    size : int
        Pixels along a side of the images.
    autoencoder : mapping, optional
        Configuration of the `KLAutoencoder`.
    scale : float
        Factor of latents, so that their standard deviation is about 1.
    channels : sequence of int
        Width of each level of the U-Net; every level but the first halves the extents,
        and every level but the last attends.
    blocks : int
        Residual blocks a level.
    groups : int
        Of every group normalisation; divides all widths.
    heads : int
        Of every attention.
    text_width, text_layers, text_heads : int
        Of the text encoder.
    vocabulary : int
        Tokens there are; the last one ends a text and fills it up.
    context : int
        Tokens L of a text.
    """

    dims = 2

    def __init__(
        self,
        size: int = 128,
        autoencoder: Mapping[str, Any] | None = None,
        scale: float = 1.0,
        channels: Sequence[int] = (32, 64, 96, 128),
        blocks: int = 2,
        groups: int = 16,
        heads: int = 4,
        text_width: int = 128,
        text_layers: int = 3,
        text_heads: int = 4,
        vocabulary: int = 512,
        context: int = 40,
    ) -> None:
        super().__init__()
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        self.autoencoder_config = dict(autoencoder or {})
        self.autoencoder = KLAutoencoder(**self.autoencoder_config)
        self.autoencoder.requires_grad_(False)
        self.size, self.scale = size, float(scale)
        self.vocabulary, self.context = vocabulary, context
        latent = self.autoencoder.latent_channels
        count = len(channels)
        self._levels = count
        self.unet: Any = UNet2DConditionModel(  # type: ignore[no-untyped-call]
            sample_size=size // self.autoencoder.factor,
            in_channels=latent,
            out_channels=latent,
            block_out_channels=tuple(channels),
            layers_per_block=blocks,
            norm_num_groups=groups,
            attention_head_dim=heads,  # which diffusers takes for the number of heads
            cross_attention_dim=text_width,
            down_block_types=(*["CrossAttnDownBlock2D"] * (count - 1), "DownBlock2D"),
            up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * (count - 1)),
        )
        self.text_encoder: Any = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=text_width,
                intermediate_size=4 * text_width,
                num_hidden_layers=text_layers,
                num_attention_heads=text_heads,
                max_position_embeddings=context,
                projection_dim=text_width,
                bos_token_id=vocabulary - 2,
                eos_token_id=vocabulary - 1,
                pad_token_id=vocabulary - 1,
            )
        )

    def train(self, mode: bool = True) -> CaptionDiffusion:
        """Put what is trained into a mode; the frozen autoencoder stays as it is."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    @property
    def multiple(self) -> int:
        """Extents of an image must be multiples of this."""
        return int(self.autoencoder.factor * 2 ** (self._levels - 1))

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Scaled latents (B, Z, y, x), the modes, of images (B, 3, Y, X) in [-1, 1]."""
        return self.autoencoder.encode(image) * self.scale

    def described(self, tokens: Tensor) -> Tensor:
        """What a text says (B, L, C), of token indices (B, L)."""
        found: Tensor = self.text_encoder(tokens)[0]
        return found

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Answer (B, Z, y, x) to noisy latents at timesteps (B,), told texts (B, L)."""
        answer: Tensor = self.unet(noisy, timesteps, self.described(tokens)).sample
        return answer


def build(**config: object) -> CaptionDiffusion:
    """Build a `CaptionDiffusion`."""
    return CaptionDiffusion(**config)  # type: ignore[arg-type]
