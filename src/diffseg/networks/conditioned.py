"""What every denoiser looks like to the segmenters and objectives that call it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

Features = Any
"""Any pytree of tensors, the batch first: what a network knows of an image."""


@runtime_checkable
class Conditioned(Protocol):
    """A network that denoises a mask, given an image.

    Attributes
    ----------
    dims : {2, 3}
        Spatial dimensions.
    multiple : int
        Spatial sizes must be multiples of this.
    mask_channels : int
        Channels M of the noisy mask.
    learned_variance : bool
        Whether the answer holds, after the mask's M channels, as many that place the
        log-variance between its bounds (Nichol and Dhariwal 2021, equation 15).
    """

    dims: int

    @property
    def multiple(self) -> int:
        """Spatial sizes must be multiples of this."""
        ...

    @property
    def mask_channels(self) -> int:
        """Channels of the noisy mask."""
        ...

    @property
    def learned_variance(self) -> bool:
        """Whether the answer's second half places the log-variance."""
        ...

    def encode(self, image: Tensor) -> Features:
        """What the image (B, C, *S) says; once for all steps and members."""
        ...

    def denoise(self, noisy: Tensor, timesteps: Tensor, features: Features) -> Tensor:
        """Answer (B, M or 2M, *S) to a noisy mask (B, M, *S) at timesteps (B,)."""
        ...
