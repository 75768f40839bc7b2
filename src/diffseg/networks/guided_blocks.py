"""Blocks of the guided-diffusion U-Net (Dhariwal and Nichol 2021), 2 or 3 dimensions.

Modules bear the published names, so that published weights fit.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
GROUPS = 32  # of every group normalisation

Resampling = Literal["none", "down", "up"]

_Module = TypeVar("_Module", bound=nn.Module)


def zero(module: _Module) -> _Module:
    """Let a layer begin by answering zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class Silu(nn.Module):
    """``x * sigmoid(x)``, in the memory of `x` where no gradient is asked for.

    With a gradient that would copy `x` first, which takes longer than new memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same."""
        return functional.silu(x, inplace=not torch.is_grad_enabled())


class Stage(nn.Sequential):
    """Modules one after another; residual blocks are given the embedding too."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        """Run `x` (B, C, *S) through the modules; `embedding` is (B, E)."""
        for module in self:
            x = module(x, embedding) if isinstance(module, Residual) else module(x)
        return x


class Residual(nn.Module):
    """Two 3-wide convolutions with a skip, shifted (or scaled, FiLM) by the embedding.

    The second convolution is born zero: the block begins as its skip. With
    `resampling` both ways halve or double every extent before the first convolution.
    """

    def __init__(
        self,
        dims: int,
        cin: int,
        cout: int,
        embedding: int,
        film: bool,
        dropout: float,
        resampling: Resampling = "none",
    ) -> None:
        super().__init__()
        conv = CONV[dims]
        self.film = film
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, cin),
            Silu(),
            conv(cin, cout, 3, padding=1),
        )
        self.resample = _resample(dims, cin, resampling)
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, 2 * cout if film else cout)
        )
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, cout),
            Silu(),
            nn.Dropout(dropout),
            zero(conv(cout, cout, 3, padding=1)),
        )
        self.skip_connection = conv(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, C, *S) and (B, E) to (B, C', *S)."""
        if self.resample is None:
            h = self.in_layers(x)
        else:
            h = self.in_layers[2](self.resample(self.in_layers[:2](x)))
            x = self.resample(x)
        told = self.emb_layers(embedding)
        told = told.reshape(*told.shape, *(1,) * (x.ndim - 2))
        if self.film:
            scale, shift = told.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[1:](h)
        else:
            h = self.out_layers(h + told)
        answer: Tensor = self.skip_connection(x) + h
        return answer


class Attention(nn.Module):
    """Self-attention over all positions, added to its input; born as the identity."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same shape."""
        flat = x.flatten(2)  # [B, C, N]
        # The published order of channels: head by head, and in each q, k, v.
        heads = self.qkv(self.norm(flat)).unflatten(1, (self.heads, 3, -1))
        q, k, v = (part.transpose(-1, -2) for part in heads.unbind(2))  # [B, H, N, c]
        seen = functional.scaled_dot_product_attention(q, k, v)
        mixed = self.proj_out(seen.transpose(-1, -2).flatten(1, 2))
        answer: Tensor = (flat + mixed).view_as(x)
        return answer


class Downsample(nn.Module):
    """Half of every extent, by a strided convolution or by averaging."""

    def __init__(self, dims: int, channels: int, learned: bool) -> None:
        super().__init__()
        pool = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dims]
        strided = CONV[dims](channels, channels, 3, stride=2, padding=1)
        self.op = strided if learned else pool(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to (B, C, *S / 2)."""
        halved: Tensor = self.op(x)
        return halved


class Upsample(nn.Module):
    """Twice every extent: each voxel repeated, and then a convolution."""

    def __init__(self, dims: int, channels: int, learned: bool) -> None:
        super().__init__()
        conv = CONV[dims](channels, channels, 3, padding=1)
        self.conv = conv if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to (B, C, 2 * *S)."""
        if isinstance(self.conv, nn.Identity) or x.device.type != "cpu":
            doubled: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0))
            return doubled
        return doubled_convolution(x, self.conv.weight, self.conv.bias)


def doubled_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Repeat each voxel and convolve, 3-wide, in one transposed convolution.

    Of the three taps along an axis two always meet the same voxel: added up
    beforehand, they take 4 / 9 of the multiplications over 2 dimensions and 8 / 27
    over 3. The answer is the same but for rounding.

    Parameters
    ----------
    x : (B, C, *S) Tensor
    weight : (C', C, 3, 3[, 3]) Tensor
    bias : (C',) Tensor, optional

    Returns
    -------
    (B, C', *(2 S)) Tensor
    """
    kernel = weight.transpose(0, 1)
    for axis in range(2, kernel.ndim):
        one, two, three = kernel.tensor_split(3, axis)
        kernel = torch.cat([three, two + three, one + two, one], axis)
    transposed = {4: functional.conv_transpose2d, 5: functional.conv_transpose3d}
    doubled: Tensor = transposed[x.ndim](x, kernel, bias, stride=2, padding=1)
    return doubled


def _resample(dims: int, channels: int, resampling: Resampling) -> nn.Module | None:
    if resampling == "none":
        return None
    halve = resampling == "down"
    return (Downsample if halve else Upsample)(dims, channels, learned=False)
