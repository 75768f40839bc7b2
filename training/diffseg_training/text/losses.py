"""What DiCLIP's head and adapter learn from pseudo masks (equations 14 and 15).

Every mean is over the pixels, or pairs of patches, of the whole batch, that of all
processes; a batch of which nothing is known has the loss 0 and no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.segmenters.text.pseudo_masks import IGNORE
from diffseg_training.synchronised import sum_over_processes


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How the parts of the loss are weighed.

    Parameters
    ----------
    segmentation, adapter : float
        1 and 0.1 in paper and code.
    affinity : float
        0.1 in the published code; the paper has no such part: 0.
    """

    segmentation: float = 1.0
    adapter: float = 0.1
    affinity: float = 0.1


def cross_entropy(logits: Tensor, classes: Tensor, *, ignore: int = IGNORE) -> Tensor:
    """Mean cross-entropy of all pixels that are known.

    Parameters
    ----------
    logits : (B, K + 1, *S) Tensor
        Background first; in float32 they are weighed.
    classes : (B, *S) int64 Tensor
        0 to K, or `ignore`.
    ignore : int

    Returns
    -------
    () float32 Tensor
    """
    return _mean(_each(logits, classes, ignore), classes != ignore)


def balanced_cross_entropy(
    logits: Tensor, classes: Tensor, *, ignore: int = IGNORE
) -> Tensor:
    """Half the mean over background pixels, and half that over foreground pixels.

    Parameters as of `cross_entropy`. Where a batch shows no background, or no
    foreground, the other half is all there is: it is not raised to a whole.
    """
    each = _each(logits, classes, ignore)
    background, foreground = classes == 0, (classes != 0) & (classes != ignore)
    return 0.5 * _mean(each, background) + 0.5 * _mean(each, foreground)


def adapter_loss(
    logits: Tensor,
    classes: Tensor,
    grid: tuple[int, int],
    *,
    balanced: bool = True,
    ignore: int = IGNORE,
) -> Tensor:
    """Cross-entropy of an adapter's logits, brought to the mask's size.

    Parameters
    ----------
    logits : (B, N, K + 1) Tensor
        Of `diffseg.networks.cache_adapter.CacheAdapter`.
    classes : (B, Y, X) int64 Tensor
        Of the pseudo masks: of static retrieval in the paper.
    grid : (y, x)
        Patches; y x is N.
    balanced : bool
        Whether background and foreground have half a say each, as in the published
        code; equation 14 is plain.
    ignore : int
    """
    maps = logits.transpose(1, 2).reshape(len(logits), -1, *grid)
    return segmentation_loss(maps, classes, balanced=balanced, ignore=ignore)


def segmentation_loss(
    logits: Tensor, classes: Tensor, *, balanced: bool = True, ignore: int = IGNORE
) -> Tensor:
    """Cross-entropy of logits (B, K + 1, y, x) brought to the size of (B, Y, X).

    Parameters as of `adapter_loss`, but for `logits`.
    """
    size = classes.shape[1:]
    full = functional.interpolate(
        logits.float(), size, mode="bilinear", align_corners=False
    )
    term = balanced_cross_entropy if balanced else cross_entropy
    return term(full, classes, ignore=ignore)


def classes_on_grid(classes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Class of the pixel in the middle of each patch: (B, Y, X) -> (B, y, x)."""
    small = functional.interpolate(classes[:, None].float(), grid, mode="nearest-exact")
    return small[:, 0].to(classes.dtype)


def affinity_targets(
    classes: Tensor, radius: int = 8, *, ignore: int = IGNORE
) -> Tensor:
    """Whether two patches near each other are of one class (AFA, Ru et al. 2022).

    Parameters
    ----------
    classes : (B, y, x) int64 Tensor
        Of the patches; see `classes_on_grid`.
    radius : int
        Rows and columns, each, that two patches may be apart at most.
    ignore : int

    Returns
    -------
    (B, N, N) uint8 Tensor
        1 the same class, 0 different ones, `IGNORE`: too far apart, a patch with
        itself, or the class of one is not known.
    """
    rows, columns = classes.shape[1:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=classes.device, dtype=torch.int16),
        torch.arange(columns, device=classes.device, dtype=torch.int16),
        indexing="ij",
    )
    near = _within(y.flatten(), radius) & _within(x.flatten(), radius)
    near.fill_diagonal_(False)
    flat = classes.flatten(1)
    known = flat != ignore
    counted = known[:, :, None] & known[:, None] & near
    same = (flat[:, :, None] == flat[:, None]).to(torch.uint8)
    return same.masked_fill(~counted, IGNORE)


def affinity_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """Half the mean of 1 - p over like pairs, and half that of p over unlike ones.

    Parameters
    ----------
    predicted : (B, N, N) Tensor
        In [0, 1]; see `diffseg.networks.diclip_head.predicted_affinity`.
    targets : (B, N, N) uint8 Tensor
        Of `affinity_targets`.

    Returns
    -------
    () float32 Tensor
    """
    likeness = predicted.float()
    like = _mean(1 - likeness, targets == 1)
    unlike = _mean(likeness, targets == 0)
    return 0.5 * like + 0.5 * unlike


def summed(
    parts: Mapping[str, Tensor], weights: LossWeights
) -> tuple[Tensor, Mapping[str, float]]:
    """Weigh and add the parts: equation 15, and the code's affinity.

    Parameters
    ----------
    parts : mapping of str to () Tensor
        By the names of `LossWeights`; one or more. What is not given is not counted.
    weights : LossWeights

    Returns
    -------
    total : () Tensor
    terms : mapping of str to float
        Each part before it is weighed, to be logged.

    Raises
    ------
    ValueError
        There is no part, or one of another name.
    """
    if not parts or not set(parts) <= set(LossWeights.__slots__):
        raise ValueError(f"parts {sorted(parts)} of {sorted(LossWeights.__slots__)}")
    weighed = [getattr(weights, name) * one for name, one in parts.items()]
    terms = {name: float(one.detach()) for name, one in parts.items()}
    return torch.stack(weighed).sum(), terms


def _within(places: Tensor, radius: int) -> Tensor:
    """Which pairs (N, N) of places (N,) along an axis are no further apart."""
    return (places[:, None] - places[None]).abs() <= radius


def _each(logits: Tensor, classes: Tensor, ignore: int) -> Tensor:
    """Cross-entropy (B, *S) of each pixel, 0 where the class is not known."""
    return functional.cross_entropy(
        logits.float(), classes, ignore_index=ignore, reduction="none"
    )


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of what counts, over all processes; 0 where nothing does."""
    total = sum_over_processes(torch.where(counted, values, 0).sum())
    number = sum_over_processes(counted.sum().to(total))
    return total / number.clamp_min(1)
