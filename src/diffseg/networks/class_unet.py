"""A class-conditional diffusion model of images (Dhariwal and Nichol 2021).

The guided-diffusion U-Net denoises an image of any number of channels, and is told
with the timestep what the image shows: of each class whether it is present, absent or
not known. With one class these are the object and the healthy class of Hu et al. 2023,
and the null class of Ho and Salimans 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffseg.domain.slice_labels import CODES
from diffseg.networks.guided_unet import GuidedBody


class ClassUNet(GuidedBody):
    """Denoiser of images under a class condition; by default Hu's, of BraTS.

    Parameters
    ----------
    image_channels : int
        Channels of the image that is noised and denoised.
    classes : int
        Classes K that it is told of.
    learned_variance : bool
        Whether the output holds, after the image's channels, as many that place the
        log-variance between its bounds (Nichol and Dhariwal 2021, equation 15).
    dims, channels, multipliers, blocks, heads, attention, film, conv_resampling,
    residual_resampling, dropout
        As `GuidedBody` takes them.
    """

    def __init__(
        self,
        dims: int = 2,
        image_channels: int = 4,
        classes: int = 1,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 3,
        heads: int = 4,
        attention: Sequence[int] = (16, 32),
        learned_variance: bool = False,
        film: bool = True,
        conv_resampling: bool = True,
        residual_resampling: bool = False,
        dropout: float = 0.0,
    ) -> None:
        if classes < 1:
            raise TypeError(f"classes is {classes}; give 1 or more")
        super().__init__(
            dims,
            image_channels,
            (2 if learned_variance else 1) * image_channels,
            channels,
            multipliers,
            blocks,
            heads,
            attention,
            film,
            conv_resampling,
            residual_resampling,
            dropout,
        )
        self.image_channels, self.classes = image_channels, classes
        self.learned_variance = learned_variance
        self.label_emb = nn.Embedding(len(CODES) * classes, self.embedding)

    def condition(self, states: Tensor) -> Tensor:
        """Embedding (B, E) of what is known of the classes, (B, K) int64.

        States are indices into `diffseg.domain.slice_labels.CODES`. A new tensor: to
        blend two conditions leaves the table as it is.
        """
        first = len(CODES) * torch.arange(self.classes, device=states.device)
        embedding: Tensor = self.label_emb(states + first).sum(1)
        return embedding

    def denoise(self, noisy: Tensor, timesteps: Tensor, condition: Tensor) -> Tensor:
        """What the network puts out for noisy images under a condition.

        Parameters
        ----------
        noisy : (B, C, *S) Tensor
        timesteps : (B,) Tensor
        condition : (B, E) Tensor
            As `condition` gives it, or a blend of several.

        Returns
        -------
        (B, C, *S) or, with learned variance, (B, 2C, *S) Tensor
        """
        embedding = self.told(timesteps, noisy.dtype) + condition
        kept = self.descend(noisy, embedding)
        return self.ascend(kept[-1], embedding, kept)

    def forward(self, noisy: Tensor, timesteps: Tensor, states: Tensor) -> Tensor:
        """`denoise` under the condition of `states` (B, K)."""
        return self.denoise(noisy, timesteps, self.condition(states))

    def feature_maps(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        condition: Tensor,
        blocks: Sequence[int],
    ) -> list[Tensor]:
        """Outputs of chosen blocks of the way up, each at its own resolution.

        Nothing after the last of them is computed. As Baranchuk et al. 2022 count
        them: 0 is the first block after the bottom, and a block's output is taken after
        what follows it in its stage (attention, upsampling).

        Parameters
        ----------
        noisy, timesteps, condition
            As `denoise` takes them.
        blocks : sequence of int
            In the order in which the maps are wanted.

        Returns
        -------
        list of (B, C_b, *S_b) Tensor
        """
        embedding = self.told(timesteps, noisy.dtype) + condition
        kept = self.descend(noisy, embedding)
        x = self.middle_block(kept[-1], embedding)
        found: dict[int, Tensor] = {}
        for index in range(max(blocks) + 1):
            joined = torch.cat([x, kept.pop()], dim=1)
            x = self.output_blocks[index](joined, embedding)
            if index in blocks:
                found[index] = x
        return [found[index] for index in blocks]

    def feature_widths(self, blocks: Sequence[int]) -> tuple[int, ...]:
        """Channels of the maps of `blocks`; see `feature_maps`.

        Raises
        ------
        ValueError
            There is no such block, or one is named twice.
        """
        count = len(self.output_blocks)
        if not blocks or len(set(blocks)) != len(blocks):
            raise ValueError(f"blocks are {tuple(blocks)}; name one or more, each once")
        if min(blocks) < 0 or max(blocks) >= count:
            raise ValueError(f"blocks are {tuple(blocks)}; give 0 to {count - 1}")
        top = self.levels - 1
        return tuple(self.widths[top - b // (self.blocks + 1)] for b in blocks)


def build(**config: object) -> ClassUNet:
    """Build a `ClassUNet`."""
    return ClassUNet(**config)  # type: ignore[arg-type]
