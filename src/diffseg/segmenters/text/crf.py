"""A conditional random field within a window, by mean field, in torch alone.

The fully connected model of Krähenbühl and Koltun (2011), its Gaussian kernels cut off
at a window as by Teichmann and Cipolla (2018): what is near and looks alike should be
of one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.segmenters.refining.neighbours import Offset, shifted, window_offsets


@dataclass(frozen=True, slots=True)
class Field:
    """Kernels of a conditional random field; the defaults are DiCLIP's, cut off.

    Parameters
    ----------
    iterations : int
        Of the mean field.
    smooth_sigma : float
        Of the kernel of place alone, in pixels.
    smooth_weight : float
    colour_sigma : float
        Of the kernel of place and colour: of colour, for images in [0, 1].
    place_sigma : float
        Of the same kernel: of place, in pixels.
    colour_weight : float
    radius : int
        Reach of the window of the kernel of place and colour, in pixels. That of the
        other reaches three of its standard deviations.
    spacing : int
        Only every so-manieth row and column of the window is looked at.
    """

    iterations: int = 10
    smooth_sigma: float = 1.0
    smooth_weight: float = 3.0
    colour_sigma: float = 3 / 255
    place_sigma: float = 67.0
    colour_weight: float = 4.0
    radius: int = 12
    spacing: int = 3

    def __post_init__(self) -> None:
        widths = (self.smooth_sigma, self.colour_sigma, self.place_sigma)
        if min(widths) <= 0 or not 1 <= self.spacing <= self.radius:
            raise UserError(
                f"random field: sigmas are {widths}, radius {self.radius} and spacing "
                f"{self.spacing}; give sigmas above 0 and a spacing within the radius"
            )


def refine_by_field(
    probabilities: Tensor, image: Tensor, field: Field | None = None
) -> Tensor:
    """Probabilities of classes after a mean field over the pixels of an image.

    ``Q <- softmax(log p + sum_m w_m K_m Q)``, where each kernel ``K_m`` is normalised
    symmetrically, ``D^-1/2 K D^-1/2``, and no pixel is its own neighbour.

    Parameters
    ----------
    probabilities : (B, K, Y, X) Tensor
        Of K classes, the background among them; they sum to 1 at each pixel.
    image : (B, C, Y, X) Tensor
        In [0, 1], of any number of channels.
    field : Field, optional

    Returns
    -------
    (B, K, Y, X) float32 Tensor
        They sum to 1 at each pixel.

    Raises
    ------
    UserError
        The image has another number of rows and columns.
    """
    how = field or Field()
    if image.shape[2:] != probabilities.shape[2:]:
        raise UserError(
            f"random field: the image has {tuple(image.shape[2:])} rows and columns, "
            f"the probabilities {tuple(probabilities.shape[2:])}; resize one"
        )
    unary = probabilities.float().clamp(min=1e-6).log()
    kernels = [*_kernels(image.float(), how)]
    answer = functional.softmax(unary, 1)
    for _ in range(how.iterations):
        message = torch.zeros_like(answer)
        for weight, offsets, values, scale in kernels:
            message += weight * scale * _sum(scale * answer, offsets, values)
        answer = functional.softmax(unary + message, 1)
    return answer


Kernel = tuple[float, Sequence[Offset], Sequence[Tensor], Tensor]


def _kernels(image: Tensor, how: Field) -> Iterator[Kernel]:
    """Both kernels: weight, offsets, values of each offset, and D^-1/2."""
    inside = torch.ones_like(image[:1, :1])
    near = window_offsets(max(round(3 * how.smooth_sigma), 1))
    one = inside[:, :, :1, :1]  # the same at every pixel
    values = [_gaussian(offset, how.smooth_sigma) * one for offset in near]
    yield how.smooth_weight, near, values, _scale(inside, near, values)
    wide = window_offsets(how.radius, how.spacing)
    values = [
        _gaussian(offset, how.place_sigma)
        * _alike(image, shifted(image, offset), how.colour_sigma)
        for offset in wide
    ]
    yield how.colour_weight, wide, values, _scale(inside, wide, values)


def _gaussian(offset: Offset, sigma: float) -> float:
    far = float(offset[0] ** 2 + offset[1] ** 2)
    return float(torch.exp(torch.tensor(-far / (2 * sigma**2))))


def _alike(image: Tensor, other: Tensor, sigma: float) -> Tensor:
    squared = ((image - other) ** 2).sum(1, keepdim=True)
    return torch.exp(-squared / (2 * sigma**2))


def _sum(maps: Tensor, offsets: Sequence[Offset], values: Sequence[Tensor]) -> Tensor:
    """Neighbours' values under a kernel; outside the image there is nobody."""
    total = torch.zeros_like(maps)
    for offset, value in zip(offsets, values, strict=True):
        total = total + value * shifted(maps, offset, "constant")
    return total


def _scale(
    inside: Tensor, offsets: Sequence[Offset], values: Sequence[Tensor]
) -> Tensor:
    """``D^-1/2`` of a kernel, (B or 1, 1, Y, X); 0 where a pixel has no neighbour."""
    batch = max(len(value) for value in values)
    degree = _sum(inside.expand(batch, -1, -1, -1), offsets, values)
    return torch.where(degree > 1e-20, degree.clamp(min=1e-20) ** -0.5, 0.0)
