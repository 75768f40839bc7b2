"""SegFormer (Xie et al. 2021), a reference that knows neither noise nor timesteps.

The architecture is that of `transformers`, built from its configuration with random
weights; nothing is downloaded. Its logits, at a quarter of the resolution, are
interpolated to the image's. Published weights of the encoder have their place in
`net.segformer`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from transformers import SegformerConfig, SegformerForSemanticSegmentation


@dataclass(frozen=True, slots=True)
class Size:
    """Layers, widths and heads of the four stages, and the decoder's width."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    decoder: int


_FIVE = (64, 128, 320, 512)
SIZES = {
    # Ours: within 10 MB of weights, for small data sets.
    "small": Size((2, 2, 2, 2), (32, 64, 128, 192), (1, 2, 4, 6), 192),
    # Table 6 of the paper.
    "b0": Size((2, 2, 2, 2), (32, 64, 160, 256), (1, 2, 5, 8), 256),
    "b1": Size((2, 2, 2, 2), _FIVE, (1, 2, 5, 8), 256),
    "b2": Size((3, 4, 6, 3), _FIVE, (1, 2, 5, 8), 768),
    "b3": Size((3, 4, 18, 3), _FIVE, (1, 2, 5, 8), 768),
}


class SegFormer(nn.Module):
    """Logits of an image's foreground classes; nothing is denoised.

    Parameters
    ----------
    dims : {2}
        Spatial dimensions.
    image_channels, mask_channels : int
        Channels of the image, and of the answer: the foreground classes.
    size : {"small", "b0", "b1", "b2", "b3"}
    drop_path, dropout : float
        Share of residual branches, and of the last features, dropped in training.
    """

    learned_variance = False
    multiple = 32

    def __init__(
        self,
        dims: int = 2,
        image_channels: int = 3,
        mask_channels: int = 1,
        size: str = "b0",
        drop_path: float = 0.1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if dims != 2:
            raise TypeError(f"dims is {dims}; SegFormer sees slices, give 2")
        if size not in SIZES:
            raise TypeError(f"size is {size!r}; give one of {', '.join(SIZES)}")
        self.dims, self.mask_channels = dims, mask_channels
        chosen = SIZES[size]
        config = SegformerConfig(  # type: ignore[call-arg]
            num_channels=image_channels,
            num_labels=mask_channels,
            depths=list(chosen.depths),
            hidden_sizes=list(chosen.widths),
            num_attention_heads=list(chosen.heads),
            decoder_hidden_size=chosen.decoder,
            drop_path_rate=drop_path,
            classifier_dropout_prob=dropout,
        )
        self.net = SegformerForSemanticSegmentation(config)

    def encode(self, image: Tensor) -> Tensor:
        """Logits (B, M, Y, X) of the image (B, C, Y, X): all that there is to say."""
        coarse: Tensor = self.net(pixel_values=image).logits
        return functional.interpolate(
            coarse, size=image.shape[2:], mode="bilinear", align_corners=False
        )

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """The same logits, whatever the noisy mask and the timestep."""
        del noisy, timesteps
        return features

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """Logits (B, M, Y, X) of the image (B, C, Y, X)."""
        return self.denoise(noisy, timesteps, self.encode(image))


def build(**config: object) -> SegFormer:
    """Build a `SegFormer`."""
    return SegFormer(**config)  # type: ignore[arg-type]
