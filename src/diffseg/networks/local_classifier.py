"""A classifier that sees a slice through small windows, and so where something is.

A deep classifier knows where in the head a slice lies, how large the ventricles are,
and needs no tumour to guess that there is one. This one sees some millimetres around
each place; its logit is the mean over the share of the slice that speaks loudest for
the structure (top-instance pooling, Durand et al. 2016, "WELDON"), so that a slice
without the structure denies it everywhere, and one with it need only show it
somewhere. The map before the pooling is its activation map.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_BRIGHTER, _SHARP = 0.15, 20.0
"""How much brighter than the other side counts, tissue 1 above air, and how sharply."""


class LocalClassifier(nn.Module):
    """Convolutions that see 30 x 30 pixels, and the mean over the highest share.

    Parameters
    ----------
    channels : int
        Of the image.
    classes : int
        Structures K, each present or absent by itself.
    width : int
        Of the first convolutions; of the later ones twice that.
    share : float
        Of the map, whose highest values are averaged, above 0 and at most 1; 1 is the
        mean over the map.
    branches : int
        Networks of equal form side by side, whose maps are averaged: what one of them
        sees by chance the others do not.
    dropout : float
        Of whole features before the last layer.
    mirror : bool
        Whether it sees what a slice has that its mirror image has not, and the slice
        itself only there: of a head, left against right. See `one_sided`.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 1,
        width: int = 24,
        share: float = 0.05,
        branches: int = 1,
        dropout: float = 0.1,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise TypeError(f"share is {share}; give more than 0 and at most 1")
        if branches < 1:
            raise TypeError(f"branches is {branches}; give 1 or more")
        self.classes, self.share, self.mirror = classes, share, mirror
        self.branches = nn.ModuleList(
            _Branch((1 + mirror) * channels, classes, width, dropout)
            for _ in range(branches)
        )

    def stages(self, image: Tensor) -> tuple[Tensor, ...]:
        """Four maps, all >= 0, of images (B, C, Y, X): two at 1/2, two at 1/4."""
        seen = one_sided(image) if self.mirror else image
        found = [cast("_Branch", one).stages(seen) for one in self.branches]
        return tuple(torch.cat(maps, 1) for maps in zip(*found, strict=True))

    def activations(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Activation maps (B, K, Y/4, X/4), logits of each place."""
        parts = maps[-1].chunk(len(self.branches), 1)
        each = [
            cast("_Branch", one).head(part)
            for one, part in zip(self.branches, parts, strict=True)
        ]
        return torch.stack(each).mean(0)

    def answer(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, K): the mean over the highest share of each activation map."""
        flat = self.activations(maps).flatten(2)
        count = max(1, int(self.share * flat.shape[2]))
        return flat.topk(count, dim=2).values.mean(2)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of images (B, C, Y, X)."""
        return self.answer(self.stages(image))


class _Branch(nn.Module):
    def __init__(self, channels: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        wide = 2 * width
        self.parts = nn.ModuleList(
            (
                nn.Sequential(nn.AvgPool2d(2), *_seen(channels, width)),
                nn.Sequential(*_seen(width, width)),
                nn.Sequential(*_seen(width, wide, stride=2)),
                nn.Sequential(*_seen(wide, wide), *_seen(wide, wide)),
            )
        )
        self.head = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(wide, classes, 1))

    def stages(self, image: Tensor) -> list[Tensor]:
        found = [image]
        for part in self.parts:
            found.append(part(found[-1]))
        return found[1:]


def one_sided(image: Tensor) -> Tensor:
    """Asymmetry of slices, and the slices where they are brighter than it mirrored.

    What lies in the middle, or is alike on both sides, tells where in the head a slice
    is, and with that how often a tumour is seen there: it is taken away.

    Parameters
    ----------
    image : (B, C, Y, X) Tensor
        Tissue differs by about 1 from air, the least of each slice; see the intensity
        ``tissue``.

    Returns
    -------
    (B, 2C, Y, X) Tensor
    """
    signed = asymmetry(image)
    above = image - image.amin((1, 2, 3), keepdim=True)
    return torch.cat([signed, above * torch.sigmoid((signed - _BRIGHTER) * _SHARP)], 1)


def asymmetry(image: Tensor, reach: int = 6, blur: int = 5) -> Tensor:
    """What slices have that their mirror images have not, signed.

    A head lies not quite in the middle of its slice: the mirror image, columns turned
    round, is shifted by whole pixels to where it differs least, near where the middle
    of what is not air comes to lie on itself. It is blurred, as sides are alike and
    not the same. Each slice by itself.

    Parameters
    ----------
    image : (B, C, Y, X) Tensor
        Air is the least of each slice.
    reach : int
        Pixels to either side of the middle's own shift that are tried.
    blur : int
        Side of the box that the mirror image is averaged over, odd.

    Returns
    -------
    (B, C, Y, X) Tensor
    """
    turned = image.flip(-1)
    columns = torch.arange(image.shape[-1], device=image.device)
    # Twice the middle's distance from the slice's own, in pixels.
    weight = (image - image.amin((1, 2, 3), keepdim=True)).sum((1, 2))
    middle = (weight * columns).sum(1) / weight.sum(1).clamp_min(1e-6)
    first = (2 * middle - (image.shape[-1] - 1)).round().long()
    tried = first[:, None] + torch.arange(-reach, reach + 1, device=image.device)
    best = torch.full((len(image),), torch.inf, device=image.device)
    found = turned
    for shift in tried.T:
        moved = _moved(turned, shift)
        error = (moved - image).abs().mean((1, 2, 3))
        nearer = error < best
        best = torch.where(nearer, error, best)
        found = torch.where(nearer[:, None, None, None], moved, found)
    half = blur // 2
    wide = functional.pad(found, (half, half, half, half), mode="replicate")
    return image - functional.avg_pool2d(wide, blur, 1)


def _moved(image: Tensor, shift: Tensor) -> Tensor:
    """Slices moved along X by whole pixels, each by its own; the border goes on."""
    columns = torch.arange(image.shape[-1], device=image.device)
    from_ = (columns - shift[:, None]).clamp(0, image.shape[-1] - 1)
    return image.gather(-1, from_[:, None, None].expand_as(image))


def _seen(cin: int, cout: int, stride: int = 1) -> tuple[nn.Module, ...]:
    # Statistics of many slices: one slice's own would say how the whole head looks.
    convolution = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
    return convolution, nn.BatchNorm2d(cout), nn.ReLU()


def build(**config: object) -> LocalClassifier:
    """Build a `LocalClassifier`."""
    return LocalClassifier(**config)  # type: ignore[arg-type]
