"""A plain U-Net, the reference that every published segmenter is held against.

MONAI's dynamic U-Net, the architecture of nnU-Net (Isensee et al., Nature Methods
2021): two 3-wide convolutions a level with instance normalisation and leaky ReLU,
strided convolutions down, transposed ones up, and skips. It sees the image alone:
noisy mask and timestep are taken and not looked at, so that the method `feedforward`
can train and use it like the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets.dynunet import DynUNet
from torch import Tensor, nn


class UNet(nn.Module):
    """Logits of an image's foreground classes; nothing is denoised.

    Parameters
    ----------
    dims : {2, 3}
        Spatial dimensions. Every dimension is halved from level to level.
    image_channels : int
        Channels of the image.
    mask_channels : int
        Channels of the answer: the foreground classes.
    channels : int
        Width of the first level.
    multipliers : sequence of int, two or more
        Width of each level, in units of `channels`.
    dropout : float
        Share of activations dropped in training, in [0, 1).
    """

    learned_variance = False

    def __init__(
        self,
        dims: int = 2,
        image_channels: int = 1,
        mask_channels: int = 1,
        channels: int = 32,
        multipliers: Sequence[int] = (1, 2, 4, 8, 10, 10),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dims not in (2, 3):
            raise TypeError(f"dims is {dims}; give 2 or 3")
        if len(multipliers) < 2:
            raise TypeError(f"multipliers is {multipliers}; give two levels or more")
        self.dims, self.mask_channels = dims, mask_channels
        self.levels = len(multipliers)
        strides = [1] + [2] * (self.levels - 1)
        self.net = DynUNet(
            spatial_dims=dims,
            in_channels=image_channels,
            out_channels=mask_channels,
            kernel_size=[3] * self.levels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=[channels * multiplier for multiplier in multipliers],
            dropout=dropout or None,
        )

    @property
    def multiple(self) -> int:
        """Spatial sizes must be multiples of this."""
        return int(2 ** (self.levels - 1))

    def encode(self, image: Tensor) -> Tensor:
        """Logits (B, M, *S) of the image (B, C, *S): all that there is to say."""
        logits: Tensor = self.net(image)
        return logits

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Tensor) -> Tensor:
        """The same logits, whatever the noisy mask and the timestep."""
        del noisy, timesteps
        return features

    def forward(self, noisy: Tensor, timesteps: Tensor, image: Tensor) -> Tensor:
        """Logits (B, M, *S) of the image (B, C, *S)."""
        return self.denoise(noisy, timesteps, self.encode(image))


def build(**config: object) -> UNet:
    """Build a `UNet`."""
    return UNet(**config)  # type: ignore[arg-type]
